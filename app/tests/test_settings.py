"""What the settings accept, and the sentences about what they don't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from example.settings import Settings, SettingsError

GOOD = {
    "POSTGRES_HOST": "db",
    "POSTGRES_PORT": "5432",
    "POSTGRES_USER": "user",
    "POSTGRES_DB": "cats",
    "POSTGRES_PASSWORD": "secret",
}


def test_good() -> None:
    """Every setting arrives, and the password shows in no repr."""
    settings = Settings.from_environ(GOOD)
    assert (settings.host, settings.port, settings.user) == ("db", 5432, "user")
    assert (settings.database, settings.password) == ("cats", "secret")
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [None, ""])
def test_missing(name: str, value: str | None) -> None:
    """A setting that is missing or empty is named."""
    environ = {k: v for k, v in GOOD.items() if k != name} | ({} if value is None else {name: ""})
    with pytest.raises(SettingsError, match=rf"\b{name}\b"):
        Settings.from_environ(environ)


@pytest.mark.parametrize(
    "port", ["0", "65536", "-1", "5432x", "5_432", " 5432", "٥٤٣٢", "9" * 5000]
)
def test_port(port: str) -> None:
    """A port is a number from 1 to 65535."""
    with pytest.raises(SettingsError, match="POSTGRES_PORT"):
        Settings.from_environ(GOOD | {"POSTGRES_PORT": port})


def test_password_file(tmp_path: Path) -> None:
    """The file goes before the variable; only the line's end is not part of the password."""
    file = tmp_path / "password"
    file.write_text(" from file \n")
    environ = GOOD | {"POSTGRES_PASSWORD_FILE": str(file)}
    assert Settings.from_environ(environ).password == " from file "  # noqa: S105
    file.write_text("\n")
    with pytest.raises(SettingsError, match="empty"):
        Settings.from_environ(environ)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="UTF-8"):
        Settings.from_environ(environ)
    file.unlink()
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        Settings.from_environ(environ)


def test_start_stops_with_a_sentence() -> None:
    """The entry point ends with the sentence, without a traceback."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("POSTGRES_")}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    run = subprocess.run(
        [sys.executable, "-c", "import example.wsgi"], env=environ, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stderr == "example: POSTGRES_HOST is not set: set it in the environment.\n"


def test_secret_key_and_hosts(tmp_path: Path) -> None:
    """The key is optional, read from its file, and shows in no repr; the hosts are a list."""
    assert Settings.from_environ(GOOD).secret_key is None
    assert Settings.from_environ(GOOD).trusted_hosts == ()
    file = tmp_path / "key"
    file.write_text("from file\n")
    settings = Settings.from_environ(
        GOOD | {"SECRET_KEY_FILE": str(file), "TRUSTED_HOSTS": "cats.example, .cats.test,"}
    )
    assert settings.secret_key == "from file"  # noqa: S105
    assert "from file" not in repr(settings)
    assert settings.trusted_hosts == ("cats.example", ".cats.test")
    file.unlink()
    with pytest.raises(SettingsError, match=r"SECRET_KEY_FILE names .* can't be read"):
        Settings.from_environ(GOOD | {"SECRET_KEY_FILE": str(file)})
