"""The command numbers-migrate: brings the schema up to the revision in NUMBERS_SCHEMA."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from numbers_app.database import connect_args


def migrate(target: str) -> tuple[list[str], str | None]:
    """Upgrade in one transaction; return the revisions applied, and the one it is at then."""
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(**connect_args()),
        poolclass=sa.pool.NullPool,
    )
    applied: list[str] = []

    def on_version_apply(*, step: Any, **_: Any) -> None:
        applied.append(f"{step.up_revision_id} {step.up_revision.doc.rstrip('.')}")

    config = Config()
    directory = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes.update(connection=connection, on_version_apply=on_version_apply)
        # Past the target already, this does nothing.
        command.upgrade(config, target)
        if os.environ.get("NUMBERS_FAULT") == "migration":
            connection.execute(sa.text("CREATE TABLE half_made (n integer)"))
            connection.execute(sa.text("INSERT INTO half_made SELECT generate_series(1, 1000)"))
            raise RuntimeError("fault: migration")
        return applied, MigrationContext.configure(connection).get_current_revision()


def main() -> int:
    """Run the command and return its exit code."""
    target = os.environ.get("NUMBERS_SCHEMA") or "0001"
    try:
        applied, revision = migrate(target)
    except Exception as error:
        print(f"numbers-migrate: The schema was not changed: {_reason(error)}.", file=sys.stderr)
        return 1
    for each in applied:
        print(f"numbers-migrate: applied {each}")
    if not applied:
        print(f"numbers-migrate: nothing to do, the schema is at {revision}, asked for {target}")
    return 0


def _reason(error: Exception) -> str:
    """Return one line that says what failed."""
    if isinstance(error, KeyError):
        return f"{error.args[0]} is not set"
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig else error
    return " ".join(str(cause).split()).rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
