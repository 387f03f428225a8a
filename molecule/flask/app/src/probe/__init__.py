"""An application that shows what it sees."""

import os
import time

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/healthz")
def healthz() -> Response:
    """Answer while the process serves."""
    return jsonify("ok")


@app.get("/env/<name>")
def env(name: str) -> Response:
    """Show a variable of the environment."""
    return jsonify(os.environ.get(name))


@app.get("/slow/<int:seconds>")
def slow(seconds: int) -> Response:
    """Answer after a while."""
    time.sleep(min(seconds, 30))
    return jsonify("slow but sure")
