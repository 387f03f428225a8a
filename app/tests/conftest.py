"""Fixtures: a server for the whole run, an empty table for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example import create_app
from example.migrate import migrate
from example.settings import Settings

from .server import Server


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
def migrated(server: Server) -> Settings:
    """Return the settings for a database with the schema."""
    settings = server.settings(server.create())
    assert migrate(settings, 5)
    return settings


@pytest.fixture
def settings(server: Server, migrated: Settings) -> Settings:
    """Return the settings for a database with the schema and no cats."""
    with server.connect(migrated.database) as connection:
        connection.execute("TRUNCATE cats RESTART IDENTITY")
    return migrated


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
