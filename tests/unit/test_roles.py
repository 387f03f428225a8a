"""The application's role and Slipway's own, on real servers: taken over, changed, kept in order."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.postgres import versions
from tests.unit.postgres_server import Postgres, host

ROOT = Path(__file__).parents[2]
SQL = Path(__file__).with_name("sql")
ownership = importlib.import_module("slipway_data.ownership")

OLD, NEW = "pässword 'of the app", "slipwaysOwn42"
# One that a superuser alone gets.
SHELL = "COPY (SELECT 1) TO PROGRAM 'true';"


@pytest.fixture(scope="module")
def filled() -> Iterator[Callable[[str], Postgres]]:
    """Return what makes a server whose only role is the application's, with a database of its."""
    once: dict[str, Postgres] = {}

    def like(version: str) -> Postgres:
        binaries = versions()[version]
        if version not in once:
            server = once[version] = Postgres(binaries, "app", OLD)
            app = server.server("app", OLD)
            app.ask('CREATE DATABASE "second db";')
            app.ask("CREATE TABLE elsewhere (id int);", "second db")
            app.ask((SQL / "roles_fill.sql").read_text(), "app", app="app", db="app")
            server.stop()
        return Postgres(binaries, "app", OLD, like=once[version])

    yield like
    for server in once.values():
        server.remove()


@pytest.fixture(params=sorted(versions()))
def each(filled: Callable[[str], Postgres], request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Return such a server of each version that there is."""
    server = filled(request.param)
    yield server
    server.remove()


@pytest.fixture
def old(filled: Callable[[str], Postgres]) -> Iterator[Postgres]:
    """Return such a server of one version."""
    server = filled(min(versions()))
    yield server
    server.remove()


def foreign(server: Any, owner: str, database: str = "app") -> str:
    """Return what is not owner's, of what could be."""
    return str(server.ask((SQL / "roles_foreign.sql").read_text(), database, role=owner))


def taken_over(old: Postgres, owner: str = "app", **more: Any) -> Any:
    """Take a server over and return it as Slipway's own role asks it."""
    name = ownership.take_over(old.server("app", OLD), "app", owner, NEW, **more)
    assert name == "slipway"
    return old.server("slipway", NEW)


def refused(server: Any, statement: str) -> bool:
    """Return whether a statement is refused for want of a privilege."""
    code, _, err = server.try_ask(statement, "app")
    return code != 0 and "permission denied" in err


def test_the_application_keeps_its_name_and_password_and_is_no_superuser(each: Postgres) -> None:
    """What it could do with its own database it still can."""
    shown = "SHOW search_path; SHOW work_mem; SHOW my.tenant; SHOW log_min_duration_statement;"
    before = each.server("app", OLD).ask(shown, "app")
    own = taken_over(each)
    app = each.server("app", OLD)
    assert own.ask("SELECT rolname FROM pg_roles WHERE rolsuper;") == "slipway"
    assert own.ask("SELECT current_user::regrole::oid;") == "10"
    assert app.ask(
        "SELECT rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles"
        " WHERE rolname = current_user;"
    ) == "f"  # fmt: skip
    assert app.ask(
        "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pg_' AND rolname <> 'pg_database_owner'"
        " AND pg_has_role('app', oid, 'USAGE');", "app"
    ) == "0"  # fmt: skip
    for statement in (SHELL, "COPY shop.line FROM '/etc/passwd';", "SET ROLE slipway;"):
        assert refused(app, statement), statement
    assert foreign(own, "app") == foreign(own, "app", "second db") == ""
    assert app.ask(
        "INSERT INTO shop.line (word) VALUES ('two'); ALTER TABLE shop.line ADD more int;"
        "CREATE TABLE public.another (id int); DROP TABLE public.another; CREATE SCHEMA mine;"
        "REFRESH MATERIALIZED VIEW public.held; ALTER TYPE public.mood ADD VALUE 'so';"
        "SELECT public.guarded(), lo_unlink(4711), (SELECT id FROM warehouse.stock);",
        "app",
    ) == "app|1|7"  # fmt: skip
    assert app.ask("SELECT count(*) FROM public.elsewhere;", "second db") == "0"
    # Its settings went along, and none of them stays with the superuser.
    assert app.ask(shown, "app") == before
    assert before.splitlines()[1:] == ["7MB", 'it\'s, "me"', "5s"]
    assert own.ask("SELECT count(*) FROM pg_db_role_setting WHERE setrole = 10;") == "0"
    assert own.ask(
        "SELECT count(*) FROM pg_roles WHERE rolname IN ('slipway_next', 'slipway_flip');"
    ) == "0"  # fmt: skip


def test_privileges_and_members_go_along(each: Postgres) -> None:
    """Whoever may become the application may not become a superuser with it."""
    own, app, reporting = (
        taken_over(each),
        each.server("app", OLD),
        each.server("reporting", "reads"),
    )
    assert own.ask(
        "SELECT pg_has_role('deputy', 'app', 'USAGE'), pg_has_role('deputy', 'slipway', 'MEMBER'),"
        " pg_has_role('app', 'etl', 'USAGE');"
    ) == "t|f|t"  # fmt: skip
    # By the default privileges.
    app.ask(
        "CREATE TABLE shop.later (id int);"
        "CREATE FUNCTION shop.later() RETURNS int LANGUAGE sql AS 'SELECT 1';", "app"
    )  # fmt: skip
    assert reporting.ask("SELECT count(*) FROM shop.later;", "app") == "0"
    assert refused(reporting, "SELECT shop.later();")
    assert own.ask(
        "SELECT array_to_string(umoptions, ',') FROM pg_user_mappings WHERE usename = 'app';", "app"
    ) == "user=x,password=y"  # fmt: skip


def test_sessions_of_before_go_on_and_what_they_make_is_handed_over(old: Postgres) -> None:
    """A new session uses it at once; it becomes the application's when it is kept in order."""
    session = old.session("app", OLD)
    insert = "INSERT INTO shop.line (word) VALUES ('{0}') RETURNING '{0}';"
    assert session.ask(insert.format("before")) == "before"
    own = taken_over(old)
    assert session.ask("CREATE TABLE shop.between (id int);" + insert.format("after")) == "after"
    app = old.server("app", OLD)
    assert app.ask("INSERT INTO shop.between VALUES (2) RETURNING id;", "app") == "2"
    session.close()
    given = ["1 objects were given to the role app"]
    assert ownership.keep_in_order(own, "app", "app", []) == given
    assert ownership.keep_in_order(own, "app", "app", []) == []
    app.ask("DROP TABLE shop.between;", "app")


def test_no_request_fails_or_waits_long(old: Postgres) -> None:
    """Others write meanwhile, and one transaction holds a table for a while."""
    end, app = threading.Event(), old.server("app", OLD)
    failed: list[str] = []
    waited: list[float] = []

    def ask() -> None:
        while not end.is_set():
            began = time.monotonic()
            code, _, err = app.try_ask("INSERT INTO shop.line (word) VALUES ('x');", "app")
            waited.append(time.monotonic() - began)
            failed.extend([err] if code else [])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    holder = old.session("app", OLD)
    holder.ask("BEGIN; SELECT count(*) FROM shop.line;")
    release = threading.Timer(3, holder.close)
    for one in [*threads, release]:
        one.start()
    try:
        taken_over(old)
    finally:
        end.set()
        for one in [*threads, release]:
            one.join()
    assert failed == []
    assert len(waited) > 10
    # The table was held for three seconds, and nobody queued behind the change for as long.
    assert max(waited) < 2.5, max(waited)


def test_a_table_in_use_for_too_long_ends_in_a_sentence(old: Postgres) -> None:
    """What serves is as before: the application is still the superuser. The next run goes on."""
    holder = old.session("app", OLD)
    holder.ask("BEGIN; SELECT count(*) FROM shop.line;")
    sentence = r"could not be given to the role slipway_next \(a transaction runs since .* SELECT c"
    with pytest.raises(host.ProblemError, match=sentence):
        taken_over(old, patience=1.5)
    assert old.server("app", OLD).ask("SELECT current_user::regrole::oid;") == "10"
    holder.close()
    assert foreign(taken_over(old), "app") == ""


def test_it_may_be_killed_at_any_moment(old: Postgres) -> None:
    """Each time the application comes in and writes; in the end it is taken over, once."""
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from tests.unit.postgres_server import Asked\n"
        "from slipway_data import ownership\n"
        "server = Asked(sys.argv[3].split('|'), sys.argv[4])\n"
        "ownership.take_over(server, 'app', 'app', sys.argv[5])\n"
    )
    command = [
        sys.executable, "-c", script, str(ROOT), str(ROOT / "roles/data/files"),
        "|".join(old.command("app")), OLD, NEW,
    ]  # fmt: skip
    app = old.server("app", OLD)
    kills = 0
    # From Python's own start on, to a machine that needs six seconds for the whole.
    for seconds in (0.05 * 1.25**step for step in range(22)):
        with subprocess.Popen(command, start_new_session=True) as run:
            try:
                run.wait(seconds)
            except subprocess.TimeoutExpired:
                run.kill()
                kills += 1
        app.ask("CREATE TABLE IF NOT EXISTS mine (id int); INSERT INTO mine VALUES (1);", "app")
        if app.ask("SELECT rolsuper FROM pg_roles WHERE rolname = 'app';") == "f":
            break
    assert kills > 1
    own = old.server("slipway", NEW)
    ownership.keep_in_order(own, "app", "app", [])
    assert foreign(own, "app") == ""


def test_another_name_for_the_application(old: Postgres) -> None:
    """A volume that others made: its superuser becomes Slipway's, the application gets a role."""
    own = taken_over(old, owner="shop_app")
    ownership.create(own, "shop_app", "fresh")
    assert own.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'app';") == "0"
    assert foreign(own, "shop_app") == ""
    app = old.server("shop_app", "fresh")
    app.ask("INSERT INTO shop.line (word) VALUES ('two'); CREATE TABLE another (id int);", "app")
    assert refused(app, SHELL)


def test_a_second_superuser_that_the_application_came_in_as(old: Postgres) -> None:
    """It is none any more; who comes in by the old name still does, and owns nothing."""
    old.server("app", OLD).ask("CREATE ROLE second LOGIN SUPERUSER PASSWORD 'two';")
    own = taken_over(old, owner="second", keep=True)
    app, second = old.server("app", OLD), old.server("second", "two")
    assert foreign(own, "second") == ""
    assert own.ask("SELECT rolname FROM pg_roles WHERE rolsuper;") == "slipway"
    second.ask("ALTER TABLE shop.line ADD more int;", "app")
    app.ask("INSERT INTO shop.line (word) VALUES ('still');", "app")
    assert refused(app, SHELL)
    assert refused(second, SHELL)
    # And back again, while releases with either serve.
    ownership.change(own, "app", "second", ["app"], "app")
    ownership.keep_in_order(own, "app", "app", ["second"])
    assert foreign(own, "app") == ""
    app.ask("CREATE TABLE shop.late (id int);", "app")
    second.ask("INSERT INTO shop.late VALUES (1); CREATE TABLE shop.latest (id int);", "app")
    app.ask("INSERT INTO shop.latest VALUES (2);", "app")
    ownership.keep_in_order(own, "app", "app", ["second"])
    assert foreign(own, "app") == ""


def test_a_new_cluster() -> None:
    """Slipway's role made it; the application gets one that owns the database, and extensions."""
    server = Postgres(versions()[max(versions())], "slipway", NEW)
    try:
        own, app = server.server("slipway", NEW), server.server("app", OLD)
        own.ask("CREATE TABLE by_a_script (id int);", "app")
        ownership.create(own, "app", OLD)
        given = ["2 objects were given to the role app"]
        assert ownership.keep_in_order(own, "app", "app", []) == given
        with pytest.raises(
            host.ProblemError, match="postgres_extensions names unheard, which this"
        ):
            ownership.extend(own, "app", ["vector", "unheard"])
        assert own.ask("SELECT count(*) FROM pg_extension;", "app") == "1"
        assert ownership.extend(own, "app", ["vector"]) == ["made the extension vector"]
        assert ownership.extend(own, "app", ["vector"]) == []
        where = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'vector';"
        assert own.ask(where, "app") == "public"
        assert ownership.keep_in_order(own, "app", "app", []) == []
        app.ask("CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE v (v vector(3));", "app")
        app.ask("DROP TABLE by_a_script; CREATE SCHEMA own;", "app")
        assert refused(app, SHELL)
    finally:
        server.remove()


def test_names_that_are_taken(old: Postgres) -> None:
    """Slipway's own role has one that nobody has, and that is not the application's."""
    server = old.server("app", OLD)
    assert ownership.own_name(server, "slipway") == "slipway_admin"
    server.ask("CREATE ROLE slipway; CREATE ROLE slipway_admin;")
    assert ownership.own_name(server, "app") == "slipway_admin2"
    assert ownership.take_over(server, "app", "app", NEW) == "slipway_admin2"
    assert old.server("app", OLD).ask("SELECT count(*) FROM shop.line;", "app") == "1"


def test_who_asks_is_the_superuser_of_the_moment(old: Postgres) -> None:
    """While the WAL of a take-over is read, the name that comes in stops being the superuser."""
    one = old.server("slipway", OLD)
    one.others = [old.command("app")]
    # Of the name that is not there yet nothing is asked.
    assert one.ask("SELECT current_user;") == "app"
    ownership.take_over(old.server("app", OLD), "app", "app", OLD)
    # Now both come in; less would be seen by the one than by the other, and nobody would notice.
    assert one.ask("SELECT current_user;") == "slipway"
    assert one.ask("SELECT count(*) > 0 FROM pg_statistic;") == "t"
