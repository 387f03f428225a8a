"""What a server holds, so that two can be compared: rows and a checksum of every table."""

from __future__ import annotations

import json
from typing import Any

from slipway_data.host import ProblemError, Server

# {database: {"tables": {name: [rows, checksum]}, "large objects": ..., "extensions": ...}}
Fingerprint = dict[str, dict[str, dict[str, list[Any]]]]

# An index could answer without a look at the table.
_PLAIN = (
    "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;\n"
)

# The text of a row, and of names, depends on these.
SAME = f"""
{_PLAIN}
SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET row_security = off; SET search_path = pg_catalog; SET statement_timeout = 0;
SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
"""

# md5 is the same in every version; the sum does not care for the order of the rows.
_SUM = "coalesce(sum(('x' || left(md5(%s), 16))::bit(64)::bigint::numeric), 0)"

# No name or value comes in but those of the catalog, which format() quotes.
_TABLES = f"""
SELECT format(
  $q$SELECT json_build_array('tables', %L, count(*), {_SUM % "(t.*)::text"}) FROM ONLY %I.%I AS t$q$,
  format('%I.%I', nspname, relname), nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND relpersistence = 'p' AND nspname NOT IN ('pg_catalog', 'information_schema')
  AND nspname !~ '^pg_(toast|temp)'
ORDER BY nspname, relname
\\gexec
"""  # noqa: S608

_LARGE_OBJECTS = f"""
SELECT json_build_array('large objects', 'all', count(*), {_SUM % "oid || ' ' || md5(lo_get(oid))"})
FROM pg_largeobject_metadata;
"""  # noqa: S608

_OTHERS = """
SELECT json_build_array('extensions', extname, 0, 0) FROM pg_extension ORDER BY 1::text;
"""


def of_database(server: Server, database: str, before: str = "") -> dict[str, dict[str, list[Any]]]:  # fmt: skip
    """Return what a database holds, as one snapshot; `before` runs first in its transaction."""
    parts = [
        SAME,
        before or "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;",
        _TABLES,
        _LARGE_OBJECTS,
    ]
    text = server.ask("\n".join([*parts, _OTHERS, "COMMIT;"]), database)
    found: dict[str, dict[str, list[Any]]] = {}
    for line in text.splitlines():
        kind, name, first, second = json.loads(line)
        found.setdefault(kind, {})[name] = [first, str(second)]
    return found


def of_server(server: Server) -> Fingerprint:
    """Return what a server holds."""
    return {name: of_database(server, name) for name in server.databases()}


_COUNTS = """
SELECT format('SELECT count(*), %L FROM ONLY %I.%I', nspname IN ('pg_catalog', 'information_schema'), nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relispopulated AND relpersistence = 'p' AND nspname !~ '^pg_(toast|temp)'
\\gexec
"""


def count(server: Server, database: str) -> tuple[int, int]:
    """Read every table of a database, the catalogs too; return how many others and rows there are."""
    lines = [line.split("|") for line in server.ask(_PLAIN + _COUNTS, database).splitlines()]
    found = [int(rows) for rows, catalog in lines if catalog == "f"]
    return len(found), sum(found)


def rows(one: Fingerprint) -> int:
    """Return how many rows there are."""
    return sum(
        table[0] for database in one.values() for table in database.get("tables", {}).values()
    )


def tables(one: Fingerprint) -> int:
    """Return how many tables there are."""
    return sum(len(database.get("tables", {})) for database in one.values())


def differences(should: Fingerprint, has: Fingerprint) -> list[str]:
    """Return what is different, one sentence each."""
    said = []
    for database in sorted({*should, *has}):
        if database not in has or database not in should:
            said.append(f"the database {database} is {'missing' if database not in has else 'new'}")
            continue
        for kind in sorted({*should[database], *has[database]}):
            one, other = should[database].get(kind, {}), has[database].get(kind, {})
            for name in sorted({*one, *other}):
                if one.get(name) != other.get(name):
                    said.append(_difference(database, kind, name, one.get(name), other.get(name)))
    return said


_ONE = {"indexes": "index", "policies": "policy"}


def _difference(database: str, kind: str, name: str, should: list[Any] | None, has: list[Any] | None) -> str:  # fmt: skip
    """Return one difference as a sentence."""
    what = f"{database}: {_ONE.get(kind, kind.removesuffix('s'))} {name}"
    if has is None or should is None:
        return f"{what} is {'missing' if has is None else 'new'}"
    if kind == "sequences":
        return f"{what} is at {has[0]} instead of {should[0]}"
    if kind not in ("tables", "large objects"):
        return f"{what} is '{has[1]}' instead of '{should[1]}'"
    if has[0] != should[0]:
        return f"{what} has {has[0]} rows instead of {should[0]}"
    return f"{what} has {has[0]} rows with another checksum"


_MOMENT = """
SELECT pg_current_wal_insert_lsn() AS place \\gset
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_snapshot_xmin(now) = pg_snapshot_xmax(now) AND pg_current_wal_insert_lsn() = :'place' AS calm
FROM pg_current_snapshot() AS now \\gset
\\if :calm
SELECT json_build_array('place', :'place', 0, '');
\\else
\\quit
\\endif
"""


def at_one_moment(server: Server, database: str, tries: int = 300) -> tuple[str, Fingerprint]:
    """Return a place in the WAL, and what all databases hold at exactly that place.

    A snapshot counts when no transaction is in progress and nothing was written to the WAL between
    the looks before and after it: that is what a recovery up to there has to show. The other
    databases, where there are any, must be the same before and after.
    """
    others = [name for name in server.databases() if name != database]
    before = {name: of_database(server, name) for name in others}
    for _ in range(tries):
        held = of_database(server, database, before=_MOMENT)
        if "place" not in held:
            continue
        place = next(iter(held.pop("place")))
        after = {name: of_database(server, name) for name in others}
        if after == before:
            return place, {database: held, **after}
        before = after
    raise ProblemError(
        f"{server.container} is written to without a pause, so no moment could be compared: "
        "drill at a quieter time"
    )
