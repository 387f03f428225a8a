"""The description of the API: it is whole, and a judge finds nothing that it does not say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from example.openapi import document


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    """Return the address where the app serves."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_route_is_described(app: Flask) -> None:
    """The document has the routes of the app with their methods, and no others."""
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, item in document()["paths"].items() for method in item}
    assert described == routes


def test_schemathesis_finds_nothing(url: str, tmp_path: Path) -> None:
    """All checks of schemathesis hold, on examples that are the same in each run."""
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    run = subprocess.run(
        [
            program, "--no-color", "run", f"{url}/openapi.json", "--checks=all",
            "--max-examples=100", "--seed=5", "--request-timeout=10", "--max-failures=20",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    cases = re.search(r"([\d,]+) generated", run.stdout)
    assert cases is not None, run.stdout
    assert int(cases[1].replace(",", "")) > 500, run.stdout
