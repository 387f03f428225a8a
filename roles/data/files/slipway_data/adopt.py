"""A database that another compose file or container made becomes the project's own."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from slipway_data import ownership, restore, rotate, throwaway, upgrade, volume
from slipway_data.host import (
    Host,
    ProblemError,
    Server,
    call,
    docker,
    environment,
    last_line,
    replace,
    size,
)

# As a new cluster gets it from the image; whoever was let in before is not.
HBA = """# Slipway: everybody needs a password.
local all all scram-sha-256
host all all all scram-sha-256
"""


def adopt(host: Host, source: str = "") -> list[str]:
    """Take over a database from a volume or a container; raise ProblemError: nothing changed.

    source names it; empty is the project's own volume, in an older layout.
    """
    config = host.config
    if volume.exists(host.data) or host.container_state():
        raise ProblemError(
            f"{config.project} has a database of its own already ({config.volume}): adopt into a project that was not deployed yet"
        )
    found, own = directory_of(host, source or config.volume)
    version = volume.read(found / "PG_VERSION").strip()
    if version != config.version:
        raise ProblemError(
            f'{found} holds a database of Postgres {version}, and postgres_version is {config.version}: set postgres_version to "{version}" '
            "in the inventory and adopt again; `./slipway upgrade_postgres` moves on from there"
        )
    if volume.names(found / "pg_tblspc") or volume.is_link(found / "pg_wal"):
        raise ProblemError(f"{found} has a part elsewhere (tablespaces, or pg_wal by a link), which would be lost: bring it back first")  # fmt: skip
    amount = volume.used(found)
    if not own and host.free_bytes() < amount * 1.1 + 256 * 2**20:
        raise ProblemError(
            f"the copy needs {size(amount * 1.1 + 256 * 2**20)} and the disk of {config.host} has {size(host.free_bytes())}: make room first"
        )
    began = time.monotonic()
    # A root layout lies above the directory that is made in it.
    names = [name for name in volume.names(found) if not (own and (name.isdigit() or name == "data"))]  # fmt: skip
    operation = host.journal.begin("adopt", found=str(found), own=own, names=names)
    directory = f"{config.version}/{operation}"
    host.journal.stage("copy")
    host.make_directory(directory)
    path = host.mountpoint / directory
    bring(found, path, names, own)
    host.journal.stage("check")
    ready(host, directory)
    user = owner(host, directory)
    with throwaway.server(host, directory, user=user) as one:
        throwaway.wait_for(host, one, "SELECT pg_is_in_recovery();", "f", config.start_timeout)
        said = look_at(host, one, user)
        asked = part(host, one)
        tables, rows = restore.read_all(asked)
        name = ownership.boot_of(asked)
    checksums(host, directory)
    host.journal.stage("commit", user=name)
    volume.rename(path, host.data)
    note_cluster(host, name)
    host.journal.end()
    return [
        f"{'Moved' if own else 'Copied'} {size(amount)} from {found} in {time.monotonic() - began:.1f} s: {tables} tables with {rows} rows were read.",
        *said,
        *(
            []
            if own
            else [f"What was there is untouched; remove it when you have seen your rows: {source}."]
        ),
        "Now: ./slipway deploy",
    ]


def note_cluster(host: Host, user: str) -> None:
    """Write down which roles the cluster has, as the postgres role does."""
    host.config.note_cluster(user=user, version=host.config.version)


def directory_of(host: Host, source: str) -> tuple[Path, bool]:
    """Return where a database lies on the host, and whether that is in the project's own volume."""
    root, own = root_of(host, source)
    places = [root]
    for parent in (root, *(root / name for name in volume.directories(root))):
        places += [parent / name for name in volume.directories(parent)]
    found = [
        path
        for path in places
        # A cluster has the first in each of its databases, too.
        if volume.is_file(path / "PG_VERSION") and volume.is_file(path / "global/pg_control")
    ]
    if len(found) != 1:
        there = ", ".join(str(path) for path in found) or "nothing that Postgres made"
        raise ProblemError(
            f"{source} holds {there}: name the one volume or container that has your rows, ./slipway adopt_volume -e from=NAME "
            "(`docker volume ls` and `docker ps --all` list them)"
        )
    return found[0], own


def root_of(host: Host, source: str) -> tuple[Path, bool]:
    """Return the directory on the host of a volume, or of what a container has as its data."""
    mounts = docker("inspect", "--type=container", "--format={{json .Mounts}}", source, check=False)
    if mounts:
        if host.container_state(source) == "running":
            raise ProblemError(f"the container {source} runs, so its rows still change: `docker stop {source}` first")  # fmt: skip
        data = environment(source).get("PGDATA", "/var/lib/postgresql/data")
        # The mount that the data lies in is the one furthest down.
        fitting = [one for one in json.loads(mounts) if data == one["Destination"] or data.startswith(one["Destination"].rstrip("/") + "/")]  # fmt: skip
        if not fitting:
            raise ProblemError(f"the container {source} has its data in no volume ({data}): `docker cp` it into one, and name that")  # fmt: skip
        best = max(fitting, key=lambda one: len(one["Destination"]))
        return Path(best["Source"]) / Path(data).relative_to(best["Destination"]), False
    path = docker("volume", "inspect", "--format={{.Mountpoint}}", source, check=False)
    if not path:
        raise ProblemError(
            f"there is no volume or container '{source}' on {host.config.host}: `docker volume ls` and `docker ps --all` list them"
        )
    running = docker("ps", "--format={{.Names}}", f"--filter=volume={source}").split()
    if running:
        raise ProblemError(f"the volume {source} is in use by {', '.join(running)}: `docker stop {' '.join(running)}` first")  # fmt: skip
    return Path(path), source == host.config.volume


def bring(found: Path, path: Path, names: list[str], own: bool) -> None:
    """Put the files into the new directory: moved within the volume, copied from another one."""
    # Another image may have another number for postgres.
    with volume.pinned(found) as source, volume.filled(path) as target:
        for name in names:
            if own:
                volume.rename(found / name, path / name)
                continue
            code, _, err = call("cp", "--archive", "--reflink=auto", "--no-target-directory", str(source / name), str(target / name))  # fmt: skip
            if code:
                raise ProblemError(f"could not copy {found / name}: {last_line(err)}")
    with volume.pinned(path) as target:
        call("sync", "--file-system", str(target))


def ready(host: Host, directory: str) -> None:
    """Replace who may come in, and see that the directory was left in order or can be mended."""
    path = host.mountpoint / directory
    volume.unlink(path / "postmaster.pid")
    for name, text in (("pg_hba.conf", HBA), ("pg_ident.conf", "")):
        if volume.exists(path / name):
            volume.rename(path / name, path / f"{name}.before-slipway")
        replace(path / name, text)
    code, out, err = host.run_once("pg_controldata", f"/var/lib/postgresql/{directory}")
    if code:
        raise ProblemError(f"{path} is no database: {last_line(err or out)}")


def owner(host: Host, directory: str) -> str:
    """Return the name of the role that a cluster was made with."""
    code, out, err = host.run_once(
        "sh", "-c",
        "echo 'SELECT rolname FROM pg_authid WHERE oid = 10' | exec postgres --single -D \"$0\""
        " -c config_file=/etc/postgresql/postgresql.conf -c archive_mode=off -c shared_buffers=64MB -c log_min_messages=fatal template1",
        f"/var/lib/postgresql/{directory}",
    )  # fmt: skip
    found = re.search(r'rolname = "([^"]+)"', out)
    if code or not found:
        raise ProblemError(f"the database does not start: {last_line(err or out)}")
    return found[1]


def look_at(host: Host, one: Server, user: str) -> list[str]:
    """Require the application's database, and mend what the move changed."""
    config = host.config
    there = [name for name in one.databases() if name != "postgres"]
    if config.cluster["db"] not in one.databases():
        raise ProblemError(
            f"there is no database '{config.cluster['db']}' in it, but {', '.join(there) or 'only postgres'}: set postgres_db to that of your application"
        )
    said = [f"Databases: {', '.join(there)}; made by the role {user}."]
    upgrade.refresh_collations(one)
    old = one.ask("SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'md5%' AND rolname <> :'user';", user=user).split()  # fmt: skip
    if old:
        said.append(
            f"These roles have passwords of an old kind (md5), with which nobody comes in any more: {', '.join(old)}; give them new ones (\\password in `./slipway psql`)."
        )
    return said


def part(host: Host, one: Server) -> Server:
    """Make the superuser Slipway's own, give the application another role; return the server as the former asks it."""
    config = host.config
    user = ownership.take_over(one, config.cluster["db"], config.owner, rotate.own_password(host))
    own = Server(one.container, throwaway.psql(user))
    ownership.create(own, config.owner, volume.read(rotate.file(host)))
    return own


def checksums(host: Host, directory: str) -> None:
    """Turn data checksums on where they are off."""
    path = f"/var/lib/postgresql/{directory}"
    _, out, _ = host.run_once("pg_controldata", path)
    if re.search(r"Data page checksum version:\s+0", out):
        code, out, err = host.run_once("pg_checksums", "--enable", "-D", path)
        if code:
            raise ProblemError(f"checksums could not be turned on: {last_line(err or out)}")


def undo(host: Host, entry: dict[str, Any]) -> str:
    """Put back what was moved, or remove what was copied."""
    path = host.mountpoint / host.config.version / entry["id"]
    if entry["stage"] == "commit":
        if volume.exists(path):
            volume.rename(path, host.data)
        note_cluster(host, entry["user"])
        return "finished"
    if entry["own"] and volume.is_directory(path):
        for name in ("pg_hba.conf", "pg_ident.conf"):
            if volume.exists(path / f"{name}.before-slipway"):
                volume.rename(path / f"{name}.before-slipway", path / name)
        for name in entry["names"]:
            if volume.exists(path / name):
                volume.rename(path / name, Path(entry["found"]) / name)
    restore.discard(host, f"{host.config.version}/{entry['id']}")
    return "cleared up, what was there is as it was"
