"""Cats in Postgres: an example for Slipway to deploy."""

from __future__ import annotations

import atexit

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from example import cats, errors, health, json_provider, log, openapi, schema
from example.database import Database
from example.sessions import Sessions
from example.settings import Settings

__all__ = ["create_app"]


def create_app(settings: Settings | None = None) -> Flask:
    """Return the app, its settings from the environment unless given; raise SettingsError."""
    log.configure()
    app = Flask(__name__)
    settings = settings or Settings.from_environ()
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    app.config["SECRET_KEY"] = settings.secret_key
    app.config["TRUSTED_HOSTS"] = list(settings.trusted_hosts) or None
    app.session_interface = Sessions()
    # Exactly one proxy, the front, which drops what a client says of itself.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0)  # type: ignore[method-assign]
    app.json = json_provider.Provider(app)
    app.url_map.converters["cat_id"] = cats.CatId

    database = Database(settings)
    app.extensions["database"] = database
    # A goodbye to Postgres, which would log a lost connection otherwise.
    atexit.register(database.close)
    # Now, so that a package without migrations fails at the start, and no request has to wait.
    schema.head()

    errors.init_app(app)
    app.register_blueprint(cats.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(openapi.blueprint)
    return app
