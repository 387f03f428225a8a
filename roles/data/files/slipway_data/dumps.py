"""Logical dumps: whole or not there at all; and loads, tried in full before anything is replaced."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from pathlib import Path
from typing import IO, Any

from slipway_data import fingerprint, ownership, properties, volume
from slipway_data.host import (  # fmt: skip
    Host,
    ProblemError,
    call,
    complaint_of,
    last_line,
    replace,
    size,
    stamp,
)

# The SQLSTATE of a database that somebody is connected to.
IN_USE = "55006"
SQL_END = "-- PostgreSQL database dump complete"
# Asked in the container that serves; the password comes from the mounted file.
AS_SUPERUSER = 'PGPASSWORD=$(cat "/run/secrets/postgres/$0") exec "$@"'


def within(host: Host, container: str) -> list[str]:
    """Return the command that runs another in a container, with the superuser's password."""
    return ["docker", "exec", "-i", container, "sh", "-c", AS_SUPERUSER, host.config.secret]


def client(host: Host, *command: str) -> list[str]:
    """Return the command that runs a client of Postgres in the container, as the superuser."""
    program, *arguments = command
    return [
        *within(host, host.config.container), program,
        "--host=127.0.0.1", f"--username={host.config.user}", *arguments,
    ]  # fmt: skip


def stream(
    command: list[str], source: Path | None, destination: IO[bytes] | None
) -> tuple[int, str]:
    """Run a command between files; return its exit code and what it complained of."""
    with (source or Path(os.devnull)).open("rb") as stdin:
        done = subprocess.run(
            command,
            stdin=stdin,
            stdout=destination or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
    return done.returncode, done.stderr.decode(errors="replace")


def checksum(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def dump(host: Host, directory: str = "") -> list[str]:
    """Dump the application's database into a file; raise ProblemError, and then there is none."""
    target = Path(directory) if directory else host.config.state_dir / "dumps"
    volume.make(target, 0o700)
    for left in volume.names(target):
        if left.startswith(f".{host.config.cluster['db']}-") and left.endswith(".dump.partial"):
            volume.unlink(target / left)
    name = f"{host.config.cluster['db']}-{stamp()}.dump"
    partial, path = target / f".{name}.partial", target / name
    began = time.monotonic()
    try:
        command = client(
            host, "pg_dump", "--format=custom", "--no-password", host.config.cluster["db"]
        )
        with volume.create(partial) as file:
            code, err = stream(command, None, file)
        if code:
            raise ProblemError(f"pg_dump failed, and no file was made: {complaint_of(err)}")
        readable(host, partial)
        # As sha256sum writes it, and before the dump has its name: there is none without.
        replace(target / f"{name}.sha256", f"{checksum(partial)}  {name}\n")
        volume.rename(partial, path)
    except OSError as problem:
        raise ProblemError(
            f"the dump could not be written to {target}: {problem.strerror}"
        ) from None
    finally:
        volume.unlink(partial)
    return [
        f"{path}: {size(path.stat().st_size)}, read again without a fault, {time.monotonic() - began:.1f} s; "
        f"`./slipway load -e file={path}` loads it."
    ]


def readable(host: Host, path: Path) -> None:
    """Read a dump from its first byte to its last; raise ProblemError when that does not work."""
    kind = kind_of(path)
    if kind == "sql":
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            if SQL_END not in file.read().decode(errors="replace"):
                raise ProblemError(f"{path} is cut short: pg_dump's last line is not there")
        elsewhere(path)
        return
    # All that pg_restore would do, written to nowhere.
    code, err = stream(
        ["docker", "exec", "-i", host.config.container, "pg_restore", "--file=/dev/null"],
        path,
        None,
    )
    if code:
        raise ProblemError(f"{path} is damaged or cut short: {last_line(err)}")


def elsewhere(path: Path) -> None:
    """Raise ProblemError for SQL that would work on another database than the one it is given."""
    data = False
    with path.open("rb") as file:
        for line in file:
            if data:
                data = line.rstrip(b"\r\n") != b"\\."
            elif re.match(rb"COPY .* FROM stdin;", line):
                data = True
            elif re.match(rb"\\c(onnect)?\b|\s*(DROP|CREATE)\s+DATABASE\b", line, re.IGNORECASE):
                raise ProblemError(
                    f"{path} works on databases by name ({line.decode(errors='replace').strip()[:60]}): "
                    "dump the one database, without --create"
                )


def kind_of(path: Path) -> str:
    """Return custom or sql; raise ProblemError for what is no dump."""
    with path.open("rb") as file:
        begin = file.read(4096)
    if begin.startswith(b"PGDMP"):
        return "custom"
    if b"-- PostgreSQL database dump" in begin:
        return "sql"
    raise ProblemError(f"{path} is no dump of pg_dump, neither in its custom format nor as SQL")


def load(host: Host, file: str, keep: bool = True) -> list[str]:
    """Load a dump in the place of the application's database; raise ProblemError: nothing changed."""
    path = Path(file)
    if not path.is_file():
        raise ProblemError(f"there is no file {file} on {host.config.host}")
    sidecar = path.with_name(f"{path.name}.sha256")
    if sidecar.exists() and sidecar.read_text().split()[:1] != [checksum(path)]:
        raise ProblemError(
            f"{path} is not what was dumped: its checksum is not the one in {sidecar.name}; nothing was changed"
        )
    try:
        readable(host, path)
    except ProblemError as problem:
        raise ProblemError(f"{problem}; nothing was changed") from None
    database = host.config.cluster["db"]
    new, old = (
        f"{database[:40]}_load_{stamp().replace('-', '_')}",
        f"{database[:40]}_before_{stamp().replace('-', '_')}",
    )
    server = host.server()
    host.journal.begin("load", new=new, old=old)
    began = time.monotonic()
    try:
        server.ask(properties.making(new, properties.of(server, database)))
        host.journal.stage("load")
        command = (
            ("pg_restore", "--no-password", "--exit-on-error", f"--dbname={new}")
            if kind_of(path) == "custom"
            else ("psql", "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", f"--dbname={new}")
        )
        code, err = stream(client(host, *command), path, None)
        if code:
            raise ProblemError(
                f"the dump could not be loaded ({complaint_of(err)}); nothing was changed"
            )
        held = {new: fingerprint.of_database(server, new)}
        if not fingerprint.tables(held):
            raise ProblemError(f"{path} holds no table; nothing was changed")
        if host.config.parted:
            # Also of a dump that names no owner.
            ownership.hand_over(server, new, host.config.former, host.config.owner)
        server.ask("ANALYZE;", new)
        # Now: a setting such as default_transaction_read_only would have stood in the way.
        server.ask(properties.setting(new, properties.of(server, database)))
        host.journal.stage("swap")
        swap(host, database, new, old)
    finally:
        # What was swapped in has another name by now.
        undo(host, {"new": new})
    if not keep:
        server.ask(
            'ALTER DATABASE :"old" IS_TEMPLATE false; DROP DATABASE :"old" WITH (FORCE);', old=old
        )
    host.journal.end()
    said = (
        f"What was there is kept as the database {old}: `./slipway psql -e sql='DROP DATABASE {old}'` removes it."
        if keep else "What was there is gone."
    )  # fmt: skip
    return [
        f"Loaded {path.name}: {fingerprint.tables(held)} tables, {fingerprint.rows(held)} rows, {time.monotonic() - began:.1f} s.",
        said,
    ]


def swap(host: Host, database: str, new: str, old: str) -> None:
    """Let one database take the place of another in one transaction; raise ProblemError."""
    # Who is connected goes, and comes back to the other one: the names change when nobody is there.
    script = """
\\set VERBOSITY verbose
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (:'now', :'new') \\g /dev/null
BEGIN;
ALTER DATABASE :"now" RENAME TO :"old";
ALTER DATABASE :"new" RENAME TO :"now";
COMMIT;
"""
    reason = ""
    for _ in range(50):
        code, _, err = host.server().try_ask(script, now=database, new=new, old=old)
        if not code:
            return
        reason = complaint_of(err)
        if IN_USE not in reason:
            break
        time.sleep(0.05)
    raise ProblemError(
        f"the loaded database could not take its place ({reason}); nothing was changed"
    )


def undo(host: Host, entry: dict[str, Any]) -> str:
    """Remove what a load that did not come to its end has made."""
    if host.container_state() != "running":
        host.start()
    # The first fails where there is none, or where it was not made whole; that is all the same.
    gone = f'DROP DATABASE IF EXISTS "{entry["new"]}" WITH (FORCE)'
    plain = f'ALTER DATABASE "{entry["new"]}" IS_TEMPLATE false'
    call(*client(host, "psql", "-X", "-q", "--dbname=postgres", "-c", plain, "-c", gone))
    return "cleared up"
