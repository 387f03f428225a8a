"""Dumps and loads, on a real Postgres."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.postgres import Cluster

sys.path.insert(0, str(Path(__file__).parents[2] / "roles/data/files"))
host = importlib.import_module("slipway_data.host")
dumps = importlib.import_module("slipway_data.dumps")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return a server that runs."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        made = Cluster(Path(directory), "--encoding=UTF8", "--locale=C.UTF-8")
        made.start()
        yield made
        made.stop("immediate")


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a host whose Postgres is the server, with a database `site` of one table."""
    monkeypatch.setenv("PATH", f"{cluster.docker()}:{os.environ['PATH']}")
    for name in cluster.ask(
        "SELECT datname FROM pg_database WHERE datname ~ '^site';"
    ).splitlines():
        cluster.ask(f'ALTER DATABASE "{name}" IS_TEMPLATE false; DROP DATABASE "{name}";')
    config = host.Config(
        project="example", host="here", config_dir=tmp_path, state_dir=tmp_path, container="c",
        back_network="n", volume="v", image="i", version="16", memory_mb=256, start_timeout=5,
        stop_timeout=5, backup={}, cluster={"user": "owner", "db": "site", "version": "16"},
    )  # fmt: skip
    return host.Host(config)


# All that a database has beside what is in it, in a form that does not depend on its oid and name.
_PROPERTIES = """
SELECT to_jsonb(d) - '{oid,datname,datfrozenxid,datminmxid,datlastsysoid,datacl,datcollversion}'::text[]
FROM pg_database d WHERE datname = 'site';
SELECT pg_get_userbyid(grantor), coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC'), privilege_type, is_grantable
FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = 'site' ORDER BY 1, 2, 3;
SELECT setrole::regrole, setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'site' ORDER BY 1;
SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'site';
"""


def test_a_load_keeps_what_the_database_has(project: Any, cluster: Cluster, tmp_path: Path) -> None:
    """Owner, locale, encoding, privileges with their grantors, settings, limit, comment."""
    cluster.ask("""
CREATE ROLE "the app" LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE writer LOGIN;
CREATE DATABASE site OWNER "the app" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' CONNECTION LIMIT 17;
COMMENT ON DATABASE site IS 'it''s the site\\n';
REVOKE ALL ON DATABASE site FROM PUBLIC;
REVOKE CREATE ON DATABASE site FROM "the app";
GRANT CONNECT ON DATABASE site TO writer WITH GRANT OPTION;
SET ROLE writer; GRANT CONNECT ON DATABASE site TO reader; RESET ROLE;
ALTER DATABASE site SET search_path TO "$user", 'my schema', public;
ALTER DATABASE site SET statement_timeout TO '7s';
ALTER DATABASE site SET "app.tenant" TO 'O''Brien \\ co';
ALTER DATABASE site SET default_transaction_read_only TO on;
ALTER ROLE reader IN DATABASE site SET search_path TO '';
ALTER DATABASE site IS_TEMPLATE true;
""")
    cluster.ask("SET default_transaction_read_only = off; CREATE TABLE t AS SELECT 1 AS n;", "site")
    before = cluster.ask(_PROPERTIES)
    assert "O'Brien" in before
    dumps.dump(project)
    dumped = str(next((tmp_path / "dumps").glob("*.dump")))
    dumps.load(project, dumped)
    assert cluster.ask(_PROPERTIES) == before
    assert cluster.ask("SELECT n FROM t;", "site") == "1"
    # Once more, with nothing kept of what was there; the names have the second in them.
    time.sleep(1.1)
    dumps.load(project, dumped, keep=False)
    assert cluster.ask(_PROPERTIES) == before
    cluster.ask("DROP ROLE IF EXISTS nobody; ALTER DATABASE site OWNER TO owner;")


def test_a_load_keeps_that_nothing_was_set(project: Any, cluster: Cluster, tmp_path: Path) -> None:
    """A database as it is made has no list of privileges, and gets none."""
    cluster.ask("CREATE DATABASE site;")
    cluster.ask("CREATE TABLE t AS SELECT 1 AS n;", "site")
    dumps.dump(project)
    dumps.load(project, str(next((tmp_path / "dumps").glob("*.dump"))))
    assert cluster.ask("SELECT datacl IS NULL FROM pg_database WHERE datname = 'site';") == "t"
    assert cluster.ask("SELECT count(*) FROM pg_db_role_setting;") == cluster.ask(
        "SELECT count(*) FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase WHERE datname <> 'site';"
    )
