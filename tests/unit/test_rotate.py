"""A change of the password: its lines in pg_hba.conf, its stages, what a killed one leaves."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "roles/data/files"))
host = importlib.import_module("slipway_data.host")
rotate = importlib.import_module("slipway_data.rotate")

HBA = "# mine\nlocal all all scram-sha-256\nhost all all all scram-sha-256\n"


class Postgres:
    """A server with one password per role that reads pg_hba.conf when it is told to."""

    def __init__(self, hba: Path) -> None:
        self.hba = hba
        self.passwords = {"owner": "old", "app": "old"}
        self.text = hba.read_text()
        self.deaf = False
        # Kills at this call of the server, before or after it was done.
        self.calls = 0
        self.kill_at = 0
        self.kill_after = False

    def run(
        self, _host: Any, password: str, sql: str, role: str = "", address: str = "127.0.0.1",
        more: str = "",
    ) -> tuple[int, str, str]:  # fmt: skip
        """Answer as psql does, or be killed."""
        self.calls += 1
        if self.calls == self.kill_at and not self.kill_after:
            raise KilledError
        answer = self.answer(password, sql, role or "owner", address, more)
        if self.calls == self.kill_at:
            raise KilledError
        return answer

    def attempt(self, _container: str, address: str, role: str, password: str) -> str:
        """Answer a login with its SQLSTATE, or be killed."""
        return "28P01" if self.run(None, password, "", role, address)[0] else ""

    def answer(
        self, password: str, sql: str, role: str, address: str, more: str
    ) -> tuple[int, str, str]:
        """Do what was asked."""
        trusted = address != "127.0.0.1" and f'"{role}"' in self.text
        if not trusted and password != self.passwords[role]:
            return 2, "", f"FATAL:  Passwort-Authentifizierung für {role} fehlgeschlagen"
        if "pg_reload_conf" in sql and not self.deaf:
            self.text = self.hba.read_text()
        if sql.startswith("\\password"):
            self.passwords[sql.split('"')[1]] = more.split("\n", maxsplit=1)[0]
        return 0, "", ""


class KilledError(BaseException):
    """SIGKILL, as far as a test can do it."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Postgres]:
    """Return a host with a server."""
    config = host.Config(
        project="example", host="here", config_dir=tmp_path / "etc", state_dir=tmp_path,
        container="c", back_network="back", volume="v", image="i", version="17", memory_mb=256,
        start_timeout=1, stop_timeout=1, backup={}, cluster={"user": "owner", "db": "d"},
    )  # fmt: skip
    made = host.Host(config)
    monkeypatch.setattr(host.Host, "mountpoint", property(lambda self: tmp_path / "volume"))
    monkeypatch.setattr(made, "container_state", lambda name="": "running")
    made.data.mkdir(parents=True)
    (made.data / "pg_hba.conf").write_text(HBA)
    rotate.file(made).parent.mkdir(parents=True)
    rotate.file(made).write_text("old")
    server = Postgres(made.data / "pg_hba.conf")
    monkeypatch.setattr(rotate, "run", server.run)
    monkeypatch.setattr(rotate.login, "attempt", server.attempt)
    monkeypatch.setattr(rotate, "call", lambda *command, **options: (0, "", ""))
    monkeypatch.setattr(rotate, "address_of", lambda host: "172.18.0.2")
    monkeypatch.setattr(
        rotate, "docker",
        lambda *command: '[{"Subnet": "172.18.0.0/16"}]' if command[0] == "network" else "",
    )  # fmt: skip
    monkeypatch.setattr(rotate, "RELOAD_SECONDS", 0)
    return made, server


def names(made: Any) -> list[str]:
    """Return the files beside the password."""
    return sorted(path.name for path in rotate.file(made).parent.iterdir())


def test_only_the_application_network_comes_in() -> None:
    """Not the host's own address in it, and a socket only where one is used."""
    networks = [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}, {"Subnet": "fd00::/64"}]
    assert rotate.lines(["app", "owner"], networks, socket=True) == [
        'local all "app","owner" trust',
        'host all "app","owner" 172.18.0.1/32 scram-sha-256',
        'host all "app","owner" 172.18.0.0/16 trust',
        'host all "app","owner" fd00::1/128 scram-sha-256',
        'host all "app","owner" fd00::/64 trust',
    ]
    assert not any(line.startswith("local") for line in rotate.lines(["app"], networks, False))


def test_a_change_begins_and_ends(project: tuple[Any, Postgres]) -> None:
    """Both roles, the file, and nothing is left."""
    made, server = project
    rotate.begin(made, "new one", "app")
    assert server.passwords == {"owner": "new one", "app": "new one"}
    assert rotate.file(made).read_text() == "new one"
    assert rotate.file(made).stat().st_mode & 0o777 == 0o400
    assert names(made) == ["password", "password.old"]
    assert "172.18.0.0/16 trust" in server.text
    assert "is not finished" in rotate.problem(made)[0]
    assert rotate.end(made) == ["The new password is the only one that Postgres takes."]
    assert server.text == server.hba.read_text() == HBA
    assert names(made) == ["password"]
    assert rotate.problem(made) == rotate.end(made) == []


def test_a_password_is_made(project: tuple[Any, Postgres]) -> None:
    """Where none is given; another one each time."""
    made, server = project
    rotate.begin(made, "", "")
    assert len(server.passwords["owner"]) == rotate.LENGTH
    assert server.passwords["owner"] == rotate.file(made).read_text() != rotate.make()
    # One that goes on makes no other.
    rotate.begin(made, "", "")
    assert server.passwords["owner"] == rotate.file(made).read_text()
    assert rotate.file(made, ".old").read_text() == "old"


@pytest.mark.parametrize("kill_after", [False, True])
@pytest.mark.parametrize("kill_at", range(1, 11))
def test_a_killed_change_goes_on(
    project: tuple[Any, Postgres], kill_at: int, kill_after: bool
) -> None:
    """Whatever the server was asked last; before anything was noted it is the old one."""
    made, server = project
    server.kill_at, server.kill_after = kill_at, kill_after
    with pytest.raises(KilledError):
        rotate.begin(made, "new one", "app")
    begun = bool(rotate.pending(made).entry)
    rotate.recover(made)
    now = "new one" if begun else "old"
    assert begun == (kill_at > 2)
    assert server.passwords == {"owner": now, "app": now}
    assert rotate.file(made).read_text() == now
    assert names(made) == (["password", "password.old"] if begun else ["password"])
    rotate.end(made)
    assert server.text == HBA


@pytest.mark.parametrize("kill_at", range(1, 8))
def test_a_killed_end_is_ended(project: tuple[Any, Postgres], kill_at: int) -> None:
    """By whoever is next."""
    made, server = project
    rotate.begin(made, "new one", "")
    server.calls, server.kill_at = 0, kill_at
    try:
        rotate.end(made)
    except KilledError:
        assert rotate.recover(made)
    assert server.text == server.hba.read_text() == HBA
    assert names(made) == ["password"]


def test_what_is_written_halfway_is_removed(project: tuple[Any, Postgres]) -> None:
    """A kill before the change was noted leaves files, and no change."""
    made, server = project
    for name in ("password.new", "password.old", ".password.new.x7z"):
        (rotate.file(made).parent / name).write_text("new one")
    assert rotate.recover(made) == []
    assert names(made) == ["password"]
    assert server.passwords["owner"] == "old"


def test_a_change_that_is_not_let_in_is_taken_back(project: tuple[Any, Postgres]) -> None:
    """Where Postgres reads another pg_hba.conf, say."""
    made, server = project
    server.deaf = True
    with pytest.raises(host.ProblemError, match="so the password was not changed"):
        rotate.begin(made, "new one", "app")
    assert server.passwords["app"] == rotate.file(made).read_text() == "old"
    assert names(made) == ["password"]
    assert server.hba.read_text() == HBA
    assert rotate.problem(made) == []


def test_an_end_that_does_not_close_is_an_error(project: tuple[Any, Postgres]) -> None:
    """It is not forgotten."""
    made, server = project
    rotate.begin(made, "new one", "")
    server.deaf = True
    with pytest.raises(host.ProblemError, match="lets owner in with a wrong password at 172"):
        rotate.end(made)
    assert rotate.problem(made)
    server.deaf = False
    assert rotate.recover(made)
    assert rotate.problem(made) == []


def test_the_same_password_is_refused(project: tuple[Any, Postgres]) -> None:
    """While a change waits, going back to the old one is another change."""
    made, server = project
    with pytest.raises(host.ProblemError, match="nothing was changed"):
        rotate.begin(made, "old", "")
    rotate.begin(made, "new one", "")
    rotate.begin(made, "old", "")
    assert server.passwords["owner"] == rotate.file(made).read_text() == "old"
    rotate.end(made)
    assert names(made) == ["password"]


def test_a_restored_directory_fits_the_change(project: tuple[Any, Postgres]) -> None:
    """A backup may have been made while the network was open, and be restored when it is not."""
    made, server = project
    rotate.begin(made, "new one", "")
    during = server.hba.read_text()
    server.hba.write_text(HBA)
    rotate.align(made)
    assert server.hba.read_text() == during
    rotate.end(made)
    server.hba.write_text(during)
    rotate.align(made)
    assert server.hba.read_text() == HBA
