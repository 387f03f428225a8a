"""Another major version: a new directory beside the old one, compared with it before it serves."""

from __future__ import annotations

import json
import re
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_data import (
    backups,
    dumps,
    fingerprint,
    restore,
    rotate,
    structure,
    throwaway,
    volume,
)
from slipway_data.front import Front
from slipway_data.host import (  # fmt: skip
    Host,
    ProblemError,
    Server,
    call,
    clock,
    complaint_of,
    docker,
    duration,
    environment,
    last_line,
    read_json,
    replace,
    size,
)

# What stands in postgresql.auto.conf because of a restore belongs to the old directory.
RECOVERY = re.compile(r"\s*(recovery_|restore_command|archive_cleanup)")
# So that what the comparison writes to the WAL of the old directory is archived when it serves again.
KEEP_WAL = ("archive_mode=on", "archive_command=/bin/false")


@dataclass
class Way:
    """How to get to the other version: its image, and the container that was made for it.

    tools is an image with the binaries of both, empty where there is none; seconds is how long a
    transaction may have run when the upgrade begins.
    """

    to: str
    image: str
    container: str
    tools: str = ""
    seconds: int = 60


def note(host: Host) -> Path:
    """Return the file that tells of the last upgrade."""
    return host.config.own / "upgrade.json"


def aside(host: Host, version: str) -> str:
    """Return the name of a version's container while it does not serve."""
    return f"{host.config.container}-{version}"


def announced(host: Host) -> Path:
    """Return the file that names a container that is made for an upgrade, until that is over."""
    return host.config.own / "next.json"


def announce(host: Host, container: str) -> list[str]:
    """Note which container is to be made for an upgrade, so that it goes if none comes of it."""
    replace(announced(host), json.dumps({"container": container}) + "\n")
    return []


def drop_unused(host: Host) -> list[str]:
    """Remove the container of an upgrade that did not come about; return what was done.

    One that has ever run is none.
    """
    container = (read_json(announced(host)) or {}).get("container", "")
    volume.unlink(announced(host))
    made = container.startswith(f"{host.config.container}-")
    if not made or host.container_state(container) != "created":
        return []
    docker("rm", container)
    return [f"Removed {container}, which was made for an upgrade that did not come about."]


def upgrade(host: Host, way: Way) -> list[str]:
    """Move the data to another major version; raise ProblemError: the old one serves."""
    config, new = host.config, host.of(way.to, way.image)
    said = preflight(host, new, way)
    front, before = Front(host), config.version
    operation = host.journal.begin(
        "upgrade", **{"from": config.version, "to": way.to, "image": way.image, "container": way.container,
                      "closed": front.closed},
    )  # fmt: skip
    directory = f"{way.to}/{operation}"
    began = time.monotonic()
    try:
        host.journal.stage("prepare")
        system = host.server().ask("SELECT system_identifier FROM pg_control_system();")
        make_cluster(host, new, directory)
        by_upgrade, told = rehearse(host, new, directory, way.tools)
        tools = way.tools if by_upgrade else ""
        host.journal.stage("close")
        closed = time.monotonic()
        front.turn(True)
        front.drain(30)
        host.journal.stage("stop")
        host.keep_stopped()
        stopped = time.monotonic()
        host.journal.stage("copy")
        with ExitStack() as servers:
            one, other = copy(host, new, directory, tools, servers)
            copied = time.monotonic()
            host.journal.stage("analyze")
            analyze(other, config.user)
            host.journal.stage("compare")
            should, has = structure.of_both(one, other)
            wrong = fingerprint.differences(should, has)
            if wrong:
                raise ProblemError(f"the new database differs: {'; '.join(wrong[:5])}")
            compared = time.monotonic()
            update_extensions(other)
            system_new = other.ask("SELECT system_identifier FROM pg_control_system();")
        written = {
            "done": "upgrade", "from": config.version, "to": way.to, "at": clock(),
            "from_system": system, "to_system": system_new, "held": has,
        }  # fmt: skip
        host.journal.stage("switch", note=written)
        switch(host, way.container, config.version)
        place(host, way.to, operation)
        host.journal.stage("start")
        new.start()
        opened = time.monotonic()
    except ProblemError as problem:
        stage = host.journal.entry["stage"]
        raise ProblemError(
            f"the upgrade to Postgres {way.to} failed ({stage}: {problem}); nothing was changed, Postgres {config.version} serves"
        ) from None
    host.journal.stage("commit")
    finish(host, host.journal.entry)
    how = "by pg_upgrade" if tools else "by dump and restore"
    return [
        *said,
        *told,
        f"Postgres {before} -> {way.to} {how} in {time.monotonic() - began:.1f} s, of which the site was closed for "
        f"{time.monotonic() - closed:.1f} s: stop {stopped - closed:.1f}, copy {copied - stopped:.1f}, "
        f"ANALYZE and comparison {compared - copied:.1f}, switch and start {opened - compared:.1f}.",
        f"{fingerprint.tables(should)} tables with {fingerprint.rows(should)} rows, sequences, roles and schemas are the same as before.",
        f"The old directory is kept ({size(volume.used(host.mountpoint / before))}): `./slipway upgrade_postgres -e back=true` returns to it "
        "while nothing was written since, `./slipway upgrade_postgres -e forget=true` removes it.",
    ]


def preflight(host: Host, new: Host, way: Way) -> list[str]:
    """Refuse what cannot end well while the site still serves, and see to a backup."""
    config = host.config
    if not (way.to.isdigit() and int(way.to) > int(config.version)):
        raise ProblemError(
            f"the database is one of Postgres {config.version} and to is '{way.to}': name a newer major version, such as -e to={int(config.version) + 1}"
        )
    if host.container_state() != "running" or not host.server().answers():
        raise ProblemError(
            f"{config.container} does not take queries: `./slipway deploy` starts it"
        )
    require_container(way)
    server = host.server()
    needed = volume.used(host.data) * 1.1 + 512 * 2**20
    if host.free_bytes() < needed:
        raise ProblemError(
            f"the upgrade needs {size(needed)} for a second copy of the data and the disk of {config.host} has {size(host.free_bytes())}: make room first"
        )
    problems = rotate.problem(host)
    problems += server.ask(_OBSTACLES, seconds=str(way.seconds)).splitlines()
    there = available(new)
    for database in server.databases():
        problems += [
            f"the extension {name} in the database {database} is not in the image of Postgres {way.to}: drop it, or use an image that has it"
            for name in server.ask("SELECT extname FROM pg_extension;", database).splitlines()
            if name not in there
        ]
        problems += server.ask(_OBSTACLES_EACH, database).splitlines()
    if problems:
        raise ProblemError(f"nothing was changed; {'; '.join(problems)}")
    code, out, err = new.run_once(
        "postgres", "-C", "shared_buffers", "-D", "/tmp", "-c", "config_file=/etc/postgresql/postgresql.conf"  # noqa: S108
    )  # fmt: skip
    if code:
        raise ProblemError(
            f"Postgres {way.to} refuses the settings ({complaint_of(err or out)}): correct postgres_settings"
        )
    return [f"Before: {line}" for line in secure(host)]


def secure(host: Host) -> list[str]:
    """Have a backup that is fresh, or make one; without backups a dump."""
    if not host.config.backup:
        return dumps.dump(host)
    found = [one for one in backups.usable(backups.look(host)) if not one.damaged]
    if found and time.time() - found[0].ended < 3600:
        backups.archive_now(host)
        return [
            f"backup {found[0].label}, {duration(time.time() - found[0].ended)} old, and the WAL up to now."
        ]
    return backups.backup(host)


# One line for each obstacle, as a person reads it.
_OBSTACLES = """
SELECT format('a transaction runs since %s s (pid %s, %s): wait for its end, or end it with SELECT pg_terminate_backend(%2$s)',
  extract(epoch FROM now() - xact_start)::int, pid, left(regexp_replace(query, '\\s+', ' ', 'g'), 60))
FROM pg_stat_activity WHERE backend_type = 'client backend' AND xact_start < now() - :'seconds' * interval '1 s'
UNION ALL
SELECT format('the prepared transaction %L waits: COMMIT PREPARED or ROLLBACK PREPARED it', gid) FROM pg_prepared_xacts
UNION ALL
SELECT format('the replication slot %s would be lost: drop it (SELECT pg_drop_replication_slot(%L)) and make it again afterwards', slot_name, slot_name)
FROM pg_replication_slots
UNION ALL
SELECT format('the tablespace %s lies outside of the volume: move what it holds and drop it', spcname) FROM pg_tablespace WHERE spcname !~ '^pg_';
"""

_OBSTACLES_EACH = """
SELECT format('the subscription %s of the database %s would be lost: drop it and make it again afterwards', subname, current_database())
FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database());
"""


def available(new: Host) -> set[str]:
    """Return the extensions that an image has."""
    code, out, err = new.run_once(
        "sh", "-c", "cd /usr/share/postgresql/*/extension && ls *.control"
    )
    if code:
        raise ProblemError(f"the image of Postgres {new.config.version} could not be asked for its extensions: {last_line(err)}")  # fmt: skip
    return {name.removesuffix(".control") for name in out.split()}


def make_cluster(host: Host, new: Host, directory: str) -> None:
    """Make an empty cluster of the new version like the old one: encoding, locale, checksums."""
    server = host.server()
    # The columns differ between versions; a row as JSON has those that there are.
    like = json.loads(
        server.ask(
            "SELECT to_json(t.*)::jsonb || jsonb_build_object('name', pg_encoding_to_char(encoding),"
            " 'checksums', current_setting('data_checksums'), 'segment', pg_size_bytes(current_setting('wal_segment_size')) / 1048576)"
            " FROM pg_database AS t WHERE datname = 'template0';"
        )
    )
    provider = {"i": "icu", "b": "builtin"}.get(like.get("datlocprovider", "c"), "libc")
    locale = like.get("datlocale") or like.get("daticulocale") or ""
    options = [
        f"--encoding={like['name']}", f"--lc-collate={like['datcollate']}", f"--lc-ctype={like['datctype']}",
        f"--wal-segsize={like['segment']}", f"--username={host.config.user}", "--auth=trust",
    ]  # fmt: skip
    if int(new.config.version) >= 15:
        options.append(f"--locale-provider={provider}")
    if provider != "libc":
        options.append(f"--{provider}-locale={locale}")
    # Both must be alike for pg_upgrade; 18 has them by itself.
    if like["checksums"] == "on":
        options.append("--data-checksums")
    elif int(new.config.version) >= 18:
        options.append("--no-data-checksums")
    new.make_directory(directory)
    code, out, err = new.run_once(
        "initdb", "-D", f"/var/lib/postgresql/{directory}", *options, "--no-instructions"
    )
    if code:
        raise ProblemError(f"initdb: {last_line(err or out)}")
    carry_over(host.data, host.mountpoint / directory)


def carry_over(old: Path, new: Path) -> None:
    """Take who may come in, and what was set by ALTER SYSTEM, along into a new directory."""
    for name in ("pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf"):
        lines = volume.read(old / name).splitlines(keepends=True)
        kept = "".join(line for line in lines if not RECOVERY.match(line))
        replace(new / name, kept)
    replace(new / restore.MARKER, new.name)


def rehearse(host: Host, new: Host, directory: str, tools: str) -> tuple[bool, list[str]]:
    """Bring the schema alone over while the site serves; return whether pg_upgrade can take it.

    Raise ProblemError where no way can. Afterwards the new cluster is empty again.
    """
    config = host.config
    said: list[str] = []
    secret = f"--volume={config.config_dir}/secrets/postgres:/run/secrets/postgres:ro"
    # pg_upgrade dumps with the newer pg_dump.
    ways = (["pg_upgrade"] if tools else []) + ["dump"]
    for name in ways:
        problem = ""
        try:
            with throwaway.server(
                new, directory, network=f"container:{config.container}", port=5433, options=(secret,)
            ) as other:  # fmt: skip
                throwaway.wait_for(host, other, "SELECT pg_is_in_recovery();", "f", config.start_timeout)  # fmt: skip
                source = ("--host=127.0.0.1", "--port=5432", f"--username={config.user}")
                container = other.container if name == "pg_upgrade" else config.container
                dump_over(host.server(), other, dumps.within(host, container), source, config.user, "--schema-only")  # fmt: skip
        except ProblemError as found:
            problem = str(found)
        restore.discard(host, directory)
        make_cluster(host, new, directory)
        if not problem:
            return name == "pg_upgrade", said
        said = [f"By dump and restore, since pg_upgrade cannot take the schema ({problem})."]
    raise ProblemError(f"the new version cannot take the schema: {problem}")


def copy(host: Host, new: Host, directory: str, tools: str, servers: ExitStack) -> tuple[Server, Server]:  # fmt: skip
    """Bring the data over; return private servers on the old and on the new directory.

    tools is the image with both versions; empty goes by dump and restore.
    """
    keep = KEEP_WAL if host.config.backup else ()
    if tools:
        pg_upgrade(host, new, directory, tools)
    one = servers.enter_context(throwaway.server(host, host.config.data_name, *keep))
    other = servers.enter_context(throwaway.server(new, directory))
    for server in (one, other):
        throwaway.wait_for(
            host, server, "SELECT pg_is_in_recovery();", "f", host.config.start_timeout
        )
    if tools:
        refresh_collations(other)
    else:
        command = ["docker", "exec", "-i", one.container]
        source = (f"--host={throwaway.SOCKET}", f"--username={host.config.user}")
        dump_over(one, other, command, source, host.config.user)
    return one, other


# As the first process of a container it would take the end of an orphan for that of its own copying
# child, and leave files empty.
_NOT_FIRST = 'cd /tmp && "$@"; exit $?'


def pg_upgrade(host: Host, new: Host, directory: str, tools: str) -> None:
    """Copy the directory with pg_upgrade; raise ProblemError with what it complained of."""
    old_bin, new_bin = (f"/usr/lib/postgresql/{one.config.version}/bin" for one in (host, new))
    hba = "-c hba_file=/etc/throwaway_hba.conf"
    code, out, err = new.of(new.config.version, tools).run_once(
        "sh", "-c", _NOT_FIRST, "sh", f"{new_bin}/pg_upgrade",
        f"--old-bindir={old_bin}", f"--new-bindir={new_bin}",
        f"--old-datadir=/var/lib/postgresql/{host.config.data_name}", f"--new-datadir=/var/lib/postgresql/{directory}",
        f"--old-options={hba}", f"--new-options={hba}", f"--username={host.config.user}",
        "--socketdir=/tmp", "--jobs=2",
        options=(f"--volume={throwaway.hba_file(host)}:/etc/throwaway_hba.conf:ro",),
    )  # fmt: skip
    if code:
        text = out + err
        found = re.findall(r"(?:fatal|error|FATAL:|ERROR:).*|.*(?:Failure, exiting|failed).*", text)
        raise ProblemError(f"pg_upgrade: {(found or [last_line(text)])[0].strip()}")
    # It checked them by itself, and only it reads them.
    restore.discard(host, f"{directory}/pg_upgrade_output.d")


def refresh_collations(server: Server) -> None:
    """Build indexes anew where the operating system sorts text in another version of its rules."""
    stale = server.ask(
        "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0'"
        " AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid) ORDER BY 1;"
    ).splitlines()
    for database in stale:
        server.ask(
            'REINDEX DATABASE :"name"; ALTER DATABASE :"name" REFRESH COLLATION VERSION;',
            database, name=database,
        )  # fmt: skip


def dump_over(one: Server, other: Server, command: list[str], source: tuple[str, ...], user: str, *options: str) -> None:  # fmt: skip
    """Dump one server into another through pipes; raise ProblemError when an end of one failed.

    command is what runs the dumping programs, source their options for the one server.
    """
    target = [f"--host={throwaway.SOCKET}", f"--username={user}"]
    into = ["docker", "exec", "-i", other.container]
    # Roles first; the one that both were made with is there.
    code, out, err = call(*command, "pg_dumpall", *source, "--globals-only")
    if code:
        raise ProblemError(f"pg_dumpall: {complaint_of(err)}")
    roles = "".join(
        line
        for line in out.splitlines(keepends=True)
        if line.strip() not in (f"CREATE ROLE {user};", f'CREATE ROLE "{user}";')
    )
    code, out, err = call(
        *into, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *target, "--dbname=template1",
        "--output=/dev/null", stdin=roles,
    )  # fmt: skip
    if code:
        raise ProblemError(f"the roles could not be made: {complaint_of(err)}")
    names = one.ask(
        "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY datname = 'template1' DESC;"
    )
    for database in names.splitlines():
        # These two are there already.
        there = database in ("template1", "postgres")
        pipe(
            [*command, "pg_dump", *source, "--format=custom", "--compress=0", *options, f"--dbname={database}"],
            [*into, "pg_restore", *target, "--exit-on-error",
             *([f"--dbname={database}", "--clean", "--if-exists"] if there else ["--create", "--dbname=template1"])],
            database,
        )  # fmt: skip


def pipe(source: list[str], target: list[str], what: str) -> None:
    """Run one command into another; raise ProblemError when either failed."""
    with (
        subprocess.Popen(source, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader,
        subprocess.Popen(target, stdin=reader.stdout, stderr=subprocess.PIPE) as writer,
    ):
        # For the type checker.
        assert reader.stdout
        assert reader.stderr
        reader.stdout.close()
        _, complaint = writer.communicate()
        told = reader.stderr.read()
        reader.wait()
    # A reader that lost its other end is not the one that failed first.
    if writer.returncode:
        raise ProblemError(f"pg_restore of {what}: {complaint_of(complaint.decode(errors='replace'))}")  # fmt: skip
    if reader.returncode:
        raise ProblemError(f"pg_dump of {what}: {complaint_of(told.decode(errors='replace'))}")


def analyze(server: Server, user: str) -> None:
    """Gather the planner's statistics of all databases."""
    code, out, err = call(
        "docker", "exec", server.container, "vacuumdb", f"--host={throwaway.SOCKET}", f"--username={user}",
        "--all", "--analyze-only", "--jobs=2", "--quiet",
    )  # fmt: skip
    if code:
        raise ProblemError(f"ANALYZE: {complaint_of(err or out)}")


def update_extensions(server: Server) -> None:
    """Bring the extensions to what the new version ships."""
    for database in server.databases():
        server.ask(
            "SELECT format('ALTER EXTENSION %I UPDATE', name) FROM pg_available_extensions"
            " WHERE installed_version <> default_version \\gexec\n",
            database,
        )


def switch(host: Host, container: str, version: str) -> None:
    """Give the name of the project's Postgres to another container; the old one gets a name aside."""
    docker("rename", host.config.container, aside(host, version))
    docker("rename", container, host.config.container)


def place(host: Host, version: str, operation: str) -> None:
    """Give a directory that was made beside the name under which it serves."""
    path = host.mountpoint / version
    if volume.exists(path / "docker"):
        volume.rename(path / "docker", path / f"before-{operation}")
    volume.rename(path / operation, path / "docker")


def version_of(container: str) -> str:
    """Return the major version that a container of the project is for; empty where there is none."""
    match = re.match(r"/var/lib/postgresql/(\d+)/docker$", environment(container).get("PGDATA", ""))
    return match[1] if match else ""


def require_container(way: Way) -> None:
    """Raise ProblemError where the container of the other version was not made."""
    if version_of(way.container) != way.to:
        raise ProblemError(
            f"the container {way.container} for Postgres {way.to} is not there: run `./slipway upgrade_postgres`, which makes it first"
        )


def finish(host: Host, entry: dict[str, Any]) -> None:
    """Let the other version be the project's: nothing of this is done before it has served."""
    config = host.config
    replace(note(host), json.dumps(entry["note"]) + "\n")
    # Names of moments, and branches, are those of a cluster.
    for name in ("moments", "branches"):
        now, old, back = (config.own / f"{name}{end}.json" for end in ("", f".{entry['from']}", f".{entry['to']}"))  # fmt: skip
        if volume.exists(now) and not volume.exists(old):
            volume.rename(now, old)
        if volume.exists(back):
            volume.rename(back, now)
    made = {**config.cluster, "version": entry["to"]}
    replace(config.config_dir / "postgres.json", json.dumps(made) + "\n")
    config.rewrite(version=entry["to"], image=entry["image"], cluster=made)
    docker("rm", "--force", aside(host, entry["from"]), check=False)
    volume.unlink(announced(host))
    Front(host).turn(entry["closed"])
    volume.unlink(host.mountpoint / entry["to"] / "docker" / restore.MARKER)
    host.journal.end()


def recover(host: Host, entry: dict[str, Any]) -> str:
    """Clear up after an upgrade, or a way back, that was killed or failed; return what was done."""
    if entry["stage"] == "commit":
        finish(host, entry)
        return f"finished, Postgres {entry['to']} serves"
    name, away = host.config.container, aside(host, entry["from"])
    if version_of(away) == entry["from"] and version_of(name) in ("", entry["to"]):
        # The names were changed, or are half-way.
        if host.container_state():
            host.stop()
            docker("rename", name, entry["container"])
        docker("rename", away, name)
    elif entry["stage"] not in ("begin", "prepare", "close"):
        # A stop may still be on its way.
        host.stop()
    path = host.mountpoint / entry["to"]
    marker = path / "docker" / restore.MARKER
    if volume.exists(marker) and volume.read(marker) == entry["id"]:
        volume.rename(path / "docker", path / entry["id"])
    before = path / f"before-{entry['id']}"
    if volume.exists(before):
        volume.rename(before, path / "docker")
    restore.discard(host, f"{entry['to']}/{entry['id']}")
    docker("rm", "--force", entry["container"], check=False)
    volume.unlink(announced(host))
    host.start()
    Front(host).turn(entry["closed"])
    return f"cleared up, Postgres {entry['from']} serves"


def back(host: Host, way: Way, force: bool) -> list[str]:
    """Return to the directory of before the upgrade; raise ProblemError, and then nothing changed.

    With force also where that loses what was written since.
    """
    config = host.config
    known = read_json(note(host)) or {}
    old = known.get("from", "")
    if known.get("done") != "upgrade" or known["to"] != config.version or not volume.is_cluster(host.mountpoint / old / "docker"):  # fmt: skip
        raise ProblemError(
            "no upgrade kept what was there before, so there is nothing to go back to"
        )
    require_container(way)
    if way.to != old:
        raise ProblemError(f"the directory that is kept is one of Postgres {old}, not {way.to}")
    front, other, left = Front(host), host.of(old, way.image), config.version
    operation = host.journal.begin(
        "upgrade_back", **{"from": config.version, "to": old, "image": way.image, "container": way.container,
                           "closed": front.closed},
    )  # fmt: skip
    volume.unlink(host.mountpoint / old / "docker" / restore.MARKER)
    try:
        host.journal.stage("close")
        began = time.monotonic()
        front.turn(True)
        front.drain(30)
        lost = fingerprint.differences(known["held"], structure.of_server(host.server()))
        if lost and not force:
            raise ProblemError(
                f"what was written since the upgrade would be lost: {'; '.join(lost[:8])}"
                f"{f' and {len(lost) - 8} more' if len(lost) > 8 else ''}; -e force=true goes back all the same"
            )
        host.journal.stage("stop")
        host.keep_stopped()
        host.journal.stage("switch", note={**known, "done": "back", "held": {}})
        switch(host, way.container, config.version)
        host.journal.stage("start")
        # It may be of before the application had a role of its own, or another password.
        restore.let_postgres_in(other.data, config.superusers)
        docker("update", "--restart=always", config.container)
        restore.come_up(other)
    except ProblemError as problem:
        raise ProblemError(f"Postgres {config.version} serves on: {problem}") from None
    host.journal.stage("commit")
    finish(host, host.journal.entry)
    kept = host.mountpoint / left
    volume.rename(kept / "docker", kept / f"before-back-{operation[-15:]}")
    return [
        f"Postgres {old} serves again; the site was closed for {time.monotonic() - began:.1f} s.",
        *(f"Lost: {line}" for line in lost),
        f"The directory of Postgres {left} is kept as well: `./slipway upgrade_postgres -e forget=true` removes it.",
    ]


def others(host: Host) -> list[str]:
    """Return the major versions, beside the one that serves, of which the volume keeps a directory."""
    return [
        name
        for name in volume.names(host.mountpoint)
        if name.isdigit() and name != host.config.version
    ]


def forget(host: Host) -> list[str]:
    """Remove what upgrades kept of other major versions."""
    versions = others(host)
    if not versions:
        return ["Nothing is kept of another major version."]
    freed = sum(volume.used(host.mountpoint / version) for version in versions)
    for version in versions:
        restore.discard(host, version)
    volume.unlink(note(host))
    return [f"Removed the directory of Postgres {', '.join(versions)}: {size(freed)}."]
