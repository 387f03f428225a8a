"""A Postgres of its own on a directory of the volume: private, and gone when it is not needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway_data import volume
from slipway_data.host import Host, ProblemError, Server, call, docker, last_line, replace

# Nobody reaches it but who may enter the container.
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
SOCKET = "/tmp"  # noqa: S108 (the container's own)


def hba_file(host: Host) -> Path:
    """Write who may ask a throw-away server, and return the file."""
    path = host.config.own / "throwaway_hba.conf"
    if not volume.exists(path) or volume.read(path) != HBA:
        replace(path, HBA, 0o644)
    return path


def psql(user: str) -> list[str]:
    """Return the command that asks a throw-away server."""
    return ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", SOCKET, "-U", user, "-d"]


def run(
    host: Host, directory: str, *settings: str, name: str, options: tuple[str, ...] = (), network: str = "", port: int = 5432, user: str = ""
) -> Server:  # fmt: skip
    """Start a server on a directory of the volume, in the background.

    settings are NAME=VALUE. It archives nothing: what it writes belongs to nobody. network is
    docker's, empty for that of the repository; port goes for the server and the clients beside it.
    """
    operation = host.journal.entry.get("id", name)
    given = [f"-c{one}" for one in settings]
    program, *before = host.gently(("postgres",))
    docker(
        "run", "--detach", f"--name={name}", *host.options(operation, network), *options, f"--env=PGPORT={port}",
        f"--volume={hba_file(host)}:/etc/throwaway_hba.conf:ro", "--user=postgres", f"--entrypoint={program}",
        host.config.image, *before, "-D", f"/var/lib/postgresql/{directory}",
        "-cconfig_file=/etc/postgresql/postgresql.conf", "-chba_file=/etc/throwaway_hba.conf",
        "-clisten_addresses=127.0.0.1", f"-cunix_socket_directories={SOCKET}", "-carchive_mode=off",
        # It shares the host with the one that serves.
        # What is read in its log is read in English.
        "-cshared_buffers=64MB", "-clc_messages=C", *given,
    )  # fmt: skip
    # Of an older backup the superuser may have another name.
    first, *others = [user] if user else host.config.superusers
    return Server(name, psql(first), others=[psql(other) for other in others])


@contextmanager
def server(host: Host, directory: str, *settings: str, **where: Any) -> Iterator[Server]:  # fmt: skip
    """Start a server on a directory of the volume (see `run`); it is stopped and removed at the end."""
    name = f"{host.config.project}-{directory.rpartition('/')[2]}-{len(host.journal.used)}"
    host.journal.used.append(name)
    try:
        yield run(host, directory, *settings, name=name, **where)
        # With a checkpoint, for whoever starts on the directory next.
        docker("stop", f"--time={host.config.stop_timeout}", name)
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


def logged(name: str) -> list[str]:
    """Return the lines that a container wrote."""
    _, out, err = call("docker", "logs", name)
    return (out + err).splitlines()


def why_it_ended(name: str) -> str:
    """Return why a server ended by itself, as far as its log tells."""
    lines = [
        line
        for line in logged(name)
        if any(word in line for word in ("FATAL:", "PANIC:", "ERROR: ["))
    ]
    # pgBackRest's own sentence tells more than that its command failed.
    told = [line for line in lines if "ERROR: [" in line]
    return last_line((told or lines or ["it wrote nothing"])[-1])


def wait_for(host: Host, one: Server, question: str, answer: str, seconds: float) -> None:
    """Wait until a server gives an answer; raise ProblemError when it ends before, or is late."""
    deadline = time.monotonic() + seconds
    while True:
        code, out, _ = one.try_ask(question)
        if code == 0 and out.strip() == answer:
            return
        if host.container_state(one.container) != "running":
            raise ProblemError(why_it_ended(one.container))
        if time.monotonic() > deadline:
            raise ProblemError(f"it did not come to {answer!r} within {seconds:.0f} s")
        time.sleep(0.2)
