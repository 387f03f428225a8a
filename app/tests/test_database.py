"""The database goes away, comes back, freezes; processes fork."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example import create_app, database
from example.settings import Settings

from .server import Server

FORK = """
import json, os, sys
from example import create_app
from example.settings import Settings

app = create_app(Settings(**json.loads(sys.stdin.read())))
database = app.extensions["database"]

def backend():
    query = "SELECT pg_backend_pid() AS pid, (SELECT count(*) FROM cats) AS cats"
    return database.run(lambda c: c.execute(query).fetchone())["pid"]

if sys.argv[1] == "opened":
    parent = backend()
for _ in range(2):
    read, write = os.pipe()
    if os.fork() == 0:
        pids = {backend() for _ in range(20)}
        assert app.test_client().get("/").status_code == 200
        os.write(write, json.dumps(sorted(pids)).encode())
        database.close()
        os._exit(0)
    os.close(write)
    print(os.read(read, 1000).decode(), flush=True)
    os.wait()
print([backend()])
assert sys.argv[1] != "opened" or backend() == parent
"""


@pytest.mark.parametrize("parent", ["opened", "unopened"])
def test_forked_processes_share_no_connection(settings: Settings, parent: str) -> None:
    """Each process has its own, even when the parent had one before the fork."""
    run = subprocess.run(
        [sys.executable, "-c", FORK, parent],
        input=json.dumps(vars(settings)),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    backends = [json.loads(line) for line in run.stdout.splitlines()]
    assert [len(each) for each in backends] == [1, 1, 1]
    assert len({each[0] for each in backends}) == 3


class Load:
    """Requests of every kind from several threads, until told to stop."""

    def __init__(self, app: Flask, threads: int) -> None:
        """Prepare."""
        self.app = app
        self.added: set[str] = set()
        self.answers: Counter[tuple[str, int]] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def _run(self, number: int) -> None:
        """Send requests."""
        client = self.app.test_client()
        count = 0
        while not self._stop.is_set():
            count += 1
            name = f"{number}-{count}"
            answer = client.post("/add", json={"name": name, "price": 1, "breed": "x"})
            self.answers["add", answer.status_code] += 1
            if answer.status_code == 200:
                self.added.add(name)
            answers = {
                "list": client.get("/"),
                "edit": client.patch("/edit/1", json={"price": count}),
                "remove": client.delete("/remove/1000000"),
            }
            self.answers.update((k, v.status_code) for k, v in answers.items())
            time.sleep(0.005)

    def __enter__(self) -> Load:
        """Start."""
        assert self.app.test_client().post("/add", json={"name": "first", "price": 1, "breed": "x"})
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("way", ["stop", "crash"])
def test_restart_under_load(server: Server, app: Flask, client: FlaskClient, way: str) -> None:
    """A restart of Postgres costs no failed request, and no row is lost or doubled."""
    with Load(app, threads=6) as load:
        for _ in range(2):
            time.sleep(0.5)
            getattr(server, way)()
            time.sleep(0.3)
            server.start()
            time.sleep(2)
        before = sum(load.answers.values())
        time.sleep(0.5)
        assert sum(load.answers.values()) > before
    assert {status for _, status in load.answers} == {200}, load.answers
    names = Counter(cat["name"] for cat in client.get("/").json or [])
    assert set(names) == load.added | {"first"}
    assert set(names.values()) == {1}


def test_backends_killed_under_load(server: Server, app: Flask, client: FlaskClient) -> None:
    """Connections that are cut in the middle of their queries cost nothing either."""
    with Load(app, threads=4) as load, server.connect() as other:
        for _ in range(20):
            time.sleep(0.1)
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test%'"
            )
    assert {status for _, status in load.answers} == {200}, load.answers
    names = Counter(cat["name"] for cat in client.get("/").json or [])
    assert set(names) == load.added | {"first"}
    assert set(names.values()) == {1}


def test_start_without_a_database(server: Server, settings: Settings) -> None:
    """The app starts, serves /healthz, says 503 elsewhere, and is ready when Postgres comes."""
    server.stop()
    app = create_app(replace(settings, patience=1.0))
    client = app.test_client()
    try:
        assert client.get("/healthz").status_code == 200
        away = client.get("/readyz")
        assert away.status_code == 503
        assert "does not answer" in str(away.json)
        first = client.get("/")
        assert (first.status_code, first.headers["Retry-After"]) == (503, "5")
        assert first.mimetype == "application/json"
        began = time.monotonic()
        assert client.post("/add", json={"name": "", "price": 1, "breed": ""}).status_code == 503
        assert time.monotonic() - began < 0.9, "once it is known to be away, nobody waits"
        # Long enough for the pool's own pauses to have grown, if they did.
        time.sleep(4)
    finally:
        server.start()
    began = time.monotonic()
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() - began < 4
        time.sleep(0.1)
    assert client.get("/").status_code == 200
    app.extensions["database"].close()


def test_frozen_server(
    server: Server, app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that takes the query and never answers is given up for another one."""
    monkeypatch.setattr(database, "ANSWER_SECONDS", 1.0)
    query = "SELECT pg_backend_pid() AS pid"
    row = app.extensions["database"].run(lambda c: c.execute(query).fetchone())
    os.kill(row["pid"], signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert client.get("/").status_code == 200
        assert time.monotonic() - began < 5
    finally:
        os.kill(row["pid"], signal.SIGCONT)


def test_slow_statement(
    server: Server, app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement over its time is 503, and the connection serves on."""
    monkeypatch.setattr(database, "STATEMENT_SECONDS", 0.3)
    client.post("/add", json={"name": "x", "price": 1, "breed": "x"})
    with server.connect(app.extensions["database"].settings.database) as other:
        with other.transaction():
            other.execute("SELECT FROM cats FOR UPDATE")
            assert client.patch("/edit/1", json={"price": 2}).status_code == 503
        assert client.patch("/edit/1", json={"price": 2}).status_code == 200
