"""The list of secrets: where they are and who reads them, by their place alone."""

from __future__ import annotations

import importlib
from pathlib import Path

files = importlib.import_module("plugins.modules.secret_files")
filters = importlib.import_module("plugins.filter.secrets")

A, B = "a" * 12, "b" * 12


def write(path: Path, mode: int = 0o400) -> None:
    """Make a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("the value")
    path.chmod(mode)


def test_each_secret_has_its_users(tmp_path: Path) -> None:
    """What lies there is told once, with who reads it; what is no secret is not."""
    for name in (
        "postgres/password", "backup/pgbackrest.conf", "backup/ca.crt", "acme_account_key",
        "flask/salt", "flask/made/SECRET_KEY", f"flask/{A}/env/TOKEN",
        f"flask/{B}/files/SECRET_KEY", f"flask/{B}/renewed",
    ):  # fmt: skip
        write(tmp_path / "secrets" / name)
    for name in ("selfsigned-1", "provided-2"):
        write(tmp_path / "nginx/tls" / name / "privkey.pem")
    (tmp_path / "nginx/tls/live").symlink_to("provided-2")
    found = files.found(tmp_path, B)
    assert {one["name"]: one["users"][0] for one in found} == {
        "acme_account_key": "the host (renewal)",
        "backup/pgbackrest.conf": "postgres (pgBackRest)",
        f"flask/{A}/env/TOKEN": f"flask {A}",
        f"flask/{B}/files/SECRET_KEY": f"flask {B} (serves)",
        "flask/made/SECRET_KEY": "the host (the next release)",
        "flask/salt": "the host (the next release)",
        "nginx/tls/live/privkey.pem": "nginx",
        "nginx/tls/selfsigned-1/privkey.pem": "nginx, when it is in use",
        "postgres/password": "postgres",
    }
    table = filters.secrets_table(found)
    assert "the value" not in table
    assert table.splitlines()[0].split() == ["SECRET", "AGE", "OWNER", "MODE", "READ", "BY"]
    assert filters.secrets_open(found) == []


def test_an_open_secret_is_named(tmp_path: Path) -> None:
    """One bit for the group is too much."""
    write(tmp_path / "secrets/postgres/password", 0o440)
    assert filters.secrets_open(files.found(tmp_path, "")) == [
        str(tmp_path / "secrets/postgres/password")
    ]


def test_nothing_there(tmp_path: Path) -> None:
    """A host without the project has no secrets."""
    assert files.found(tmp_path, "") == []
    assert filters.secrets_table([]) == "SECRET  AGE  OWNER  MODE  READ BY"


def test_ages() -> None:
    """In words."""
    assert [filters.age(seconds) for seconds in (5, 61, 7200, 86400, 200000)] == [
        "now", "1 minute", "2 hours", "1 day", "2 days",
    ]  # fmt: skip
