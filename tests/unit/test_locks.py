"""What may run beside each other on a project's data, what waits, and what was killed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[2] / "roles/data/files"
sys.path.insert(0, str(FILES))
host = importlib.import_module("slipway_data.host")
main = importlib.import_module("slipway_data.__main__")
data_program = importlib.import_module("plugins.modules.data_program")

_HOLD = """
import sys
from pathlib import Path
from slipway_data import host
host.LOCKS = Path(sys.argv[2])
one = host.Host(host.Config.read(sys.argv[1]))
with one.alone(*host.HOLDS.get(sys.argv[3], host.KINDS), verb=sys.argv[3]):
    one.journal = one.journal_of(host.HOLDS.get(sys.argv[3], host.KINDS)[0])
    one.journal.begin(sys.argv[3])
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a host on which every verb does nothing, well."""
    (tmp_path / "data").mkdir()
    given = {
        "project": "example", "host": "here",
        "config_dir": str(tmp_path), "state_dir": str(tmp_path),
        "container": "c", "back_network": "n", "volume": "v", "image": "i", "version": "17",
        "memory_mb": 256, "start_timeout": 1, "stop_timeout": 1, "backup": {"where": ["x"]},
        "cluster": {"user": "u", "db": "d", "version": "17"},
    }  # fmt: skip
    (tmp_path / "data.json").write_text(json.dumps(given))
    monkeypatch.setattr(host, "LOCKS", tmp_path / "run")
    monkeypatch.setattr(main.Host, "remove_leftovers", lambda self, operation: None)
    monkeypatch.setattr(main.recover, "docker", lambda *arguments, check: "")
    monkeypatch.setattr(main.rotate, "recover", lambda host: [])
    for verb in main.VERBS:
        monkeypatch.setitem(main.VERBS, verb, lambda host, given: ["done"])
    return host.Host(host.Config.read(str(tmp_path / "data.json")))


Hold = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def hold(project: Any, tmp_path: Path) -> Iterator[Hold]:
    """Return what begins an operation in another process, which goes on until its input ends."""
    begun = []

    def begin(verb: str) -> subprocess.Popen[str]:
        one = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(tmp_path / "data.json"), str(tmp_path / "run"), verb],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FILES,
        )  # fmt: skip
        assert one.stdout
        assert one.stdout.readline() == "held\n"
        begun.append(one)
        return one

    yield begin
    for one in begun:
        one.communicate()


def do(project: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """Do a verb, with no patience."""
    given = main.parser().parse_args(["x", *arguments])
    alone = host.Host.alone
    monkeypatch.setattr(
        host.Host,
        "alone",
        lambda self, *kinds, verb, wait=0: alone(self, *kinds, verb=verb, wait=0),
    )
    return main.do(project, given)


@pytest.mark.parametrize("runs", ["backup", "drill", "dump", "scratch"])
def test_a_deploy_goes_on_beside_what_only_reads(
    project: Any, hold: Hold, monkeypatch: pytest.MonkeyPatch, runs: str
) -> None:
    """All that a deploy does to the data: clear up, prepare, the first backup, a new password."""
    hold(runs)
    monkeypatch.setattr(main.backups, "known", lambda host: True)
    monkeypatch.setattr(main.backups, "look", lambda host: None)
    monkeypatch.setattr(main.backups, "usable", lambda repository: ["one"])
    for arguments in (["recover"], ["prepare"], ["backup", "--first"], ["rotate", "--end"]):
        do(project, monkeypatch, *arguments)


def test_a_deploy_does_not_wait_for_the_first_backup_that_is_being_made(
    project: Any, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier run began it and lost its way to the host."""
    monkeypatch.setattr(main.backups, "known", lambda host: False)
    hold("backup")
    said = do(project, monkeypatch, "backup", "--first")["said"]
    assert "is being made (backup since 20" in said[0]


@pytest.mark.parametrize(
    ("runs", "refused"),
    [
        ("drill", ["backup"]),
        ("backup", ["drill"]),
        ("drill", ["restore"]),
        ("dump", ["load", "f"]),
        ("dump", ["upgrade"]),
        ("load", ["prepare"]),
        ("restore", ["dump"]),
        ("restore", ["backup"]),
        ("restore", ["prepare"]),
    ],
)
def test_what_excludes_each_other_says_what_runs(
    project: Any, hold: Hold, monkeypatch: pytest.MonkeyPatch, runs: str, refused: list[str]
) -> None:
    """And since when."""
    hold(runs)
    with pytest.raises(host.ProblemError, match=rf"runs \({runs} since 20\d\d-"):
        do(project, monkeypatch, *refused)


@pytest.mark.parametrize("verb", ["drill", "load", "restore"])
def test_what_runs_is_not_taken_for_killed(
    project: Any, hold: Hold, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    """Neither by a deploy's first look nor by the clearing up; what was killed is."""
    own, locks = project.config.own, tmp_path / "run"
    assert data_program.killed(own, "example", locks) == ""
    one = hold(verb)
    assert data_program.killed(own, "example", locks) == ""
    assert do(project, monkeypatch, "recover")["said"] == []
    one.kill()
    one.wait()
    assert data_program.killed(own, "example", locks) == verb
    assert f"The {verb} of 20" in do(project, monkeypatch, "recover")["said"][0]
    assert data_program.killed(own, "example", locks) == ""


def test_a_lock_is_roots(project: Any) -> None:
    """Else anybody could hold it, and block the project for ever."""
    with project.alone("data", verb="load"):
        pass
    assert (host.LOCKS / "example.data.lock").stat().st_mode & 0o777 == 0o600
