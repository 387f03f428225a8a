"""The entry point for a WSGI server: numbers_app.wsgi:app."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import time
from pathlib import Path

from flask import Flask, Response, abort, jsonify, request, url_for

from numbers_app import database

FAULT = os.environ.get("NUMBERS_FAULT", "")
VERSION = importlib.metadata.version("numbers")
# Its name has the version in it, so that every version has another.
STYLE = next(Path(__file__).with_name("static").glob("style-*.css")).name

if FAULT == "import":
    raise RuntimeError("fault: import")

app = Flask(__name__)


@app.get("/")
def index() -> Response:
    """Say which release answers."""
    return jsonify(
        release=os.environ.get("SLIPWAY_RELEASE", ""),
        version=VERSION,
        label=os.environ.get("NUMBERS_LABEL", ""),
    )


@app.get("/healthz")
def healthz() -> Response:
    """Answer while the process serves."""
    if FAULT == "unhealthy":
        abort(500)
    if FAULT == "hang":
        time.sleep(3600)
    return jsonify(status="ok")


@app.get("/rows")
def read() -> Response:
    """List every key."""
    with database.pool().connection() as connection:
        rows = connection.execute("SELECT n FROM numbers ORDER BY n").fetchall()
    return jsonify([n for (n,) in rows])


@app.post("/rows")
def write() -> Response:
    """Add a key, and answer when it is committed; 409 when it is there already."""
    body = request.get_json()
    n = body.get("n") if isinstance(body, dict) else None
    if not isinstance(n, str) or "\0" in n:
        abort(400, 'The body must be {"n": "some text"}.')
    query = "INSERT INTO numbers (n) VALUES (%s) ON CONFLICT DO NOTHING"
    with database.pool().connection() as connection:
        if not connection.execute(query, (n,)).rowcount:
            abort(409, f"{n} is there already.")
    return jsonify(n=n)


@app.get("/slow")
def slow() -> Response:
    """Answer after some seconds, 30 at most."""
    seconds = max(0.0, min(request.args.get("seconds", 2.0, type=float), 30.0))
    time.sleep(seconds)
    return jsonify(slept=seconds)


@app.post("/upload")
def upload() -> Response:
    """Read the whole body, and say what came."""
    size, digest = 0, hashlib.sha256()
    while piece := request.stream.read(65536):
        size += len(piece)
        digest.update(piece)
    return jsonify(bytes=size, sha256=digest.hexdigest())


@app.get("/page")
def page() -> str:
    """Return a page that needs a static file of the same version."""
    style = url_for("static", filename=STYLE)
    return (
        '<!doctype html><html lang="en"><head><title>Numbers</title>'
        f'<link rel="stylesheet" href="{style}"></head><body>Numbers {VERSION}</body></html>\n'
    )
