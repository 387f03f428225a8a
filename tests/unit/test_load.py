"""What the load client sees of a server: nothing where all is well, and every kind of failure."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.load import load


class Site:
    """The routes of tests/apps/numbers, each with a switch that breaks it."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.fault = ""
        self.used: set[asyncio.Transport] = set()
        self.url = ""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/", self.index),
            web.get("/rows", self.read),
            web.post("/rows", self.write),
            web.get("/slow", self.slow),
            web.post("/upload", self.upload),
            web.post("/add", self.add),
            web.get("/readyz", self.ready),
        ]

    async def index(self, request: web.Request) -> web.StreamResponse:
        """Say which release answers."""
        assert request.transport is not None
        if self.fault == "status":
            return web.Response(status=500, text="It broke.")
        if self.fault == "drop":
            request.transport.abort()
        if self.fault == "no json":
            return web.Response(text="<p>Welcome to nginx!</p>")
        if self.fault == "half":
            answer = web.StreamResponse(headers={"Content-Length": "100"})
            await answer.prepare(request)
            await answer.write(b"{")
            request.transport.close()
            return answer
        if self.fault in ("idle", "killed"):
            # Each connection lives for one request, which its answer does not tell.
            if request.transport in self.used:
                if self.fault == "killed":
                    await asyncio.sleep(load.CROSSING_SECONDS)
                request.transport.close()
            self.used.add(request.transport)
        if self.fault == "cats":
            return web.json_response([{"name": name} for name in self.rows])
        return web.json_response({"release": "one"})

    async def ready(self, _request: web.Request) -> web.Response:
        """Say whether the database answers."""
        return web.json_response({"status": "ready" if self.fault == "cats" else "starting"})

    async def add(self, request: web.Request) -> web.Response:
        """Keep a cat, or only say so."""
        if len(self.rows) < 5:
            self.rows.append((await request.json())["name"])
        return web.json_response("Added")

    async def read(self, _request: web.Request) -> web.Response:
        """List the rows."""
        return web.json_response(self.rows)

    async def write(self, request: web.Request) -> web.Response:
        """Keep a row, or only say so."""
        n = (await request.json())["n"]
        if self.fault != "forget" or len(self.rows) < 5:
            self.rows.append(n)
        return web.json_response({"n": "another" if self.fault == "echo" else n})

    async def slow(self, request: web.Request) -> web.Response:
        """Sleep, or only say so."""
        seconds = float(request.query["seconds"])
        await asyncio.sleep(seconds)
        return web.json_response({"slept": seconds})

    async def upload(self, request: web.Request) -> web.Response:
        """Read the body."""
        body = await request.read()
        if self.fault == "hash":
            body = body[::-1]
        return web.json_response({"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a site that serves in a thread of its own."""
    site = Site()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        asyncio.run_coroutine_threadsafe(run(), loop).result(10)

    app = web.Application()
    app.add_routes(site.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    call(runner.setup())
    call(web.TCPSite(runner, "127.0.0.1", 0).start())
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    call(runner.cleanup())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(site: Site, tmp_path: Path) -> Run:
    """Return a function that runs the client and returns its summary, with the failures."""

    def run(mix: str, *options: str, code: int = 0) -> dict[str, Any]:
        args = ["run", site.url, "--out", str(tmp_path), "--mix", mix, *options]
        if "--seconds" not in options:
            args += ["--seconds", "0.5", "--rate", "40"]
        assert load.main(args) == code
        summary: dict[str, Any] = json.loads((tmp_path / "summary.json").read_text())
        lines = (tmp_path / "failures.jsonl").read_text().splitlines()
        summary["failures"] = [json.loads(line) for line in lines]
        assert len(lines) == summary["failed"] + summary["idle_closed"]
        return summary

    return run


def test_sees_nothing_wrong_with_a_good_site(
    site: Site, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All kinds at once, and all the rows."""
    mix = "get=10,get_new=5,post=10,post_new=5,slow=1,upload=1"
    summary = run(mix, "--seconds", "0.8", "--rate", "80", "--prefix", "key", "--expect-zero")
    assert (summary["requests"], summary["failed"], summary["idle_closed"]) == (64, 0, 0)
    assert summary["rows"] == 30
    assert sorted(site.rows) == sorted(f"key-{number}" for number in range(1, 31))
    assert sorted((tmp_path / "rows.txt").read_text().split()) == sorted(site.rows)
    assert list(summary["releases"]) == ["one"]
    assert summary["latency_ms"]["slow"]["p50"] >= 2000
    assert summary["latency_ms"]["get"]["max"] < 2000
    assert "64 requests in 0.8 s: 0 failed" in capsys.readouterr().out
    assert load.main(["check", site.url, "--rows", str(tmp_path / "rows.txt")]) == 0
    assert "30 rows acknowledged, 0 missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fault", "kind", "what"),
    [
        ("status", "get", "500 It broke."),
        ("no json", "get", "200 without JSON"),
        ("half", "get", "ClientPayloadError"),
        ("drop", "get_new", "ServerDisconnectedError"),
        ("echo", "post", "200 with {'n': 'another'}"),
        ("hash", "upload", "200 with {'bytes': 65536"),
    ],
)
def test_sees_a_failure(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch, fault: str, kind: str, what: str
) -> None:
    """Each of them, and not as a connection that was closed while idle."""
    monkeypatch.setattr(load, "UPLOAD_SECONDS", 0.1)
    site.fault = fault
    summary = run(f"{kind}=1", "--seconds", "0.2", "--rate", "20", "--expect-zero", code=1)
    assert (summary["requests"], summary["failed"], summary["idle_closed"]) == (4, 4, 0)
    assert summary["rows"] == 0
    assert {failure["kind"] for failure in summary["failures"]} == {kind}
    assert all(what in failure["what"] for failure in summary["failures"])


def test_tells_a_connection_closed_while_idle_apart(site: Site, run: Run) -> None:
    """A GET that met a closed connection is not sent again in silence."""
    site.fault = "idle"
    summary = run("get=1", "--expect-zero", code=1)
    assert summary["failed"] == 0
    assert summary["idle_closed"] > 5
    assert all(each["idle_closed"] and each["reused"] for each in summary["failures"])


def test_counts_a_request_that_was_worked_on_as_failed(site: Site, run: Run) -> None:
    """A server that hangs up after a while had taken the request."""
    site.fault = "killed"
    summary = run("get=1")
    assert summary["idle_closed"] == 0
    assert summary["failed"] > 0
    assert all(each["reused"] for each in summary["failures"])


def test_sees_that_nobody_listens(tmp_path: Path) -> None:
    """A refused connection is a failure like others, not the end of the run."""
    args = ["run", "http://127.0.0.1:9", "--seconds", "0.2", "--rate", "20", "--mix", "get=1"]
    assert load.main([*args, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["failed"] == 4
    assert "ClientConnectorError" in (tmp_path / "failures.jsonl").read_text()


def test_says_so_when_it_is_saturated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limit is not left out silently."""
    monkeypatch.setattr(load, "SLOW_SECONDS", 0.5)
    summary = run("slow=1", "--seconds", "0.2", "--rate", "20", "--max-open", "1")
    assert summary["failed"] == 3
    assert {failure["what"] for failure in summary["failures"]} == {"client saturated"}


def test_ends_when_the_file_appears(run: Run, tmp_path: Path) -> None:
    """Long before its seconds are over."""
    timer = threading.Timer(0.5, (tmp_path / "stop").touch)
    timer.start()
    began = time.monotonic()
    summary = run("get=1", "--seconds", "60", "--rate", "20")
    timer.join()
    assert time.monotonic() - began < 5
    assert 0 < summary["requests"] < 100
    assert summary["failed"] == 0


def test_finds_rows_that_were_acknowledged_and_not_kept(
    site: Site, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the run itself can't see anything wrong."""
    site.fault = "forget"
    assert run("post=1")["failed"] == 0
    assert load.main(["check", site.url, "--rows", str(tmp_path / "rows.txt")]) == 1
    assert "20 rows acknowledged, 15 missing" in capsys.readouterr().out


def test_knows_the_example_too(
    site: Site, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its cats are the rows; another answer than that it is ready is a failure."""
    assert run("get=1,post=1", "--app", "example")["failed"] == 10
    site.fault, site.rows = "cats", []
    assert run("get=1,post=1", "--app", "example")["failed"] == 0
    rows = str(tmp_path / "rows.txt")
    assert load.main(["check", site.url, "--rows", rows, "--app", "example"]) == 1
    assert "10 rows acknowledged, 5 missing" in capsys.readouterr().out


def test_checks_no_empty_list(site: Site, tmp_path: Path) -> None:
    """A run that acknowledged nothing proves nothing."""
    (tmp_path / "rows.txt").touch()
    assert load.main(["check", site.url, "--rows", str(tmp_path / "rows.txt")]) == 1


def test_says_in_a_sentence_what_it_could_not_do(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an exit code of its own."""
    assert load.main(["check", site.url, "--rows", str(tmp_path / "none")]) == 2
    assert "could not be done: [Errno 2] No such file" in capsys.readouterr().err


def test_takes_the_kinds_in_the_same_order_every_time() -> None:
    """All of them, as often as their weights say."""
    first, second = load.cycle(load.MIX), load.cycle(load.MIX)
    kinds = [next(first) for _ in range(sum(load.MIX.values()))]
    assert kinds == [next(second) for _ in kinds]
    assert {kind: kinds.count(kind) for kind in load.MIX} == load.MIX


@pytest.mark.parametrize("mix", ["get", "get=", "gett=1", "get=0", "get=-1"])
def test_refuses_a_wrong_mix(mix: str, tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(SystemExit):
        load.main(["run", "http://x", "--seconds", "1", "--out", str(tmp_path), "--mix", mix])
