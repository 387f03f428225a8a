"""The command that changes the schema, and how the app sees the schema."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from example import create_app, migrate, schema
from example.settings import Settings

from .server import Server


@pytest.fixture
def environ(empty: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Put the settings for a database without the schema into the environment."""
    monkeypatch.setenv("POSTGRES_HOST", empty.host)
    monkeypatch.setenv("POSTGRES_PORT", str(empty.port))
    monkeypatch.setenv("POSTGRES_USER", empty.user)
    monkeypatch.setenv("POSTGRES_DB", empty.database)
    monkeypatch.setenv("POSTGRES_PASSWORD", empty.password)
    monkeypatch.delenv("POSTGRES_PASSWORD_FILE", raising=False)
    return empty


def test_twice(environ: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run applies the revisions and says so, the second finds nothing to do."""
    assert migrate.main([]) == 0
    assert "applied 0001 The table of cats" in capsys.readouterr().out
    assert migrate.main([]) == 0
    out = capsys.readouterr().out
    assert out == f"example-migrate: nothing to do, the schema is at {schema.head()}\n"


def test_at_once(empty: Settings) -> None:
    """Of several runs at once one does the work, the others wait and find it done."""
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(len(migrate.migrate(empty, 20))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 0, 0, 1]


def test_lock_is_held(
    server: Server, environ: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that waits too long for another one gives up."""
    with server.connect(environ.database) as other:
        other.execute(f"SELECT pg_advisory_lock({migrate.LOCK})")
        assert migrate.main(["--wait", "1"]) == 1
    assert "another run has been changing the schema for 1 s" in capsys.readouterr().err


def test_all_or_nothing(
    server: Server, environ: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that fails says why in one line and leaves nothing behind."""
    with server.connect(environ.database) as other:
        other.execute("CREATE TABLE cats (stranger text)")
        assert migrate.main([]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert 'relation "cats" already exists' in captured.err
        row = other.execute("SELECT to_regclass('alembic_version')").fetchone()
        assert row == (None,)


def test_newer_schema(
    server: Server, environ: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A schema of a newer release is left alone."""
    assert migrate.main([]) == 0
    with server.connect(environ.database) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    assert migrate.main([]) == 1
    assert "revision 9999, which this release doesn't know" in capsys.readouterr().err


def test_database_away(
    environ: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server: it waits as long as it was told and names the address."""
    monkeypatch.setenv("POSTGRES_PORT", "1")
    assert migrate.main(["--wait", "1"]) == 1
    err = capsys.readouterr().err
    assert f"{environ.database} at 127.0.0.1:1 did not answer for 1 s" in err
    assert err.count("\n") == 1


def test_refused(
    environ: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong password or database is not waited for, and the password stays secret."""
    monkeypatch.setenv("POSTGRES_PASSWORD", "wr0ng")
    assert migrate.main([]) == 1
    err = capsys.readouterr().err
    assert "refuses the login" in err
    assert "wr0ng" not in err
    monkeypatch.setenv("POSTGRES_PASSWORD", environ.password)
    monkeypatch.setenv("POSTGRES_DB", "nowhere")
    assert migrate.main([]) == 1
    assert '"nowhere" does not exist' in capsys.readouterr().err


def test_missing_setting(
    environ: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that is missing is named."""
    monkeypatch.delenv("POSTGRES_DB")
    assert migrate.main([]) == 1
    assert capsys.readouterr().err.startswith("example-migrate: POSTGRES_DB is not set")


def test_ready(server: Server, empty: Settings) -> None:
    """The app is ready exactly when the schema is the one of this release."""
    app = create_app(empty)
    client = app.test_client()
    pending = client.get("/readyz")
    assert pending.status_code == 503
    assert pending.json == {
        "error": f"The schema is at revision none, this release expects {schema.head()}."
    }
    unprepared = client.get("/")
    assert (unprepared.status_code, "Retry-After" in unprepared.headers) == (503, True)
    assert client.get("/healthz").status_code == 200
    migrate.migrate(empty, 5)
    assert client.get("/readyz").json == {"status": "ready", "schema": schema.head()}
    with server.connect(empty.database) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = client.get("/readyz")
    assert newer.status_code == 503
    assert "revision 9999" in str(newer.json)
    app.extensions["database"].close()


def test_unix_socket(server: Server, settings: Settings) -> None:
    """The host may be the directory of a unix socket."""
    there: Path = server.directory
    local = replace(settings, host=str(there))
    assert migrate.migrate(local, 5) == []
    app = create_app(local)
    assert app.test_client().get("/").status_code == 200
    app.extensions["database"].close()
