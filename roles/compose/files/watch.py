#!/usr/bin/env python3
"""Run a server, and start it anew when its source changes: watch.py DIRECTORY... -- COMMAND.

uWSGI's own py-autoreload looks at what was imported, so that a file which could not be imported is
never looked at again, and its master takes two seconds to reload. The server is killed with all its
processes; a request in flight is lost. Watching is polling, since a mounted directory need not
tell of changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

SECONDS = 0.2
SECONDS_TO_DIE = 5
LEFT_OUT = frozenset({"__pycache__", "node_modules", "venv"})


def signature(directories: Iterable[str]) -> str:
    """Return a checksum of the times and sizes of the files that may be the application's."""
    found: list[tuple[str, int, int]] = []
    waiting = list(directories)
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in LEFT_OUT:
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.name.endswith((".pyc", "~")):
                    status = entry.stat()
                    found.append((entry.path, status.st_mtime_ns, status.st_size))
            except OSError:
                # An editor that saves has files which come and go.
                continue
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the server in a process group of its own."""
    return subprocess.Popen(command, start_new_session=True)


def kill(server: subprocess.Popen[bytes]) -> None:
    """Kill the server and its processes, and wait until none of them holds a socket any more."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    deadline = time.monotonic() + SECONDS_TO_DIE
    while time.monotonic() < deadline:
        # The first process of a container becomes the parent of what the server leaves.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-server.pid, os.WNOHANG)
        try:
            os.killpg(server.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def say(text: str) -> None:
    """Write a line to the log."""
    print(f"watch: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the server until it is told to stop; return the exit code of the last one."""
    end = sys.argv.index("--")
    directories, command = sys.argv[1:end], sys.argv[end + 1 :]
    # Before the start, so that what changes while it loads counts.
    seen = signature(directories)
    server = start(command)
    stopped = False

    def stop(number: int, _: object) -> None:
        nonlocal stopped
        stopped = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    told = False
    while not stopped:
        time.sleep(SECONDS)
        ended = server.poll() is not None
        if ended and not told and not stopped:
            say("the server has ended, see above: it starts when the source changes.")
        told = ended
        now = signature(directories)
        if now != seen and not stopped:
            say("the source has changed: starting the server anew.")
            seen = now
            kill(server)
            server = start(command)
    return server.wait()


if __name__ == "__main__":
    sys.exit(main())
