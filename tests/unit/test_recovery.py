"""Recoveries of what was written under higher settings than those of today: on a real Postgres."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.postgres import NOBODY, Cluster

sys.path.insert(0, str(Path(__file__).parents[2] / "roles/data/files"))
host = importlib.import_module("slipway_data.host")
restore = importlib.import_module("slipway_data.restore")
throwaway = importlib.import_module("slipway_data.throwaway")


class Site:
    """A project whose base backup and WAL lie in directories; its Postgres is stopped."""

    def __init__(self, root: Path) -> None:
        """Write under three settings, and end with the lowest."""
        self.root, self.volume, self.archive = root, root / "volume", root / "archive"
        self.cluster = Cluster(root)
        self.archive.mkdir()
        os.chown(self.archive, NOBODY, NOBODY) if os.geteuid() == 0 else None
        with (self.cluster.data / "postgresql.conf").open("a") as file:
            file.write(f"archive_mode = on\narchive_command = 'cp %p {self.archive}/%f'\n")
        (self.volume / "17").mkdir(parents=True)
        cluster, first = self.cluster, "max_prepared_transactions=7"
        cluster.start("max_connections=40", first)
        cluster.ask("CREATE TABLE t (n int); SELECT pg_backup_start('b', true) \\g /dev/null")
        shutil.copytree(cluster.data, self.volume / "17/back", symlinks=True)
        (self.volume / "17/back/postmaster.pid").unlink()
        cluster.ask("INSERT INTO t VALUES (1);")
        cluster.stop()
        for number, settings in ((2, ("max_connections=60", "max_locks_per_transaction=99")), (3, ("max_connections=20",))):  # fmt: skip
            cluster.start(*settings)
            cluster.ask(f"INSERT INTO t VALUES ({number});")  # noqa: S608
            if number == 3:
                self.target = cluster.ask(
                    "SELECT pg_create_restore_point('here'); INSERT INTO t VALUES (4); SELECT pg_switch_wal();"
                ).split()[0]
            cluster.stop()
        # What serves now is the last of them.
        cluster.data.rename(self.volume / "17/docker")

    def fetch(self, name: str, *more: str) -> None:
        """Put the backup into a directory of the volume, as pgBackRest does with `restore.fetch`."""
        path = self.volume / "17" / name
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.volume / "17/back", path, symlinks=True)
        lines = [f"restore_command = 'cp {self.archive}/%f %p'", "hot_standby = off", *more]
        (path / "postgresql.auto.conf").write_text("\n".join(lines) + "\n")
        (path / "recovery.signal").touch()
        self.give(path)

    def give(self, path: Path) -> None:
        """Give a directory to who runs the server."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", path], check=True)
        path.chmod(0o700)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Return the project."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        made = Site(Path(directory))
        yield made
        made.cluster.stop("immediate")


@pytest.fixture
def project(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return its host, with the engine's client of the tests."""
    (site.root / "client").mkdir(exist_ok=True)
    docker = site.root / "client/docker"
    docker.write_text(f"#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name('engine.py')} \"$@\"\n")  # fmt: skip
    docker.chmod(0o755)
    for name, value in {
        "PATH": f"{docker.parent}:{os.environ['PATH']}", "PGPORT": str(site.cluster.port), "PGHOST": "127.0.0.1",
        "SLIPWAY_TEST_VOLUME": str(site.volume), "SLIPWAY_TEST_BIN": str(site.cluster.bin),
        "SLIPWAY_TEST_CONTAINERS": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    config = host.Config(
        project="example", host="here", config_dir=tmp_path, state_dir=tmp_path, container="c",
        back_network="n", volume="v", image="i", version="17", memory_mb=256, start_timeout=60,
        stop_timeout=5, backup={"where": ["x"]}, cluster={"user": "owner", "db": "postgres", "version": "17"},
    )  # fmt: skip
    made = host.Host(config)
    monkeypatch.setattr(host.Host, "mountpoint", property(lambda self: site.volume))
    monkeypatch.setattr(throwaway, "SOCKET", "127.0.0.1")
    monkeypatch.setattr(restore, "what_was_read", lambda host, one, label: one.ask("SELECT array_agg(n ORDER BY n) FROM t;"))  # fmt: skip
    return made


@pytest.mark.parametrize("kind", ["name", "latest"])
def test_a_restore_gets_past_settings_that_were_higher(project: Any, site: Site, kind: str) -> None:
    """The backup's own, and those in between: a pause for lack of them is not the target."""
    more = ["recovery_target_name = 'here'", "recovery_target_action = 'promote'"]
    site.fetch("made", *(more if kind == "name" else []))
    if kind == "latest":
        (site.volume / "17/made/standby.signal").touch()
    (site.volume / "17/docker").joinpath("postgresql.auto.conf").touch()
    project.journal.begin("restore")
    reached, _, read, superuser = restore.checked(
        project, "17/made", "label", restore.Target(kind, "here"), "0/0"
    )
    assert read == ("{1,2,3}" if kind == "name" else "{1,2,3,4}")
    assert superuser == "owner"
    assert restore.place_of(reached) >= restore.place_of(site.target)


def test_a_drill_and_what_takes_over_need_no_such_settings(project: Any, site: Site) -> None:
    """They recover to the end without being asked anything, so as low as the settings are."""
    site.fetch("drill", "recovery_target_name = 'here'", "recovery_target_action = 'promote'")
    with throwaway.server(project, "17/drill") as one:
        throwaway.wait_for(project, one, "SELECT pg_is_in_recovery();", "f", 60)
        assert one.ask("SELECT array_agg(n ORDER BY n) FROM t;") == "{1,2,3}"


def test_a_restore_fetches_so(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the tests above take it for given."""
    asked: list[str] = []
    monkeypatch.setattr(restore.backups, "pgbackrest", lambda host, *given, **more: asked.extend(given))  # fmt: skip
    restore.fetch(project, "label", "17/made", restore.Target("latest"))
    assert "--recovery-option=hot_standby=off" in asked
