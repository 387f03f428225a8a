"""Logging in at a real Postgres: its answer is an SQLSTATE, whatever language it speaks."""

from __future__ import annotations

import ctypes
import importlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "roles/data/files"), str(ROOT / "app/src")]
login = importlib.import_module("slipway_data.login")
PASSWORDS = {
    "scram": "with spaces & \u00fcn\u00efcode\u00a0\u2168",
    "md5": "another",
    "plain": "third one",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """Return a server with a role for each kind of password."""
    module = importlib.import_module("app.tests.server")
    made = module.Server()
    made.start()
    with made.connect() as connection:
        for name, password in PASSWORDS.items():
            kind = "md5" if name == "md5" else "scram-sha-256"
            connection.execute(f"SET password_encryption = '{kind}'")
            text = psycopg.sql.Literal(password).as_string(connection)
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD {text}".encode())
        connection.execute("CREATE ROLE trusted LOGIN")
        connection.execute("CREATE ROLE nobody LOGIN")
    hba = made.directory / "data/pg_hba.conf"
    lines = "host all trusted all trust\nhost all md5 all md5\nhost all plain all password\n"
    hba.write_text(lines + "host all elsewhere all reject\n" + hba.read_text())
    with made.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    yield made
    made.remove()


def attempt(server: Any, role: str, password: str) -> str:
    """Log in past the container."""
    connection = socket.create_connection(("127.0.0.1", server.port), 10)
    with connection, connection.makefile("rb") as reader, connection.makefile("wb") as writer:
        return str(login.login(reader, writer, role, password))


@pytest.mark.parametrize("role", PASSWORDS)
def test_a_password_is_right_or_wrong(server: Any, role: str) -> None:
    """In each way that Postgres asks for it."""
    assert attempt(server, role, PASSWORDS[role]) == ""
    assert attempt(server, role, "wrong") == login.WRONG_PASSWORD
    assert attempt(server, role, "") == login.WRONG_PASSWORD


def test_other_refusals_are_not_that_of_a_password(server: Any) -> None:
    """No line of pg_hba.conf, no room, no such role."""
    assert attempt(server, "trusted", "whatever") == ""
    assert attempt(server, "elsewhere", "x") == "28000"
    assert attempt(server, "nobody", "x") == login.WRONG_PASSWORD
    with server.connect() as connection:
        connection.execute("ALTER ROLE scram CONNECTION LIMIT 0")
        assert attempt(server, "scram", PASSWORDS["scram"]) == "53300"
        connection.execute("ALTER ROLE scram CONNECTION LIMIT -1")


def test_nothing_is_left_in_the_container(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orphan that a signal ends is a crash for the server, whose process is the first there."""
    engine = tmp_path / "docker"
    engine.write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(login, "PORT", str(server.port))
    # Orphans are this process's from here on.
    libc = ctypes.CDLL(None)
    assert libc.prctl(36, 1, 0, 0, 0) == 0
    try:
        assert login.attempt("c", "127.0.0.1", "plain", PASSWORDS["plain"]) == ""
        assert login.attempt("c", "127.0.0.1", "plain", "wrong") == login.WRONG_PASSWORD
        monkeypatch.setattr(login, "PORT", "1")
        assert login.attempt("c", "127.0.0.1", "plain", "wrong") == login.LOST
        time.sleep(0.2)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    finally:
        libc.prctl(36, 0, 0, 0, 0)


def test_a_server_that_goes_away_is_no_refusal() -> None:
    """It ends, and says so."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as connection:
            listener.accept()[0].close()
            with connection.makefile("rb") as reader, connection.makefile("wb") as writer:
                assert login.login(reader, writer, "a", "b") == login.LOST
