"""Cats in Postgres: an example for Slipway to deploy."""

from __future__ import annotations

import atexit

from flask import Flask

from example import cats, errors, health, json_provider, log, schema
from example.database import Database
from example.settings import Settings

__all__ = ["create_app"]


def create_app(settings: Settings | None = None) -> Flask:
    """Return the app, its settings from the environment unless given; raise SettingsError."""
    log.configure()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    app.json = json_provider.Provider(app)
    app.url_map.converters["cat_id"] = cats.CatId

    database = Database(settings or Settings.from_environ())
    app.extensions["database"] = database
    # A goodbye to Postgres, which would log a lost connection otherwise.
    atexit.register(database.close)
    # Now, so that a package without migrations fails at the start, and no request has to wait.
    schema.head()

    errors.init_app(app)
    app.register_blueprint(cats.blueprint)
    app.register_blueprint(health.blueprint)
    return app
