"""Going back: the newest state, a time, a named moment; into place, or beside what serves."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from slipway_data import backups, fingerprint, ownership, rotate, throwaway, volume
from slipway_data.host import (  # fmt: skip
    Host,
    ProblemError,
    Server,
    clock,
    docker,
    exchange,
    read_json,
    replace,
    size,
    stamp,
)

# A restored directory has it until its server has served: how a killed restore is told apart.
MARKER = "slipway-restored"
SCRATCH = "scratch"
# The owner comes in from the container's own postgres user: pgBackRest does, for backups.
HBA_LINE = "local postgres {user} peer map=slipway"
IDENT_LINE = "slipway postgres {user}"
# 127 ends the recovery: a damaged segment must not pass for the end of the archive.
RESTORE_COMMAND = (
    f'pgbackrest --stanza={backups.STANZA} --pg1-path="$PWD" archive-get %f "%p"; code=$?; '
    "if [ $code -gt 1 ]; then exit 127; fi; exit $code"
)


@dataclass
class Target:
    """How far a recovery goes: kind is latest, time, name or lsn."""

    kind: str
    value: str = ""
    # Restore this backup, whatever else would do.
    backup: str = ""

    @property
    def text(self) -> str:
        """Return it for a person."""
        return "the newest state" if self.kind == "latest" else f"{self.kind} {self.value}"


# As people and programs write a time. What fromisoformat takes differs from Python 3.10 to 3.11.
TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ]+(?P<clock>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d+))?)?"
    r" ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)


def moment(text: str) -> str:
    """Return a time with its zone as Postgres reads it; raise ProblemError for what is none."""
    said = TIME.fullmatch(text.strip())
    try:
        if not said or (said["fraction"] and said["clock"].count(":") < 2):
            raise ValueError
        zone = "+0000" if (said["zone"] or "Z").upper() == "Z" else said["zone"].replace(":", "")
        at = datetime.fromisoformat(
            f"{said['date']}T{said['clock'] or '00:00'}{zone[:3]}:{zone[3:] or '00'}"
        )
    except ValueError:
        raise ProblemError(
            f"to_time is '{text}', which is no time: write it like '2026-11-22 10:31:00+00'"
        ) from None
    at = at.replace(microsecond=int((said["fraction"] or "0")[:6].ljust(6, "0")))
    if at.timestamp() > time.time():
        raise ProblemError(f"to_time is '{text}', which is still to come: name a time that is over")
    return at.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00")  # noqa: UP017


def branches(host: Host) -> list[dict[str, Any]]:
    """Return what was left behind: from which moment (point) to which (left) on which timeline."""
    return list(read_json(host.config.own / "branches.json") or [])


def remember_branch(host: Host, point: float, left: float, timeline: str) -> None:
    """Note that what was written between two moments is on another timeline than what serves now."""
    known = [*branches(host), {"point": point, "left": left, "timeline": timeline}]
    replace(host.config.own / "branches.json", json.dumps(known, indent=1) + "\n")


def branch_of(host: Host, at: float | None) -> dict[str, Any] | None:
    """Return the branch that a moment (none is now) belongs to; none is the one that serves."""
    if at is None:
        return None
    return next((one for one in reversed(branches(host)) if one["point"] < at < one["left"]), None)


def seconds_of(target: Target) -> float | None:
    """Return the moment of a target that is a time, in seconds since the epoch."""
    if target.kind != "time":
        return None
    return datetime.fromisoformat(target.value.replace("+00", "+00:00")).timestamp()


def choose(host: Host, target: Target) -> list[str]:
    """Return the backups to try, the best first; raise ProblemError when none reaches back so far."""
    found = backups.usable(backups.look(host))
    if not found:
        raise ProblemError("there is no backup to restore: `./slipway backups` shows what there is")
    if target.backup:
        chosen = [one for one in found if one.label == target.backup]
        if not chosen:
            raise ProblemError(
                f"there is no backup '{target.backup}': `./slipway backups` lists them"
            )
        found = chosen
    else:
        # One that was made on a branch that was left has no way to what serves.
        wanted = branch_of(host, seconds_of(target))
        found = [one for one in found if branch_of(host, one.ended) in (None, wanted)]
        if not found:
            raise ProblemError(
                "no backup was made since the last restore, and none before it is left: `./slipway backup` makes one"
            )
    at = seconds_of(target)
    if at is not None:
        before = [one for one in found if one.ended <= at]
        if not before:
            raise ProblemError(
                f"the oldest backup ended at {clock(found[-1].ended)}, so nothing can go back to {target.value}: name a later time"
            )
        found = before
    if target.kind == "name":
        known = read_json(host.config.own / "moments.json") or {}
        place = known.get(target.value, {}).get("place", "")
        if place:
            found = [one for one in found if place_of(one.lsn_end) <= place_of(place)] or found
        elif known:
            raise ProblemError(
                f"no moment has the name '{target.value}': there {'are' if len(known) > 1 else 'is'} {', '.join(known)}"
            )
    sound = [one for one in found if not one.damaged]
    if not sound and not target.backup:
        raise ProblemError(
            f"every backup that reaches back to {target.text} has damaged pages: name one with -e backup=LABEL to restore it all the same"
        )
    # A point in time needs one attempt; whether a name is reached only the recovery tells.
    return [one.label for one in (sound or found)][: None if target.kind == "name" else 1]


def place_of(lsn: str) -> int:
    """Return a place in the WAL as a number."""
    high, _, low = lsn.partition("/")
    return int(high or "0", 16) << 32 | int(low or "0", 16)


def fetch(host: Host, label: str, directory: str, target: Target) -> None:
    """Put a backup into a new directory of the volume; raise ProblemError, with nothing left of it."""
    path = f"/var/lib/postgresql/{directory}"
    # What takes over recovers without regard for settings that were higher when the WAL was written.
    options = [f"--recovery-option=restore_command={RESTORE_COMMAND}", "--recovery-option=hot_standby=off"]  # fmt: skip
    branch = branch_of(host, seconds_of(target))
    if branch:
        # That moment was left behind by a restore; the newest timeline does not have it.
        options.append(f"--target-timeline={branch['timeline']}")
    if target.kind == "latest":
        options.append("--type=default")
    else:
        options += [f"--type={target.kind}", f"--target={target.value}", "--target-action=promote"]
        if target.kind == "lsn":
            options.append("--target-exclusive")
    backups.pgbackrest(
        host, f"--pg1-path={path}", f"--set={label}", *options, "restore",
        serving=False,
    )  # fmt: skip


def room(host: Host, label: str) -> None:
    """Raise ProblemError when the disk has no room for the backup."""
    needed = next(one.size for one in backups.look(host).backups if one.label == label)
    free = host.free_bytes()
    # WAL comes on top.
    if free < needed * 1.1 + 256 * 2**20:
        raise ProblemError(
            f"the backup needs {size(needed * 1.1 + 256 * 2**20)} beside what is there and the disk has {size(free)}: make room first"
        )


def recover_on(host: Host, one: Server, target: Target, place: str) -> tuple[str, str]:
    """Wait until a server has recovered as far as it should; return the place and time it reached.

    place is how far the archive reaches for sure. Raise ProblemError when the newest state ends
    before it: a segment is missing or damaged.
    """
    if target.kind == "latest":
        question = "SELECT wait_event IN ('RecoveryRetrieveRetryInterval', 'RecoveryPause') FROM pg_stat_activity WHERE backend_type = 'startup';"
        throwaway.wait_for(host, one, question, "t", 24 * 3600)
        # What is archived meanwhile comes too late.
        one.ask("SELECT pg_wal_replay_pause();")
    else:
        throwaway.wait_for(
            host, one, "SELECT pg_get_wal_replay_pause_state();", "paused", 24 * 3600
        )
    reached = one.ask("SELECT pg_last_wal_replay_lsn();")
    if target.kind == "latest" and place_of(reached) < place_of(place):
        raise ProblemError(
            f"the archive has a gap or a damaged segment at {reached}, and goes on to {place}: "
            "`./slipway restore -e to_time=...` goes to a time before it"
        )
    at = one.ask("SELECT extract(epoch FROM pg_last_xact_replay_timestamp());")
    return reached, at


def end_of_archive(host: Host, segment_bytes: int = 16 * 2**20) -> str:
    """Return a place in the WAL that whoever reads the whole archive gets to."""
    last = backups.look(host).wal_last
    if not last:
        return "0/0"
    # The name of a segment: timeline, then the number in two parts.
    number = int(last[8:16], 16) * (2**32 // segment_bytes) + int(last[16:24], 16)
    start = number * segment_bytes
    # Its first record at least; how far it is filled is not known.
    return f"{start >> 32:X}/{(start & 0xFFFFFFFF) + 1:X}"


def read_all(one: Server) -> tuple[int, int]:
    """Read every table of every database, which holds each page to its checksum; return counts."""
    counts = [fingerprint.count(one, database) for database in one.databases()]
    return sum(tables for tables, _ in counts), sum(rows for _, rows in counts)


def what_was_read(host: Host, one: Server, label: str) -> str:
    """Read every table and return how much that was; raise ProblemError when one cannot be read.

    A backup that is known to be damaged is restored as it is: there may be no other one.
    """
    try:
        tables, rows = read_all(one)
    except ProblemError as problem:
        if not any(found.label == label and found.damaged for found in backups.look(host).backups):
            raise
        return f"damaged as the backup is, so that not every table can be read ({problem})"
    return f"{tables} tables, {rows} rows read"


# What a server must allow as much of as the one that wrote the WAL, if it is to be asked while it recovers; with the
# names that pg_controldata has for them.
PARAMETERS = {
    "max_connections": "max_connections", "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders", "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}  # fmt: skip


def parameters(host: Host, directory: str) -> dict[str, int]:
    """Return how much a directory's WAL asks for, as far as it was read; nothing where it tells none."""
    _, out, _ = host.run_once("pg_controldata", f"/var/lib/postgresql/{directory}")
    found = re.findall(r"^(\w+) setting:\s+(\d+)$", out, re.MULTILINE)
    return {PARAMETERS[name]: int(value) for name, value in found if name in PARAMETERS}


def raised(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Return the higher of each."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def checked(host: Host, directory: str, label: str, target: Target, place: str) -> tuple[str, str, str, str]:  # fmt: skip
    """Recover a restored directory and read it; return the place and time reached, what was read, and its superuser.

    The settings may be lower by now than they were when the WAL was written, or have been higher in
    between: a server that comes to such a place ends, or pauses there as if it had reached the
    target. It has noted by then what it needs, and begins anew with that.
    """
    # What serves now has some as well.
    given = raised(parameters(host, directory), parameters(host, host.config.data_name))
    while True:
        settings = [f"{name}={value}" for name, value in sorted(given.items())]
        host.journal.stage("recover")
        ended = None
        with throwaway.server(
            host, directory, "hot_standby=on", "recovery_target_action=pause", "max_standby_archive_delay=-1", *settings
        ) as one:  # fmt: skip
            try:
                reached, at = recover_on(host, one, target, place)
            except ProblemError as problem:
                ended = problem
            needed = raised(given, parameters(host, directory))
            if needed == given:
                if ended:
                    raise ended
                host.journal.stage("check")
                return reached, at, what_was_read(host, one, label), ownership.boot_of(one)
        given = needed


def restored(host: Host, target: Target, operation: str, place: str) -> dict[str, str]:
    """Put a backup into a directory, recover and check it; return directory, backup and what of it.

    place is how far the newest state reaches at least.
    """
    problems = []
    for label in choose(host, target):
        room(host, label)
        directory = f"{host.config.version}/{operation}"
        host.journal.stage("fetch", directory=directory, backup=label)
        host.make_directory(directory)
        try:
            fetch(host, label, directory, target)
            path = host.mountpoint / directory
            replace(path / MARKER, operation)
            if target.kind == "latest":
                # So that the check ends at the end of the archive without a new timeline.
                replace(path / "standby.signal", "")
            reached, at, read, superuser = checked(host, directory, label, target, place)
            volume.unlink(path / "standby.signal")
        except ProblemError as problem:
            discard(host, directory)
            problems.append(f"{label}: {problem}")
            if target.kind == "name" and "before configured recovery target" in str(problem):
                continue
            break
        when = f"last transaction {clock(float(at))}" if at else "nothing after the backup"
        return {
            "directory": directory,
            "backup": label,
            "at": at,
            "point": f"{reached}, {when}; {read}",
            "superuser": superuser,
        }
    raise ProblemError(not_restored(host, target, problems))


def not_restored(host: Host, target: Target, problems: list[str]) -> str:
    """Return the sentence for a restore that did not work, and what may work instead."""
    reason = problems[-1]
    if "before configured recovery target" in reason:
        last = backups.look(host).wal_last
        return (
            f"{target.text} was not reached: the archive ends before it (with {last}); nothing was changed. "
            "Name an earlier one, or restore the newest state"
        )
    tried = reason.partition(":")[0]
    others = [
        one.label
        for one in backups.usable(backups.look(host))
        if one.label != tried and not one.damaged
    ]
    hint = (
        f"an older backup may do: `./slipway restore -e backup={others[0]}`" if others
        else "there is no other backup"
    )  # fmt: skip
    return f"the restore failed ({reason}); nothing was changed; {hint}"


def discard(host: Host, directory: str) -> None:
    """Remove a directory that an operation made in the volume."""
    volume.remove(host.mountpoint / directory)


def let_postgres_in(path: Path, users: list[str]) -> bool:
    """Let the container's postgres user into the database postgres, on a data directory's files.

    users are the names that the superuser may have. Returns whether anything had to be changed.
    """
    changed = False
    for name, line in (
        (name, line.format(user=user))
        for user in users
        for name, line in (("pg_hba.conf", HBA_LINE), ("pg_ident.conf", IDENT_LINE))
    ):
        file = path / name
        text = volume.read(file) if volume.exists(file) else ""
        if line in text.splitlines():
            continue
        replace(file, f"# Slipway: backups come in without a password.\n{line}\n{text}")
        changed = True
    return changed


def restore(host: Host, target: Target, into: str = "") -> list[str]:
    """Restore into place, or beside what serves; raise ProblemError, and then nothing changed."""
    backups.require(host)
    if not into and volume.is_directory(host.data):
        # Known before anything stands still.
        volume.require_exchange(host.data.parent)
    # Refuses what cannot be reached before anything is done.
    choose(host, target)
    serving = host.container_state() == "running" and host.server().answers()
    place = "0/0"
    if serving:
        # What was written up to now belongs to the newest state.
        try:
            place = backups.archive_now(host)
        except ProblemError:
            if target.kind == "latest":
                raise
    elif target.kind == "latest":
        place = end_of_archive(host)
    began = time.monotonic()
    operation = host.journal.begin("restore", into=into)
    made = restored(host, target, operation, place)
    if into == SCRATCH:
        said = beside(host, made["directory"], made["superuser"])
    else:
        at = seconds_of(target) or (
            float(made["at"]) if made["at"] and target.kind != "latest" else 0
        )
        said = [take_over(host, made["directory"], operation, at)]
    host.journal.end()
    took = time.monotonic() - began
    return [
        f"Restored {made['backup']} to {target.text} in {took:.1f} s.",
        f"Reached: {made['point']}.",
        *said,
    ]


def take_over(host: Host, directory: str, operation: str, at: float) -> str:
    """Let a checked directory be the database; raise ProblemError after going back if it is none.

    at is the moment that it shows, in seconds since the epoch; 0 is the newest state.
    """
    path, data = host.mountpoint / directory, host.data
    let_postgres_in(path, host.config.superusers)
    there = volume.is_directory(data)
    kept = host.mountpoint / host.config.version / f"before-{operation}"
    host.journal.stage("take over", kept=str(kept), at=at)
    host.stop()
    left = time.time()
    if there:
        timeline = timeline_of(host, host.config.data_name)
        exchange(path, data)
        volume.rename(path, kept)
    else:
        timeline = ""
        volume.rename(path, data)
    host.journal.stage("start", left=left, timeline=timeline)
    try:
        come_up(host)
    except ProblemError as problem:
        if not there:
            raise
        put_back(host, kept, operation)
        raise ProblemError(
            f"the restored database did not start ({problem}); what was there serves again"
        ) from None
    settle(host, at, left, timeline)
    if not there:
        return "There was no database before."
    return (
        f"What was there is kept in {kept.name}: `./slipway restore -e back=true` returns to it, "
        f"`./slipway restore -e forget={kept.name}` removes it."
    )


def settle(host: Host, at: float, left: float, timeline: str) -> None:
    """Note that a restored database serves now."""
    if at and timeline:
        remember_branch(host, at, left, timeline)
    volume.unlink(host.data / MARKER)


def come_up(host: Host) -> None:
    """Start a directory that was restored; raise ProblemError when it does not come up.

    Its passwords are those of the backup, so the first question comes from the container's own user.
    """
    rotate.align(host)
    docker("start", host.config.container)
    server, deadline = host.as_postgres(), time.monotonic() + host.config.start_timeout
    while not server.answers():
        if time.monotonic() > deadline or host.container_state() not in ("running", "restarting"):
            raise ProblemError(f"{host.config.container} does not take queries: {host.complaint()}")
        time.sleep(0.2)
    # It was for the recovery, and means nothing to a server that writes.
    server.try_ask("ALTER SYSTEM RESET hot_standby;")
    # Its checkpointer fell asleep during the recovery, without regard for archive_timeout: for up to checkpoint_timeout (5 min)
    # nothing would be archived. This wakes it.
    server.ask("SELECT pg_reload_conf();")
    settle_roles(host, server)
    host.wait_healthy()


def timeline_of(host: Host, directory: str) -> str:
    """Return the timeline of a directory on which no server runs; nothing when it tells none."""
    _, out, _ = host.run_once("pg_controldata", f"/var/lib/postgresql/{directory}")
    found = re.findall(r"Latest checkpoint's TimeLineID:\s+(\d+)", out)
    return found[0] if found else ""


def begin_timeline(path: Path) -> None:
    """Have a directory go on under a timeline of its own, the newest of all.

    Another one has gone on from its past meanwhile, and the newest is the one that counts.
    """
    text = volume.read(path / "postgresql.auto.conf")
    nothing = "".join(
        f"recovery_target{one} = ''\n" for one in ("", "_time", "_name", "_lsn", "_xid")
    )
    command = RESTORE_COMMAND.replace("'", "''")
    replace(
        path / "postgresql.auto.conf",
        f"{text}\n{nothing}recovery_target_timeline = 'current'\nrestore_command = '{command}'\nhot_standby = off\n",
    )
    replace(path / "recovery.signal", "")


def put_back(host: Host, kept: Path, name: str) -> None:
    """Swap the directories once more, and start what served before; the other one gets the name."""
    docker("stop", f"--time={host.config.stop_timeout}", host.config.container, check=False)
    begin_timeline(kept)
    exchange(kept, host.data)
    if kept.name != name:
        volume.rename(kept, kept.with_name(name))
    let_postgres_in(host.data, host.config.superusers)
    come_up(host)


def settle_roles(host: Host, server: Server) -> None:
    """Give a database that was restored the roles and passwords of today.

    It may be of a time before the application had a role of its own. server asks it as its
    container's own user does.
    """
    config, boot = host.config, ownership.boot_of(server)
    password = volume.read(rotate.file(host))
    own_one = config.parted and boot == config.user
    ownership.set_password(server, boot, rotate.own_password(host) if own_one else password)
    if not config.parted:
        return
    database = config.cluster["db"]
    if boot != config.user:
        user = ownership.take_over(
            host.server_as(boot, "password"), database, config.owner, rotate.own_password(host),
            keep=boot in (config.owner, *config.former),
        )  # fmt: skip
        config.note_cluster(user=user, shared=True)
    own = host.server()
    ownership.create(own, config.owner, password)
    for name in config.former:
        if ownership.known(own, name):
            ownership.set_password(own, name, password)
            ownership.change(own, database, name, [], config.owner)
    ownership.keep_in_order(own, database, config.owner, config.former)


def beside(host: Host, directory: str, superuser: str) -> list[str]:
    """Leave a restored directory with a server of its own beside the one that serves."""
    forget(host, SCRATCH)
    new = f"{host.config.version}/{SCRATCH}"
    volume.rename(host.mountpoint / directory, host.mountpoint / new)
    name = f"{host.config.project}-{SCRATCH}"
    # As psql of the console wants it.
    options = (
        f"--env=POSTGRES_USER={superuser}",
        f"--env=POSTGRES_DB={host.config.cluster['db']}",
        f"--volume={host.config.config_dir}/secrets/postgres:/run/secrets/postgres:ro",
    )
    one = throwaway.run(host, new, name=name, options=options)
    throwaway.wait_for(host, one, "SELECT pg_is_in_recovery();", "f", host.config.start_timeout)
    return [
        f"It runs beside the database as {name}: `./slipway psql -e part={SCRATCH}` opens it, "
        f"`./slipway restore -e forget={SCRATCH}` removes it."
    ]


def kept(host: Host) -> list[str]:
    """Return the directories that restores and upgrades kept, the oldest first."""
    there = volume.names(host.mountpoint / host.config.version)
    names = [name for name in there if name.startswith("before-")]
    return sorted(names, key=lambda name: name[-15:])


def forget(host: Host, name: str) -> list[str]:
    """Remove what a restore kept: a name, `all` of them, or the scratch database."""
    if name == SCRATCH:
        docker("rm", "--force", "--volumes", f"{host.config.project}-{SCRATCH}", check=False)
        discard(host, f"{host.config.version}/{SCRATCH}")
        return [f"The {SCRATCH} database is gone."]
    known = kept(host)
    names = known if name == "all" else [name]
    if not set(names) <= set(known):
        raise ProblemError(f"nothing is kept as '{name}': there is {', '.join(known) or 'nothing'}")
    for one in names:
        discard(host, f"{host.config.version}/{one}")
    return [f"Removed {', '.join(names) or 'nothing: there was nothing'}."]


def back(host: Host) -> list[str]:
    """Return to what was there before the last restore; that one is kept in its place."""
    known = [name for name in kept(host) if name.startswith("before-restore-")]
    if not known:
        raise ProblemError(
            "no restore kept what was there before, so there is nothing to go back to"
        )
    volume.require_exchange(host.data.parent)
    name = known[-1]
    path = host.mountpoint / host.config.version / name
    left = path.with_name(f"before-back-{stamp()}")
    operation = host.journal.begin("back", before=str(path))
    replace(path / MARKER, operation)
    let_postgres_in(path, host.config.superusers)
    begin_timeline(path)
    host.journal.stage("take over", kept=str(left))
    host.stop()
    exchange(path, host.data)
    volume.rename(path, left)
    host.journal.stage("start")
    try:
        come_up(host)
    except ProblemError as problem:
        put_back(host, left, name)
        volume.unlink(path / MARKER)
        raise ProblemError(
            f"what was there before did not start ({problem}); the restored database serves on"
        ) from None
    returned(host, left)
    return [f"Back to what was there before; the restored database is kept in {left.name}."]


def returned(host: Host, left: Path) -> None:
    """Note that a restore was taken back: what it left behind is what serves again."""
    known = branches(host)
    if known:
        # Made since, it belongs to the restored database, which is a branch now.
        timeline = timeline_of(host, f"{host.config.version}/{left.name}")
        known[-1] = {"point": known[-1]["left"], "left": time.time(), "timeline": timeline}
        replace(host.config.own / "branches.json", json.dumps(known, indent=1) + "\n")
    volume.unlink(host.data / MARKER)
    host.journal.end()
