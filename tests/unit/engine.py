#!/usr/bin/env python3
"""Stands for the engine's client: its containers are Postgres servers on directories of the tests.

SLIPWAY_TEST_VOLUME is what the volume holds, SLIPWAY_TEST_BIN has Postgres's programs, and the
containers are files below SLIPWAY_TEST_CONTAINERS.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

VOLUME, BIN = os.environ["SLIPWAY_TEST_VOLUME"], os.environ["SLIPWAY_TEST_BIN"]
CONTAINERS = Path(os.environ["SLIPWAY_TEST_CONTAINERS"])
PORT = os.environ["PGPORT"]
# Postgres refuses to run as root.
USER = 65534 if os.geteuid() == 0 else None


def here(argument: str) -> str:
    """Return an argument with the volume's place on this machine."""
    return argument.replace("/var/lib/postgresql/", f"{VOLUME}/")


def run(options: list[str]) -> int:
    """Start a server, or run a command to its end."""
    named = {one.partition("=")[0]: one.partition("=")[2] for one in options if one.startswith("-")}
    entrypoint = named["--entrypoint"]
    rest = options[options.index(f"--entrypoint={entrypoint}") + 1 :]
    command = [f"{BIN}/{entrypoint}", *map(here, rest[1:])]
    if "--detach" not in named:
        return subprocess.run(command, check=False, user=USER, group=USER).returncode
    # Those of the container's own files, and of its sockets.
    command = [one for one in command if not one.startswith(("-cconfig_file", "-chba_file", "-cunix"))]  # fmt: skip
    with (CONTAINERS / f"{named['--name']}.log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"-cport={PORT}", "-cunix_socket_directories="],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", user=USER, group=USER, start_new_session=True,
        )  # fmt: skip
    (CONTAINERS / named["--name"]).write_text(str(server.pid))
    return 0


def alive(name: str) -> int:
    """Return the process of a container that runs, else 0."""
    path = CONTAINERS / name
    if not path.exists():
        return 0
    pid = int(path.read_text())
    state = Path(f"/proc/{pid}/stat")
    return pid if state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z" else 0


def main() -> int:
    """Do what the engine's client would."""
    verb, *options = sys.argv[1:]
    last = options[-1]
    if verb == "run":
        return run(options)
    if verb == "inspect":
        if (CONTAINERS / last).exists():
            print("running" if alive(last) else "exited")
    elif verb == "exec":
        name = next(one for one in options if not one.startswith("-"))
        command = options[options.index(name) + 1 :]
        command = ["127.0.0.1" if one == "/tmp" else one for one in command]  # noqa: S108
        return subprocess.run([f"{BIN}/{command[0]}", *command[1:]], check=False).returncode
    elif verb == "logs":
        print((CONTAINERS / f"{last}.log").read_text())
    elif verb in ("stop", "rm"):
        pid = alive(last)
        if pid:
            os.kill(pid, signal.SIGINT if verb == "stop" else signal.SIGQUIT)
        while alive(last):
            time.sleep(0.1)
        if verb == "rm":
            (CONTAINERS / last).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
