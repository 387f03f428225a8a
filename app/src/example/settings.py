"""Settings, read from the environment once, at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """A setting is missing or has a value that can't be used."""


@dataclass(frozen=True)
class Settings:
    """Where Postgres is, how long to wait for it, and what the front knows."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    patience: float = 15.0
    pool_size: int = 4
    # What signs cookies; without one there are no sessions.
    secret_key: str | None = field(default=None, repr=False)
    # Host names that are served, empty for any.
    trusted_hosts: tuple[str, ...] = ()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read every setting; raise SettingsError for the first that is missing or wrong."""
        return cls(
            host=_required(environ, "POSTGRES_HOST"),
            port=_number("POSTGRES_PORT", _required(environ, "POSTGRES_PORT"), 1, 65535),
            user=_required(environ, "POSTGRES_USER"),
            password=_secret(environ, "POSTGRES_PASSWORD"),
            database=_required(environ, "POSTGRES_DB"),
            patience=_number("POSTGRES_PATIENCE", environ.get("POSTGRES_PATIENCE") or "15", 1, 300),
            pool_size=_number(
                "POSTGRES_POOL_SIZE", environ.get("POSTGRES_POOL_SIZE") or "4", 1, 100
            ),
            secret_key=(
                _secret(environ, "SECRET_KEY")
                if environ.get("SECRET_KEY_FILE") or environ.get("SECRET_KEY")
                else None
            ),
            trusted_hosts=tuple(
                name.strip() for name in environ.get("TRUSTED_HOSTS", "").split(",") if name.strip()
            ),
        )

    @property
    def address(self) -> str:
        """Say where the database is, for messages."""
        return f"{self.database} at {self.host}:{self.port}"

    def connect_args(self) -> dict[str, Any]:
        """Return psycopg's arguments; keyword by keyword, so the password is in no string."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            "application_name": "example",
            "connect_timeout": 3,
            # A server that vanished without a word is noticed within these, not after minutes.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 10_000,
        }


def _required(environ: Mapping[str, str], name: str) -> str:
    """Return a variable that must be there, empty counting as missing."""
    value = environ.get(name)
    if not value:
        raise SettingsError(f"{name} is not set: set it in the environment.")
    if "\0" in value:
        raise SettingsError(f"{name} contains a NUL character.")
    return value


def _number(name: str, text: str, low: int, high: int) -> int:
    """Return a whole number within its limits."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not low <= int(text) <= high:
        raise SettingsError(f"{name} must be a whole number from {low} to {high}, not {text!r}.")
    return int(text)


def _secret(environ: Mapping[str, str], variable: str) -> str:
    """Return a secret that must be there: the file goes before the variable."""
    name = environ.get(f"{variable}_FILE")
    if not name:
        if not environ.get(variable):
            raise SettingsError(f"{variable}_FILE is not set, nor is {variable}: set one of them.")
        return environ[variable]
    try:
        secret = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(
            f"{variable}_FILE names {name}, which can't be read: {error.strerror}."
        ) from error
    except ValueError as error:
        raise SettingsError(f"{variable}_FILE names {name}, which is not UTF-8 text.") from error
    if not secret:
        raise SettingsError(f"{variable}_FILE names {name}, which is empty.")
    return secret
