"""A first start of Postgres that was cut short, and the note of the database: on real clusters."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.postgres import Cluster
from tests.unit.rendering import FACTS, ROLES, ROOT, evaluate, load_tasks

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


# What the tasks would have an engine do. The program in the throw-away container is run, on the
# directory that stands for the volume.
_ENGINE = """#!/usr/bin/python
# WANT_JSON
import json, subprocess, sys
given = {key: value for key, value in json.load(open(sys.argv[1])).items() if key[0] != "_"}
made = %(made)r
with open(made["log"], "a") as log:
    log.write(json.dumps(given) + "\\n")
said = {"changed": True}
if "argv" in given:
    said.update(made["answer"])
elif "command" in given:
    assert given["mounts"][0]["target"] == "/var/lib/postgresql", given
    command = [one.replace("/var/lib/postgresql", made["volume"]) for one in given["command"]]
    done = subprocess.run(given["entrypoint"] + command, capture_output=True, text=True)
    if done.returncode:
        said.update(failed=True, msg=done.stdout + done.stderr, status=done.returncode)
print(json.dumps(said))
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the mark and the note are root's")


class Start:
    """The tasks that begin a first start, with stand-ins for the engine."""

    def __init__(self, directory: Path) -> None:
        """Make a role whose modules are stand-ins, and an empty volume."""
        self.directory = directory
        self.volume = directory / "volume"
        self.data = self.volume / "17/docker"
        self.mark = directory / "postgres.first-start"
        self.role = directory / "roles/postgres"
        self.volume.mkdir()
        (self.role / "library").mkdir(parents=True)
        (self.role / "tasks").mkdir()
        for part in ("vars", "defaults", "files"):
            (self.role / part).symlink_to(ROLES / "postgres" / part)
        for path in (ROLES / "postgres/tasks").iterdir():
            text = re.sub(r"community\.docker\.(\w+):", r"noted_\1:", path.read_text())
            (self.role / "tasks" / path.name).write_text(text)

    def fill(self, *paths: str) -> None:
        """Put files into the data directory."""
        for path in paths:
            (self.data / path).parent.mkdir(parents=True, exist_ok=True)
            (self.data / path).write_text("17\n")

    def run(self, answer: dict[str, Any], *stages: str, **given: Any) -> str:
        """Run stages where a container answers so; return the sentence of the failure."""
        made = {
            "log": str(self.directory / "log"), "answer": answer, "volume": str(self.volume),
        }  # fmt: skip
        for name in ("docker_container_exec", "docker_container"):
            (self.role / f"library/noted_{name}.py").write_text(_ENGINE % {"made": made})
        tasks = [
            {
                "name": stage,
                "ansible.builtin.include_role": {"name": "postgres", "tasks_from": stage},
            }
            for stage in stages or ("first_start",)
        ]
        play = [{"name": "Begin", "hosts": "localhost", "connection": "local", "tasks": tasks}]
        (self.directory / "play.yml").write_text(json.dumps([{**play[0], "gather_facts": False}]))
        there = ["17/docker"] if (self.data / "PG_VERSION").exists() else []
        extra = {
            "ansible_python_interpreter": sys.executable, "ansible_facts": FACTS,
            "slipway_project": "example", "slipway_config_dir": str(self.directory),
            "slipway_state_dir": str(self.directory / "state"), "slipway_back_network": "n",
            "postgres_image": "i", "postgres_engine": {}, "postgres_version": "17",
            "__postgres_data_dirs": there, "__postgres_cluster_text": {},
            "__postgres_volume_there": {"volume": {"Mountpoint": str(self.volume)}}, **given,
        }  # fmt: skip
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,",
             "-e", json.dumps(extra), "play.yml"],
            capture_output=True, text=True, check=False, cwd=self.directory, timeout=300,
            env={
                **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_ROLES_PATH": str(self.directory / "roles"),
            },
        )  # fmt: skip
        text = " ".join(done.stdout.split())
        assert (done.returncode != 0) == ("FAILED" in text), done.stdout + done.stderr
        return text.partition("FAILED")[2]

    @property
    def asked(self) -> list[dict[str, Any]]:
        """Return what the engine was asked for, in its order."""
        log = self.directory / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def removed(self) -> bool:
        """Return whether anything was to be removed."""
        return any("argv" not in one for one in self.asked)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a host on which Postgres has not been started, or not to an end."""
    return Start(tmp_path)


NO_ANSWER: dict[str, Any] = {"failed": True, "msg": "no such container"}
TAKES_QUERIES = {"rc": 0, "stdout": "1", "stdout_lines": ["1"]}


@as_root
def test_a_first_start_is_marked_until_it_is_noted(start: Start) -> None:
    """The mark is there before the container is, and goes with the note of the database."""
    assert start.run(NO_ANSWER) == ""
    assert start.mark.read_text() == "/var/lib/postgresql/17/docker\n"
    assert start.mark.stat().st_mode & 0o777 == 0o600
    assert start.asked == []
    assert start.run(NO_ANSWER, "note") == ""
    assert not start.mark.exists()
    assert json.loads((start.directory / "postgres.json").read_text())["db"] == "example"


def test_the_role_marks_a_first_start_before_it_runs_one() -> None:
    """On a host of whose database nothing is noted."""
    tasks = load_tasks(ROLES / "postgres/tasks/main.yml")
    files = [
        next(str(value) for key, value in one.items() if "_tasks" in key) for one in tasks[:-1]
    ]
    assert files.index("first_start.yml") < files.index("run.yml") < files.index("apply.yml")
    when = tasks[files.index("first_start.yml")]["when"]
    assert "__postgres_cluster_text.content is not defined" in when


@as_root
def test_a_marked_start_that_came_to_its_end_is_left_alone(start: Start) -> None:
    """The run was cut short, and the database was not."""
    start.fill("PG_VERSION")
    start.mark.write_text("")
    assert start.run(TAKES_QUERIES) == ""
    assert not start.removed
    (asked,) = start.asked
    assert asked["container"] == "example-postgres"
    assert asked["argv"][-1].endswith("-d example -c 'SELECT 1'")


@as_root
@pytest.mark.parametrize("answer", [NO_ANSWER, {"rc": 2, "stdout": "", "stdout_lines": []}])
def test_a_marked_start_without_a_database_begins_anew(
    start: Start, answer: dict[str, Any]
) -> None:
    """Container and data go, in a container that can do nothing else, and the mark stays."""
    start.fill("PG_VERSION", "base/1/PG_VERSION")
    start.mark.write_text("")
    assert start.run(answer) == ""
    assert list(start.data.iterdir()) == []
    _, container, emptied = start.asked
    assert (container["name"], container["state"]) == ("example-postgres", "absent")
    assert emptied["mounts"] == [
        {"type": "volume", "source": "example_db_volume", "target": "/var/lib/postgresql"}
    ]
    assert (emptied["user"], emptied["cap_drop"]) == ("999:999", ["ALL"])
    assert (emptied["network_mode"], emptied["read_only"]) == ("none", True)
    assert start.mark.exists()


@as_root
def test_a_marked_start_that_holds_something_is_told(start: Start) -> None:
    """What it is, and what to do in either case."""
    start.fill("PG_VERSION", "base/5/16384")
    start.mark.write_text("")
    said = start.run(NO_ANSWER)
    assert "first start of Postgres on localhost was cut short" in said
    assert f"since {start.data} holds tables (1 files). Is it a database to keep, remove" in said
    assert "else remove the volume example_db_volume" in said
    assert (start.data / "base/5/16384").exists()


@as_root
@pytest.mark.parametrize(
    ("answer", "there", "marker", "lacks"),
    [
        # The container stands still, or its entrypoint is not done yet.
        (NO_ANSWER, True, "", ""),
        ({"rc": 2, "stdout": "shop\n", "stdout_lines": ["shop"]}, True, "", ""),
        ({"rc": 0, "stdout_lines": ["shop", "postgres", "shop", "template1"]}, True, "", ""),
        (
            {"rc": 0, "stdout_lines": ["shop", "postgres", "template1", "template0"]},
            True, "", "the database shop",
        ),
        (NO_ANSWER, False, "", "what initdb makes"),
        (NO_ANSWER, False, "slipway-first-start-unfinished", ""),
    ],
    ids=["no answer", "not yet", "made", "no database", "half an initdb", "own image"],
)  # fmt: skip
def test_a_first_start_of_before_the_mark_ends_in_a_sentence(
    start: Start, answer: dict[str, Any], there: bool, marker: str, lacks: str
) -> None:
    """At once, and without a removal; the mark, by hand, is the consent to it."""
    start.fill("PG_VERSION", *([marker] if marker else []))
    said = start.run(answer, postgres_data_there=there)
    assert not start.removed
    assert not start.mark.exists()
    assert (f"example_db_volume on localhost lacks {lacks}: a first start" in said) == bool(lacks)
    assert (f"`touch {start.mark}` and run again" in said) == bool(said)
    assert bool(said) == bool(lacks)


def test_a_container_says_for_which_database_it_was_made(cluster: Cluster) -> None:
    """Whichever version of Slipway made it: by its own environment."""
    cluster.start()
    words = evaluate("postgres", "__postgres_own_databases", slipway_project="example")
    password = cluster.directory / "password"
    password.write_text("x")
    done = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, check=False,
        env={
            "PATH": f"{cluster.bin}:{os.environ['PATH']}", "PGPORT": str(cluster.port),
            "POSTGRES_DB": "the shop", "POSTGRES_USER": "owner",
            "POSTGRES_PASSWORD_FILE": str(password),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first == "the shop"
    assert set(others) == {"postgres", "template0", "template1"}


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


@as_root
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
