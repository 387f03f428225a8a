"""A Postgres of the tests' own, of each version that the test packages bring, asked by psql."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.unit.postgres import Cluster

sys.path.insert(0, str(Path(__file__).parents[2] / "roles/data/files"))
host = importlib.import_module("slipway_data.host")


class Postgres(Cluster):
    """One server in a directory of its own, which was made with a superuser and its password."""

    def __init__(
        self, programs: Path, user: str, password: str, like: Postgres | None = None
    ) -> None:
        """Make it and start it, with a database of the name `app`; or like one that is stopped."""
        # Not pytest's, which another run on the machine closes to nobody.
        self.settle(Path(tempfile.mkdtemp(prefix="roles-", dir="/tmp")), programs)
        if like:
            shutil.copytree(like.data, self.data)
            for path in [self.data, *self.data.rglob("*")]:
                os.chown(path, like.directory.stat().st_uid, -1)
            self.start()
            return
        secret = self.directory / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        self.make(
            "--auth=scram-sha-256", f"--username={user}", "--encoding=UTF8", f"--pwfile={secret}"
        )
        self.start()
        self.server(user, password).ask("CREATE DATABASE app;")

    def remove(self) -> None:
        """Stop it, and remove what it had."""
        self.stop("immediate")
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
