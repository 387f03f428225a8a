"""Fixtures: a server for the whole run, a database for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example import create_app
from example.migrate import migrate
from example.settings import Settings
from tests.server import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return a running server."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """Return the name of a database with the schema, to copy."""
    name = server.create()
    assert migrate(server.settings(name), 5)
    return name


@pytest.fixture
def settings(server: Server, template: str) -> Settings:
    """Return the settings for a database with the schema and no cats."""
    return server.settings(server.create(template))


@pytest.fixture
def empty(server: Server) -> Settings:
    """Return the settings for a database without the schema."""
    return server.settings(server.create())


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """Return the app."""
    app = create_app(settings)
    yield app
    app.extensions["database"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client of the app."""
    return app.test_client()
