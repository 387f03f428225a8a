"""Moving to another major version, and adopting: what needs no host to be tried."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

ROLES = Path(__file__).parents[2] / "roles"
sys.path.insert(0, str(ROLES / "data/files"))
host = importlib.import_module("slipway_data.host")
backups = importlib.import_module("slipway_data.backups")
fingerprint = importlib.import_module("slipway_data.fingerprint")
front = importlib.import_module("slipway_data.front")
adopt = importlib.import_module("slipway_data.adopt")
upgrade = importlib.import_module("slipway_data.upgrade")
main = importlib.import_module("slipway_data.__main__")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a host whose volume and files are below a directory."""
    given = {
        "project": "example", "host": "here",
        "config_dir": str(tmp_path / "etc"), "state_dir": str(tmp_path / "state"),
        "container": "example-postgres", "back_network": "n", "volume": "v",
        "image": "old", "version": "15",
        "memory_mb": 256, "start_timeout": 1, "stop_timeout": 1, "backup": {},
        "cluster": {"user": "u", "db": "d", "version": "15"},
    }  # fmt: skip
    for name in ("etc/nginx", "state/data", "volume/15/docker"):
        (tmp_path / name).mkdir(parents=True)
    path = tmp_path / "etc/data.json"
    path.write_text(json.dumps(given))
    made = host.Host(host.Config.read(str(path)))
    monkeypatch.setattr(host.Host, "mountpoint", property(lambda self: tmp_path / "volume"))
    return made


def test_a_pipe_is_held_to_both_ends() -> None:
    """Each end that fails is a failure, and says which it was."""
    upgrade.pipe(["printf", "rows"], ["cat"], "shop")
    with pytest.raises(host.ProblemError, match="pg_dump of shop: ERROR: no such table"):
        upgrade.pipe(
            ["sh", "-c", "echo half; echo 'ERROR: no such table' >&2; exit 1"], ["cat"], "shop"
        )
    with pytest.raises(host.ProblemError, match="pg_restore of shop: ERROR: disk full"):
        upgrade.pipe(
            ["sh", "-c", "yes | head -c 1000000"],
            ["sh", "-c", "echo 'ERROR: disk full' >&2; exit 1"],
            "shop",
        )


def test_what_alter_system_set_comes_along_and_recovery_does_not(tmp_path: Path) -> None:
    """So do those who may come in."""
    old, new = tmp_path / "old", tmp_path / "new"
    for directory in (old, new):
        directory.mkdir()
    (old / "pg_hba.conf").write_text("host all all all scram-sha-256\n")
    (old / "pg_ident.conf").write_text("")
    (old / "postgresql.auto.conf").write_text(
        "work_mem = '7MB'\nrestore_command = 'false'\nrecovery_target_time = 'x'\n"
    )
    upgrade.carry_over(old, new)
    assert (new / "postgresql.auto.conf").read_text() == "work_mem = '7MB'\n"
    assert (new / "pg_hba.conf").read_text() == "host all all all scram-sha-256\n"


def test_a_repository_is_known_by_the_system_before_or_after(project: Any) -> None:
    """After an upgrade, and after the way back; of another database it is not."""
    upgrade.note(project).write_text(json.dumps({"from_system": "5", "to_system": "6"}))
    assert backups.came_from(project, "6") == "5"
    assert backups.came_from(project, "5") == "6"
    assert backups.came_from(project, "7") == ""


def test_the_version_that_serves_is_written_down(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the program and for the role; names of moments stay with their version."""
    monkeypatch.setattr(upgrade, "docker", lambda *command, **options: "")
    (project.config.own / "moments.json").write_text('{"then": {}}')
    entry = {"from": "15", "to": "17", "image": "new", "closed": False, "note": {"done": "upgrade"}}
    upgrade.finish(project, entry)
    upgrade.finish(project, entry)
    assert (project.config.version, project.config.image) == ("17", "new")
    again = host.Config.read(project.config.path)
    assert (again.version, again.image, again.cluster["version"]) == ("17", "new", "17")
    assert not (project.config.own / "moments.json").exists()
    assert (project.config.own / "moments.15.json").exists()
    upgrade.finish(project, {**entry, "from": "17", "to": "15"})
    assert (project.config.own / "moments.json").exists()


def test_structures_are_told_apart_in_words() -> None:
    """A sequence by its place, an index by its text."""
    should = {"app": {"sequences": {"s": [7, "True"]}, "indexes": {"i": [0, "ON a"]}}}
    has = {"app": {"sequences": {"s": [5, "True"]}, "indexes": {"i": [0, "ON b"]}}}
    assert fingerprint.differences(should, has) == [
        "app: index i is 'ON b' instead of 'ON a'",
        "app: sequence s is at 5 instead of 7",
    ]


def test_the_front_is_closed_as_the_role_closes_it(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses that may come in stay; the mark is what the role's template writes."""
    monkeypatch.setattr(host.Host, "container_state", lambda self, name="": "")
    one = front.Front(project)
    one.turn(True)
    assert not one.closed
    template = (ROLES / "nginx/templates/maintenance.conf.j2").read_text()
    assert "default {{ 1 if nginx_maintenance | bool else 0 }};" in template
    one.path.write_text(
        "geo $slipway_maintenance {\n    default 0;\n    192.0.2.7 0;\n}\n"
        'map $request_method $slipway_maintenance_mark {\n    default "off";\n}\n'
    )
    one.turn(True)
    assert one.closed
    assert 'default "on 192.0.2.7";' in one.path.read_text()
    one.turn(False)
    assert not one.closed
    assert 'default "off";' in one.path.read_text()


@pytest.mark.parametrize("layout", ["", "data", "pgdata/deep"])
def test_a_database_is_found_in_its_layout(
    layout: str, project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The volume's own directory, or one below; those of its databases do not count."""
    volume = tmp_path / "tutorial"
    for name in ("global", "base/1"):
        (volume / layout / name).mkdir(parents=True)
    (volume / layout / "global/pg_control").touch()
    for name in ("PG_VERSION", "base/1/PG_VERSION"):
        (volume / layout / name).write_text("15\n")
    monkeypatch.setattr(adopt, "root_of", lambda host, source: (volume, False))
    assert adopt.directory_of(project, "tutorial") == (volume / layout, False)


def test_two_databases_are_not_chosen_from(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are named."""
    for name in ("one", "two"):
        (tmp_path / "tutorial" / name / "global").mkdir(parents=True)
        (tmp_path / "tutorial" / name / "global/pg_control").touch()
        (tmp_path / "tutorial" / name / "PG_VERSION").write_text("15\n")
    monkeypatch.setattr(adopt, "root_of", lambda host, source: (tmp_path / "tutorial", False))
    with pytest.raises(host.ProblemError, match=r"tutorial/one, .*tutorial/two: name the one"):
        adopt.directory_of(project, "tutorial")


def test_moved_files_go_back_when_it_fails(project: Any, tmp_path: Path) -> None:
    """An older layout in the project's own volume is as it was."""
    volume = tmp_path / "volume"
    made = volume / "15/adopt-1"
    made.mkdir()
    (made / "PG_VERSION").write_text("15")
    (made / "pg_hba.conf").write_text("ours")
    (made / "pg_hba.conf.before-slipway").write_text("theirs")
    (volume / "base").mkdir()
    entry = {"id": "adopt-1", "stage": "check", "own": True, "found": str(volume),
             "names": ["PG_VERSION", "base", "pg_hba.conf"]}  # fmt: skip
    assert "as it was" in adopt.undo(project, entry)
    assert (volume / "PG_VERSION").exists()
    assert (volume / "pg_hba.conf").read_text() == "theirs"
    assert not made.exists()


def test_a_killed_operation_is_cleared_up_at_once(
    project: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The process that watches over it does so, and ends with 1."""
    monkeypatch.setattr(host, "LOCKS", tmp_path / "run")
    monkeypatch.setattr(main.recover, "recover", lambda host: ["cleared up"])

    (project.config.own / "operation.json").write_text('{"id": "x"}')

    def work() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    assert main.watched(work, project.config.path) == 1
    assert "cleared up (SIGKILL)" in capsys.readouterr().err
    assert main.watched(lambda: 3, project.config.path) == 3


_DOCKER = """#!/bin/sh
# A container is a file with its state.
cd "{0}"
for last; do :; done
case $* in
  inspect*State*) cat "$last" 2>/dev/null;;
  inspect*) [ -e "$last" ] && echo PGDATA=/var/lib/postgresql/18/docker;;
  rm*) rm "$last";;
  ps*) ls;;
  volume*) exit 1;;
esac
"""


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that holds containers, as files with their states."""
    for name in ("bin", "containers"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/docker").write_text(_DOCKER.format(tmp_path / "containers"))
    (tmp_path / "bin/docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(host, "LOCKS", tmp_path / "run")
    return tmp_path / "containers"


def given(*arguments: str) -> Any:
    """Return a command line of the program."""
    return main.parser().parse_args(["x", *arguments])


@pytest.mark.parametrize("how", ["--to=18", "--back"])
def test_a_refused_upgrade_leaves_no_container(project: Any, containers: Path, how: str) -> None:
    """The other version's was made before, and `status` would tell of it for good."""
    name = "example-postgres-18"
    main.do(project, given("upgrade", "--announce", f"--container={name}"))
    (containers / name).write_text("created")
    # The project's own does not run.
    (containers / "example-postgres").write_text("exited")
    with pytest.raises(host.ProblemError):
        main.do(project, given("upgrade", how, f"--container={name}"))
    assert sorted(path.name for path in containers.iterdir()) == ["example-postgres"]
    assert not upgrade.announced(project).exists()


def test_an_upgrade_that_was_given_up_leaves_no_container(
    project: Any, containers: Path, tmp_path: Path
) -> None:
    """The control node went away in between: the next deploy removes it, and a timer does not."""
    data_program = importlib.import_module("plugins.modules.data_program")
    name = "example-postgres-18"
    main.do(project, given("upgrade", "--announce", f"--container={name}"))
    (containers / name).write_text("created")
    assert data_program.killed(project.config.own, "example", tmp_path / "run") == "upgrade"
    main.clear_up(project, 0)
    assert (containers / name).exists()
    said = main.do(project, given("recover"))["said"]
    assert said == [f"Removed {name}, which was made for an upgrade that did not come about."]
    assert list(containers.iterdir()) == []
    assert data_program.killed(project.config.own, "example", tmp_path / "run") == ""


def test_a_container_that_has_run_is_not_taken_for_a_left_one(
    project: Any, containers: Path
) -> None:
    """Whatever the note says."""
    for name, state in (("example-postgres-18", "exited"), ("other", "created")):
        (containers / name).write_text(state)
        upgrade.announce(project, name)
        assert upgrade.drop_unused(project) == []
        assert (containers / name).exists()
