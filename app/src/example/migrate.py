"""The command example-migrate: brings the schema to the newest revision."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from example import schema
from example.settings import Settings, SettingsError

# The number that every run of this command locks, so that two never migrate at once.
LOCK = 0x65_78_61_6D_70_6C_65  # "example"
# A revision that waits for a lock on a table holds up every query behind it: it may not for long.
TABLE_LOCK_SECONDS = 10
# Waiting doesn't help against these.
REFUSALS = ("authentication failed", "does not exist", "pg_hba.conf")


class MigrationError(Exception):
    """The schema was not changed."""


def migrate(settings: Settings, wait: int) -> list[str]:
    """Upgrade to the newest revision in one transaction and return the revisions applied."""
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: _connect(settings, wait),
        poolclass=sa.pool.NullPool,
    )
    applied: list[str] = []

    def on_version_apply(*, step: Any, **_: Any) -> None:
        applied.append(f"{step.up_revision_id} {step.up_revision.doc.rstrip('.')}")

    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{wait}s'"))
        try:
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        except sa.exc.OperationalError as error:
            raise MigrationError(
                f"another run has been changing the schema for {wait} s: wait for it, or end it"
            ) from error
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{TABLE_LOCK_SECONDS}s'"))
        _refuse_unknown(connection)
        config.attributes.update(connection=connection, on_version_apply=on_version_apply)
        command.upgrade(config, "head")
    return applied


def _refuse_unknown(connection: sa.Connection) -> None:
    """Raise MigrationError when the schema comes from a newer release than this one."""
    ours = {script.revision for script in ScriptDirectory(schema.MIGRATIONS).walk_revisions()}
    for revision in MigrationContext.configure(connection).get_current_heads():
        if revision not in ours:
            raise MigrationError(
                f"the schema is at revision {revision}, which this release doesn't know"
                f" (its newest is {schema.head()}): deploy the release that made it, or a newer one"
            )


def _connect(settings: Settings, wait: int) -> psycopg.Connection[Any]:
    """Connect, trying for `wait` seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return psycopg.connect(**settings.connect_args())
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            if any(text in reason for text in REFUSALS):
                raise MigrationError(f"{settings.address} refuses the login: {reason}") from error
            if time.monotonic() >= deadline:
                raise MigrationError(
                    f"{settings.address} did not answer for {wait} s: {reason}"
                ) from error
        time.sleep(0.5)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="example-migrate", description="Bring the schema to the newest revision."
    )
    parser.add_argument(
        "--wait",
        type=int,
        default=60,
        metavar="SECONDS",
        help="how long to wait for the database, and for another run (default: 60)",
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    args = parser.parse_args(argv)
    try:
        if args.wait < 1:
            raise SettingsError("--wait must be at least 1.")
        applied = migrate(Settings.from_environ(os.environ), args.wait)
    except Exception as error:
        if args.traceback:
            traceback.print_exc()
        print(f"example-migrate: {_sentence(error)}", file=sys.stderr)
        return 1
    for revision in applied:
        print(f"example-migrate: applied {revision}")
    if not applied:
        print(f"example-migrate: nothing to do, the schema is at {schema.head()}")
    return 0


def _sentence(error: Exception) -> str:
    """Return one line that says what failed and what came of it."""
    if isinstance(error, SettingsError):
        return str(error)
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig else error
    reason = " ".join(str(cause).split()).rstrip(".") or type(cause).__name__
    return f"The schema was not changed: {reason}."


if __name__ == "__main__":
    sys.exit(main())
