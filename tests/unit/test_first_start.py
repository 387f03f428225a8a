"""A first start of Postgres that was cut short, and the note of the database: on real clusters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.postgres import Cluster
from tests.unit.rendering import ROLES, ROOT

SCRIPT = (ROLES / "postgres/files/begin_anew.sh").read_text()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Return a cluster as initdb leaves it."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        made = Cluster(Path(directory))
        yield made
        made.stop("immediate")


def begin_anew(data: Path) -> tuple[int, str]:
    """Run the script as the role does; return its exit code and what it said."""
    done = subprocess.run(
        ["sh", "-c", SCRIPT, "begin_anew", str(data)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def with_sql(sql: str, database: str = "postgres") -> Callable[[Cluster], None]:
    """Return what runs statements on a cluster, and ends its server without any order."""

    def do(cluster: Cluster) -> None:
        cluster.start()
        if database != "postgres":
            cluster.ask(f"CREATE DATABASE {database};")
        cluster.ask(sql, database)
        cluster.stop("immediate")

    return do


def cut_short(cluster: Cluster) -> None:
    """Leave what an initdb leaves that is killed on its way."""
    for name in ("global/pg_control", "pg_hba.conf"):
        (cluster.data / name).unlink()


@pytest.mark.parametrize(
    "left",
    [
        lambda cluster: None,
        cut_short,
        with_sql("SELECT 1;", "app"),
        with_sql("ALTER ROLE owner PASSWORD 'x'; CREATE TEMP TABLE t AS SELECT 1;", "app"),
    ],
    ids=["initdb", "half an initdb", "database", "temporary"],
)
def test_what_a_first_start_leaves_goes(cluster: Cluster, left: Callable[[Cluster], None]) -> None:
    """Whether or not a server starts on it; and the next one begins in an empty directory."""
    left(cluster)
    assert begin_anew(cluster.data) == (0, "")
    assert list(cluster.data.iterdir()) == []
    assert begin_anew(cluster.data) == (0, "")


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (with_sql("CREATE TABLE t AS SELECT 1 AS n;"), "holds tables"),
        (with_sql("CREATE UNLOGGED TABLE t (n int);", "app"), "holds tables"),
        (with_sql("CREATE SEQUENCE s;", "app"), "holds tables"),
        (with_sql("SELECT lo_from_bytea(0, 'x');", "app"), "holds large objects"),
        (lambda cluster: (cluster.data / "notes.txt").write_text("x"), "has notes.txt"),
        (lambda cluster: (cluster.data / "pg_tblspc/1").symlink_to("/nowhere"), "has a tablespace"),
    ],
    ids=["table", "empty table", "sequence", "large object", "file", "tablespace"],
)
def test_what_may_be_somebodys_stays(
    cluster: Cluster, left: Callable[[Cluster], None], told: str
) -> None:
    """Also where the server did not come to write it down in order."""
    left(cluster)
    before = sorted(cluster.data.rglob("*"))
    code, said = begin_anew(cluster.data)
    assert code == 1
    assert told in said
    assert sorted(cluster.data.rglob("*")) == before


def test_the_images_own_way_to_begin_again_is_left_to_it(cluster: Cluster) -> None:
    """Its marker says what to do with the directory."""
    (cluster.data / "slipway-first-start-unfinished").write_text("x")
    assert begin_anew(cluster.data) == (0, "")
    assert (cluster.data / "PG_VERSION").exists()


_PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: postgres, tasks_from: cluster}
    - ansible.builtin.debug: {msg: "goes by {{ postgres_cluster.db }}"}
"""


def deploy(directory: Path, database: str) -> str:
    """Look at what the database was made with, as a deploy does; return what Ansible printed."""
    (directory / "play.yml").write_text(_PLAY)
    given = {
        "slipway_project": "example", "slipway_config_dir": str(directory),
        "slipway_state_dir": str(directory / "state"), "slipway_back_network": "n",
        "postgres_image": "i", "postgres_engine": {}, "postgres_db": database,
    }  # fmt: skip
    playbook = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [playbook, "-i", "localhost,", "-e", json.dumps(given),
         "-e", f"ansible_python_interpreter={sys.executable}", directory / "play.yml"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_ROLES_PATH": str(ROLES)},
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="the note is root's")
def test_the_note_of_the_database_follows_the_release_or_stays(tmp_path: Path) -> None:
    """Whatever works on the data goes by it: it is never another one than the application's."""
    note = {"user": "u", "db": "old", "version": "17", "more": "stays"}
    path = tmp_path / "postgres.json"
    path.write_text(json.dumps(note))
    (tmp_path / "state/releases").mkdir(parents=True)
    (tmp_path / "state/current.json").write_text('{"release": "abc"}')
    release = tmp_path / "state/releases/abc.json"
    release.write_text('{"env": {"POSTGRES_DB": "old"}}')
    # Nothing has served on it.
    assert "the site would lose sight of its rows" in " ".join(deploy(tmp_path, "new").split())
    assert json.loads(path.read_text()) == note
    # An earlier version let the release go there.
    release.write_text('{"env": {"POSTGRES_DB": "new"}}')
    assert "goes by new" in deploy(tmp_path, "new")
    assert json.loads(path.read_text()) == {**note, "db": "new"}
