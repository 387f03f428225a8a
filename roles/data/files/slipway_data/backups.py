"""Backups with pgBackRest: making them, listing them, and whether all is well with them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway_data import timers
from slipway_data.host import (  # fmt: skip
    Host,
    ProblemError,
    call,
    clock,
    duration,
    last_line,
    read_json,
    replace,
    size,
    table,
    until,
)

STANZA = "main"
# The code of pgBackRest's `info` for a repository that does not answer, or not with what it should.
UNREADABLE = 99


@dataclass
class Backup:
    """A backup in the repository; times are seconds since the epoch, sizes bytes."""

    label: str
    kind: str
    began: int
    ended: int
    size: int
    stored: int
    wal_first: str
    wal_last: str
    lsn_end: str
    damaged: bool
    current: bool

    @classmethod
    def of(cls, found: dict[str, Any], current: int) -> Backup:
        """Return what pgBackRest says of a backup."""
        return cls(
            label=found["label"], kind=found["type"],
            began=found["timestamp"]["start"], ended=found["timestamp"]["stop"],
            size=found["info"]["size"], stored=found["info"]["repository"]["delta"],
            wal_first=found["archive"]["start"] or "", wal_last=found["archive"]["stop"] or "",
            lsn_end=found.get("lsn", {}).get("stop", ""), damaged=bool(found.get("error")),
            current=found["database"]["id"] == current,
        )  # fmt: skip


@dataclass
class Repository:
    """What the repository holds: backups, the oldest first, and the last WAL segment archived."""

    backups: list[Backup]
    wal_last: str
    # Whether it holds clusters of other major versions, too.
    mixed: bool = False


class DamageError(ProblemError):
    """A repository that does not hold what it should; whether a backup that was asked for is whole."""

    def __init__(self, message: str, whole: bool) -> None:
        """Take the sentence."""
        super().__init__(message)
        self.whole = whole


def require(host: Host) -> None:
    """Raise ProblemError where backups are off."""
    if not host.config.backup:
        raise ProblemError(
            f"{host.config.project} has no backups: set backup_enabled to true and run `./slipway deploy`"
        )


def parsed(text: str) -> Any:
    """Return what pgBackRest or Postgres wrote as JSON; a message may have line breaks in it."""
    return json.loads(text, strict=False)


def reason(text: str) -> list[str]:
    """Return what an S3 server gave as its last reason, if it gave one."""
    return re.findall(r"<Message>(.*?)</Message>", text)[-1:]


def short(message: str) -> str:
    """Return what a message of pgBackRest begins with, and what an S3 server gave as its reason.

    How often it was tried is left out.
    """
    lines = [
        line
        for line in message.partition("*** Path")[0].splitlines()
        if not re.match(r"\s*\[\w+\] on (\d+ retries|retry) ", line)
    ]
    return " ".join([*" ".join(lines).split(), *reason(message)])[:400]


def complaint(text: str) -> str:
    """Return what pgBackRest complained of: its first error, without the place in its source."""
    errors = re.findall(r"ERROR: (\[\d+\]: .*)", text)
    return " ".join([errors[0].strip(), *reason(text)]) if errors else last_line(text)


def pgbackrest(host: Host, *arguments: str, serving: bool = True, check: bool = True) -> str:
    """Run pgBackRest, in the container that serves or in one of its own; return what it printed."""
    command = ("pgbackrest", f"--stanza={STANZA}", *arguments)
    if serving:
        code, out, err = call(
            "docker", "exec", "--user=postgres", host.config.container, *host.gently(command)
        )
    else:
        code, out, err = host.run_once(*command)
    if code and check:
        raise ProblemError(f"pgBackRest failed ({arguments[-1]}): {complaint(out + err)}")
    return "" if code else out


def unreadable(stanza: dict[str, Any]) -> ProblemError:
    """Return the sentence for a repository that cannot be read."""
    message = "; ".join(
        repo["status"]["message"]
        for repo in stanza.get("repo", [])
        if repo.get("status", {}).get("code")
    ) or stanza.get("status", {}).get("message", "it is empty")
    return ProblemError(f"the repository of backups cannot be read: {short(message)}")


def look(host: Host) -> Repository:
    """Return what the repository holds; raise ProblemError when it cannot be read."""
    serving = host.container_state() == "running"
    answer = parsed(pgbackrest(host, "--output=json", "info", serving=serving) or "[]")
    stanza = answer[0] if answer else {}
    # 0: all is well. 2: no backup yet. Others: no stanza, or a repository that cannot be read.
    if stanza.get("status", {}).get("code") not in (0, 2):
        raise unreadable(stanza)
    newest = max((database["id"] for database in stanza.get("db", [])), default=0)
    return Repository(
        backups=[Backup.of(one, newest) for one in stanza.get("backup", [])],
        wal_last=max(
            (
                one["max"] or ""
                for one in stanza.get("archive", [])
                if one["database"]["id"] == newest
            ),
            default="",
        ),
        mixed=len({database["version"] for database in stanza.get("db", [])}) > 1,
    )


def usable(repository: Repository) -> list[Backup]:
    """Return the backups of the cluster as it is now, the newest first."""
    return [one for one in reversed(repository.backups) if one.current]


def prepare(host: Host) -> bool:
    """Make the repository ready for this cluster; return whether anything was done."""
    code, out, err = call(
        "docker", "exec", "--user=postgres", host.config.container, "pgbackrest", f"--stanza={STANZA}", "--output=json", "info",
    )  # fmt: skip
    if code:
        raise ProblemError(f"the repository of backups cannot be reached: {complaint(out + err)}")
    known = parsed(out or "[]")
    state = known[0]["status"]["code"] if known else 1
    # Another one is there, or there is none: what follows would try for minutes, and say less.
    if state == UNREADABLE:
        raise unreadable(known[0])
    system = host.server().ask("SELECT system_identifier FROM pg_control_system();")
    databases = known[0].get("db", []) if known else []
    newest = str(max(databases, key=lambda one: one["id"])["system-id"]) if databases else ""
    if state in (0, 2) and newest == system:
        return False
    if databases and newest == came_from(host, system):
        pgbackrest(host, "stanza-upgrade")
        return True
    if databases:
        raise ProblemError(
            f"the repository of backups ({', '.join(host.config.backup['where'])}) holds those of another database, and they stay: "
            "`./slipway restore` brings that database here; for this one name another backup_directory or backup_path"
        )
    pgbackrest(host, "stanza-create")
    return True


def came_from(host: Host, system: str) -> str:
    """Return the system that an upgrade, or a way back, made this one from; empty for none."""
    done = read_json(host.config.own / "upgrade.json") or {}
    pair = [done.get("from_system"), done.get("to_system")]
    return str(pair[1 - pair.index(system)]) if system in pair else ""


def known(host: Host) -> bool:
    """Return whether the last backup went to this repository: WAL in between is elsewhere."""
    return bool(read_json(host.config.own / "repository.json") == host.config.backup["where"])


def archive_now(host: Host, seconds: float = 60) -> str:
    """Have what was written so far archived and return the place in the WAL up to which that is.

    Raise ProblemError when it does not come about.
    """
    server = host.server()
    # Without a record of its own there may be nothing to switch from, and so nothing to wait for; and
    # only a commit has a time.
    place, segment = server.ask(
        "SELECT pg_logical_emit_message(true, 'slipway', 'archive') AS place \\gset\n"
        "SELECT :'place', pg_walfile_name(pg_switch_wal());"
    ).split("|")
    archived = until(
        lambda: server.ask(
            "SELECT coalesce(last_archived_wal COLLATE \"C\" >= :'segment', false) FROM pg_stat_archiver;", segment=segment
        ) == "t",
        seconds,
    )  # fmt: skip
    if not archived:
        raise ProblemError(
            f"the WAL was not archived within {seconds:.0f} s: {archiver_complaint(host) or 'see the log of Postgres'}"
        )
    return place


def archiver_complaint(host: Host) -> str:
    """Return what the archiver complained of last, if it did within the last minutes."""
    _, out, err = call("docker", "logs", "--since=15m", host.config.container)
    # The reason may stand in the line below.
    text = out + err
    found = list(re.finditer(r"ERROR: (\[\d+\]: .*(?:\n\s+repo1: .*)?)", text))
    if not found:
        return ""
    return " ".join([*found[-1][1].split(), *reason(text[found[-1].start() :])])[:300]


def due_kind(host: Host, repository: Repository) -> str:
    """Return the kind of backup that is due: full when the last one is as old as it may be."""
    # One with damaged pages too: as long as the database has them, another one would have them again.
    full = [one for one in usable(repository) if one.kind == "full"]
    # A little less than the days, since a timer is never on the second.
    age = host.config.backup["full_days"] * 86400 - 3600
    return "incr" if full and time.time() - full[0].began < age else "full"


def backup(host: Host, kind: str = "auto") -> list[str]:
    """Make a backup and read it again; raise ProblemError when it failed or found damage."""
    require(host)
    before = look(host)
    wanted = due_kind(host, before) if kind == "auto" else kind
    began = time.time()
    # One that is damaged must not push out the last one that is not.
    try:
        pgbackrest(host, f"--type={wanted}", "--no-expire-auto", "backup")
    except ProblemError as problem:
        # Why the WAL that it needs does not come stands in another log.
        why = archiver_complaint(host) if "not archived before" in str(problem) else ""
        raise ProblemError(f"{problem}: {why}" if why else str(problem)) from None
    took = time.time() - began
    made = usable(look(host))[0]
    if made.damaged:
        raise ProblemError(f"the backup {made.label} was made, and {damage(host, made.label)}")
    read = host.config.backup["verify"] and may_verify(host, before)
    fault = None
    if read:
        try:
            verify(host, made.label)
            note(host, made.label, verified=clock())
        except DamageError as found:
            if not found.whole:
                raise
            # Elsewhere in the repository: that must not let it grow until the disk is full.
            fault = found
    replace(host.config.own / "repository.json", json.dumps(host.config.backup["where"]) + "\n")
    pgbackrest(host, "expire")
    if fault:
        raise ProblemError(f"the backup {made.label} was made and is whole, but {fault}")
    return [
        f"{made.kind} backup {made.label}: {size(made.size)}, {size(made.stored)} stored, {took:.1f} s"
        + (", read again without a fault" if read else ", not read again")
    ]


def damage(host: Host, label: str) -> str:
    """Return what a backup found in the database, and what to do about it."""
    return (
        f"found damaged pages in the database: {damaged_pages(host, label)}. `./slipway restore -e into=scratch` shows beside it what the newest "
        "intact backup and the WAL since make of it, `./slipway restore` takes that over; the disk and the memory of the host are suspect"
    )


def damaged_pages(host: Host, label: str) -> str:
    """Return the files in which a backup found damaged pages."""
    serving = host.container_state() == "running"
    options = (f"--set={label}", "--output=json", "info")
    text = pgbackrest(host, *options, serving=serving, check=False) or "[]"
    files = [
        name.removeprefix("pg_data/")
        for one in parsed(text)
        for made in one["backup"]
        for name in made.get("error-list") or []
    ]
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    return with_relations(host, ", ".join(files[:5])) + more or "see the log of Postgres"


# The database's directory, the tablespace's, the number of the file; forks and further gigabytes are the same relation.
_DATA_FILE = re.compile(
    r"\b(?:global|base/(?P<base>\d+)|pg_tblspc/(?P<space>\d+)/[^/\s]+/(?P<database>\d+))/(?P<file>\d+)(?:_\w+)?(?:\.\d+)?\b"
)

_RELATION = """
SELECT CASE WHEN i.indexrelid IS NULL THEN '' ELSE format('index %s of ', r.oid::regclass) END
    || format('table %s', coalesce(t.oid, i.indrelid, r.oid)::regclass)
FROM pg_class r LEFT JOIN pg_index i ON i.indexrelid = r.oid LEFT JOIN pg_class t ON t.reltoastrelid = coalesce(i.indrelid, r.oid)
WHERE r.oid = pg_filenode_relation(:'space'::oid, :'file'::oid);
"""


def with_relations(host: Host, text: str) -> str:
    """Return a text with each data file in it followed by its table, where the database can tell."""

    def named(found: re.Match[str]) -> str:
        oid = found["base"] or found["database"]
        # The numbers of the two tablespaces that every cluster has.
        space = found["space"] or ("1663" if found["base"] else "1664")
        try:
            name = "postgres" if not oid else host.server().ask(
                "SELECT datname FROM pg_database WHERE oid = :'oid'::oid;", oid=oid
            )  # fmt: skip
            relation = host.server().ask(_RELATION, name, space=space, file=found["file"])
        except ProblemError:
            relation = ""
        return f"{found[0]} ({relation} of {name})" if relation else found[0]

    return _DATA_FILE.sub(named, text)


def version(host: Host, serving: bool) -> tuple[int, int]:
    """Return pgBackRest's version."""
    command = ("pgbackrest", "version")
    _, out, _ = (
        call("docker", "exec", host.config.container, *command)
        if serving
        else host.run_once(*command)
    )
    found = re.search(r"(\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def may_verify(host: Host, repository: Repository) -> bool:
    """Return whether pgBackRest can read the repository again.

    Versions before 2.55 read all of it, also what a newer major version left after a way back.
    """
    return not repository.mixed or version(host, serving=True) >= (2, 55)


def verify(host: Host, label: str) -> None:
    """Read a backup and the WAL again; raise ProblemError when a checksum does not fit."""
    serving = host.container_state() == "running"
    # Versions before 2.55 read all backups.
    options = [f"--set={label}"] if version(host, serving) >= (2, 55) else []
    command = ("pgbackrest", f"--stanza={STANZA}", "--output=text", "--verbose", *options, "verify")
    code, out, err = (
        call("docker", "exec", "--user=postgres", host.config.container, *host.gently(command))
        if serving
        else host.run_once(*command)
    )
    text = out + err
    faults = [
        line.strip()
        for line in text.splitlines()
        if re.search(
            r"(missing|checksum invalid|size invalid|other): [1-9]|invalid checksum|ERROR:|invalid size",
            line,
        )
    ]
    if code or "status: error" in text or faults:
        raise DamageError(
            f"the repository of backups is damaged ({'; '.join(faults[:4]) or complaint(text)}): "
            "make a full backup now (`./slipway backup -e kind=full`) and drill it",
            whole=bool(re.search(rf"backup: {label}, status: valid\b", text)),
        )


def notes(host: Host) -> dict[str, dict[str, str]]:
    """Return what is remembered of the backups, by label."""
    return read_json(host.config.own / "backups.json") or {}


def note(host: Host, label: str, **said: str) -> None:
    """Remember something of a backup."""
    known = notes(host)
    known.setdefault(label, {}).update(said)
    replace(host.config.own / "backups.json", json.dumps(known, indent=1) + "\n")


def name_moment(host: Host, name: str) -> list[str]:
    """Give a moment a name, to which a restore can go back."""
    require(host)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}", name):
        raise ProblemError(
            f"'{name}' is no name for a moment: use letters, digits, '_', '-', '.' and ':'"
        )
    path = host.config.own / "moments.json"
    known = read_json(path) or {}
    if name in known:
        raise ProblemError(
            f"the name '{name}' was given to {known[name]['time']} already: use another one"
        )
    place = host.server().ask("SELECT pg_create_restore_point(:'name');", name=name)
    known[name] = {"time": clock(), "place": place}
    replace(path, json.dumps(known, indent=1) + "\n")
    archive_now(host)
    return [
        f"{name}: {known[name]['time']} ({place}); `./slipway restore -e to_name={name}` goes back to it"
    ]


def listing(host: Host) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the backups as a table, and as data."""
    require(host)
    repository = look(host)
    known = notes(host)
    rows = [["BACKUP", "WHEN", "KIND", "SIZE", "STORED", "WAL", "VERIFIED"]]
    data = []
    for one in repository.backups:
        verified = known.get(one.label, {})
        word = (
            "damaged pages" if one.damaged
            else f"drill {verified['drilled'][:16]}" if "drilled" in verified
            else f"checksums {verified['verified'][:16]}" if "verified" in verified
            else "no"
        )  # fmt: skip
        rows.append(
            [one.label, clock(one.ended)[:16], one.kind, size(one.size), size(one.stored),
             f"{one.wal_first[8:]}..{one.wal_last[8:]}" if one.wal_first else "-", word]
        )  # fmt: skip
        data.append({**vars(one), "verified": word})
    lines = table(rows) if data else ["no backup yet: `./slipway backup` makes one"]
    if repository.wal_last:
        lines.append(f"WAL archived up to {repository.wal_last}")
    moments = read_json(host.config.own / "moments.json") or {}
    lines += [f"Moment {name}: {one['time']}" for name, one in moments.items()]
    return lines, data


def health(host: Host) -> dict[str, Any]:
    """Return whether backups and archiving are well: what `status` shows, and what is wrong."""
    config = host.config.backup
    problems: list[str] = []
    lines = []
    repository, unread = None, ""
    # Once: one that does not answer takes its time.
    try:
        repository = look(host)
    except ProblemError as problem:
        unread = str(problem)
    if host.container_state() == "running":
        try:
            problems += archiving(host, repository)
        except ProblemError as problem:
            problems.append(str(problem))
    if repository is None:
        problems.append(unread)
    else:
        made = usable(repository)
        found = [one for one in made if not one.damaged]
        if made and made[0].damaged:
            problems.append(f"the newest backup, {made[0].label}, {damage(host, made[0].label)}")
        if not found:
            problems.append(
                "there is no backup of the database as it is now: `./slipway backup` makes one"
            )
        else:
            age = time.time() - found[0].ended
            lines.append(
                f"{found[0].label}, {found[0].kind}, {duration(age)} old, {size(found[0].size)}"
            )
            if age > config["max_age_hours"] * 3600:
                problems.append(
                    f"the newest backup is {duration(age)} old, more than backup_max_age_hours ({config['max_age_hours']})"
                )
    drilled = read_json(host.config.own / "drill.json")
    if drilled:
        lines.append(
            f"drill {'passed' if drilled['passed'] else 'FAILED'} {duration(time.time() - drilled['at'])} ago, {drilled['said']}"
        )
        if not drilled["passed"]:
            problems.append(f"the last drill failed: {drilled['said']}")
    if config["drill_max_age_hours"] and (
        not drilled or time.time() - drilled["at"] > config["drill_max_age_hours"] * 3600
    ):
        problems.append(
            f"no drill within the last {duration(config['drill_max_age_hours'] * 3600)}: `./slipway drill`"
        )
    problems += timers.problems(host)
    return {"lines": lines, "problems": problems}


def given_up(host: Host, repository: Repository | None) -> str:
    """Return what pgBackRest said of WAL that it dropped, until a full backup was made since.

    The container's log goes with the container, so what was read there is kept.
    """
    path = host.config.own / "given_up.json"
    known = {"at": 0, "said": "", "looked": time.time() - 86400, **(read_json(path) or {})}
    before, now = dict(known), time.time()
    # A minute twice rather than a second not at all.
    since = clock(known["looked"] - 60).replace(" ", "T").replace("+00", "Z")
    _, out, err = call("docker", "logs", "--timestamps", f"--since={since}", host.config.container)
    lines = [line for line in (out + err).splitlines() if "dropped WAL file" in line]
    if lines:
        at = datetime.strptime(lines[-1][:19] + "+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp()
        known.update(at=at, said=lines[-1].partition("WARN:")[2].strip())
    full = [one for one in usable(repository) if one.kind == "full"] if repository else []
    if any(one.began > known["at"] for one in full):
        known.update(at=0, said="")
    if known != before or now - known["looked"] > 300:
        replace(path, json.dumps({**known, "looked": now}) + "\n")
    return str(known["said"])


def archiving(host: Host, repository: Repository | None) -> list[str]:
    """Return what is wrong with the archiving of the WAL; no repository is one that cannot be read."""
    answer = host.server().ask(
        "SELECT json_build_object('waiting', count(*), 'since', extract(epoch FROM now() - min(modification)),"
        " 'failing', (SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver),"
        " 'mode', current_setting('archive_mode'))"
        " FROM pg_ls_archive_statusdir() WHERE name ~ '[.]ready$';"
    )
    state = parsed(answer)
    late = 2 * host.config.backup["archive_timeout"] + 30
    if state["mode"] != "on":
        return ["WAL is not archived (archive_mode is off): `./slipway deploy` turns it on"]
    dropped = given_up(host, repository)
    if dropped:
        return [
            f"WAL was given up because the repository did not take it ({dropped}): no restore gets past it, so make a backup now, `./slipway backup -e kind=full`"
        ]
    if state["failing"] or (state["waiting"] and state["since"] > late):
        why = archiver_complaint(host)
        since = f" for {duration(state['since'])}" if state["since"] else ""
        return [
            f"WAL archiving is behind{since}, {state['waiting']} segments wait"
            + (f" ({why})" if why else "")
        ]
    return []
