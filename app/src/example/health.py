"""What the outside asks to know whether the app can serve."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, current_app, jsonify

from example import schema
from example.database import Database, DatabaseAwayError

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer while the process serves."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer 200 when the database is there with the schema of this release, else why not."""
    database = cast(Database, current_app.extensions["database"])
    try:
        reason = database.run(schema.problem, probe=True)
    except DatabaseAwayError as error:
        reason = f"The database does not answer: {error}."
    if reason is None:
        return jsonify(status="ready", schema=schema.head())
    response = jsonify(error=reason)
    response.status_code = 503
    response.headers["Retry-After"] = "5"
    return response
