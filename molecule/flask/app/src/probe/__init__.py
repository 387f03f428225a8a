"""An application that shows what it sees."""

import hashlib
import os
import time
from pathlib import Path

from flask import Flask, Response, abort, jsonify, request

from .build import NAME


def create_app() -> Flask:
    """Return the application, which has its settings in a file of its instance folder."""
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_pyfile("config.py")

    @app.before_request
    def know_the_host() -> None:
        """Answer no other name, as an application with SERVER_NAME does."""
        if request.host != app.config["PROBE_HOST"]:
            abort(404)

    @app.get("/healthz")
    def healthz() -> Response:
        """Answer while the process serves."""
        return jsonify("ok")

    @app.get("/env/<name>")
    def env(name: str) -> Response:
        """Show a variable of the environment."""
        return jsonify(os.environ.get(name))

    @app.get("/hash/<name>")
    def secret(name: str) -> Response:
        """Show the SHA-256 of a secret, by its variable or else by its file."""
        value = os.environ.get(name)
        data = (
            value.encode() if value is not None else Path(os.environ[f"{name}_FILE"]).read_bytes()
        )
        return jsonify(hashlib.sha256(data).hexdigest())

    @app.get("/config/<name>")
    def config(name: str) -> Response:
        """Show a setting of the file."""
        return jsonify([NAME, app.config[name]])

    @app.get("/slow/<int:seconds>")
    def slow(seconds: int) -> Response:
        """Answer after a while."""
        time.sleep(min(seconds, 30))
        return jsonify("slow but sure")

    return app
