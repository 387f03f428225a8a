"""The schema that the code expects, against the one that the database has."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import psycopg

from example.database import Connection

MIGRATIONS = Path(__file__).with_name("migrations")


@cache
def head() -> str:
    """Return the newest revision that this release ships."""
    # Here, because Alembic brings SQLAlchemy along, which serves no request.
    from alembic.script import ScriptDirectory

    revision = ScriptDirectory(MIGRATIONS).get_current_head()
    if revision is None:
        raise RuntimeError(f"No revision in {MIGRATIONS}: the package was built without them.")
    return revision


def problem(connection: Connection) -> str | None:
    """Return what is wrong with the database's schema, None if nothing is."""
    try:
        rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
    except psycopg.errors.UndefinedTable:
        rows = []
    found = ", ".join(row["version_num"] for row in rows) or "none"
    if found == head():
        return None
    return f"The schema is at revision {found}, this release expects {head()}."
