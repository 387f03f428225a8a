"""Every error as JSON."""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify
from psycopg.errors import UndefinedColumn, UndefinedTable
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from example.database import DatabaseAwayError

logger = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(ValidationError, _invalid)
    app.register_error_handler(DatabaseAwayError, _away)
    app.register_error_handler(UndefinedTable, _schema)
    app.register_error_handler(UndefinedColumn, _schema)


def _answer(status: int, text: str, **more: str) -> Response:
    """Return an error."""
    response = jsonify(error=text, **more)
    response.status_code = status
    return response


def _http(error: HTTPException) -> Response | HTTPException:
    """Turn an HTML error page into JSON, with the headers that it had (Allow, Retry-After)."""
    if error.code is None or error.code < 400:
        return error
    response = _answer(error.code, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _invalid(error: ValidationError) -> Response:
    """Name the first field that is wrong."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = str(first["loc"][0])
    return _answer(422, f"{field}: {first['msg']}.", field=field)


def _away(error: DatabaseAwayError) -> Response:
    """Ask the client to come back."""
    logger.warning("The database is away: %s", error)
    response = _answer(503, "The database is away, try again in a few seconds.")
    response.headers["Retry-After"] = "5"
    return response


def _schema(error: Exception) -> Response:
    """Say that the migrations are still to come."""
    logger.error("The schema is not the one this release expects, run example-migrate: %s", error)
    response = _answer(503, "The database is being prepared, try again in a few seconds.")
    response.headers["Retry-After"] = "5"
    return response
