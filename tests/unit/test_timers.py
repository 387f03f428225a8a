"""What timers begin: how it ended is told, also of what was killed; it leaves room to the site."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "roles/data/files"))
host = importlib.import_module("slipway_data.host")
backups = importlib.import_module("slipway_data.backups")
timers = importlib.import_module("slipway_data.timers")
throwaway = importlib.import_module("slipway_data.throwaway")
main = importlib.import_module("slipway_data.__main__")
data_program = importlib.import_module("plugins.modules.data_program")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a host with a state and locks of its own."""
    monkeypatch.setattr(host, "LOCKS", tmp_path / "locks")
    config = host.Config(
        project="p", host="here", config_dir=tmp_path, state_dir=tmp_path, container="c",
        back_network="n", volume="v", image="i", version="17", memory_mb=256, start_timeout=1,
        stop_timeout=1, backup={"where": ["local", "/b"], "verify": True, "full_days": 7},
        cluster={"user": "u", "db": "d", "version": "17"},
    )  # fmt: skip
    made = host.Host(config)
    made.config.own.mkdir()
    return made


def run(project: Any, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any]) -> Any:
    """Do a backup as a timer does, which is some other work."""
    monkeypatch.setitem(main.VERBS, "backup", work)
    monkeypatch.setattr(main.recover, "recover", lambda host: [])
    return main.do(project, main.parser().parse_args(["x", "backup", "--timer"]))


def test_what_fails_is_told_until_it_is_done_well(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the sentence of the failure."""

    def fail(*given: Any) -> list[str]:
        raise host.ProblemError("the disk is full")

    with pytest.raises(host.ProblemError):
        run(project, monkeypatch, fail)
    assert [one.partition(" of ")[0] for one in timers.problems(project)] == ["the backup"]
    assert "the disk is full" in timers.problems(project)[0]
    run(project, monkeypatch, lambda *given: ["made"])
    assert timers.problems(project) == []


def test_what_is_killed_is_told(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By SIGKILL, as the kernel does for want of memory; while it runs nothing is wrong."""
    begun, other = os.pipe()
    child = os.fork()
    if not child:

        def hang(*given: Any) -> list[str]:
            os.write(other, b"x")
            time.sleep(60)
            return []

        try:
            run(project, monkeypatch, hang)
        finally:
            os._exit(0)
    os.close(other)
    assert os.read(begun, 1) == b"x"
    os.close(begun)
    assert timers.problems(project) == []
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said = timers.problems(project)
    assert len(said) == 1
    assert "the backup that a timer began" in said[0]
    assert "`./slipway backup`" in said[0]
    run(project, monkeypatch, lambda *given: ["made"])
    assert timers.problems(project) == []


def test_nobody_forgets_what_another_notes(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood there before the lock was had is not what is written back."""
    inside, noted = threading.Event(), threading.Event()

    def slow(*given: Any) -> list[str]:
        inside.set()
        assert noted.wait(10)
        return ["made"]

    timers.failed(project, "backup", "then")
    thread = threading.Thread(target=run, args=(project, monkeypatch, slow))
    thread.start()
    assert inside.wait(10)
    timers.failed(project, "drill", "meanwhile")
    noted.set()
    thread.join()
    assert [one for one in timers.problems(project) if "meanwhile" in one]
    assert len(timers.problems(project)) == 1


VERIFIED = """stanza: main
status: error
  archiveId: 17-1, total WAL checked: 9, total valid WAL: 9
  backup: old, status: {}, total files checked: 9, total valid files: 8
    missing: 0, checksum invalid: 1, size invalid: 0, other: 0
  backup: new, status: {}, total files checked: 9, total valid files: 9
"""


@pytest.mark.parametrize(("old", "new"), [("invalid", "valid"), ("valid", "invalid")])
def test_a_bad_file_elsewhere_does_not_stop_expiry(
    project: Any, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    """It is told all the same; a new backup that is bad itself pushes out nothing."""
    ran: list[str] = []

    def one(label: str, began: int) -> Any:
        return backups.Backup(label, "full", began, began, 1, 1, "a", "b", "0/1", False, True)

    made = backups.Repository([one("old", 1), one("new", 2)], "b")
    monkeypatch.setattr(backups, "look", lambda host: made)
    monkeypatch.setattr(backups, "pgbackrest", lambda host, *given, **more: ran.append(given[-1]))
    monkeypatch.setattr(backups, "version", lambda host, serving: (2, 54))
    monkeypatch.setattr(project, "container_state", lambda name="": "running")
    text = VERIFIED.format(old, new)
    monkeypatch.setattr(backups, "call", lambda *command, **more: (0, text, ""))
    with pytest.raises(host.ProblemError, match="repository of backups is damaged"):
        backups.backup(project, "full")
    assert ("expire" in ran) == (new == "valid")


def test_wal_that_was_given_up_is_told_until_a_full_backup_was_made(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the container, and its log with it, is another one."""
    log = ["2026-11-28T17:40:00.123456789Z P00   WARN: dropped WAL file '00' because of the queue"]
    monkeypatch.setattr(
        backups, "call", lambda *command, **more: (0, "".join(f"{line}\n" for line in log), "")
    )
    monkeypatch.setattr(project, "container_state", lambda name="": "running")
    at = 1795887600

    def repository(kind: str, began: int) -> Any:
        made = backups.Backup("l", kind, began, began, 1, 1, "a", "b", "0/1", False, True)
        return backups.Repository([made], "b")

    assert backups.given_up(project, None).startswith("dropped WAL file")
    log.clear()
    assert backups.given_up(project, None).startswith("dropped WAL file")
    assert backups.given_up(project, repository("full", at - 60))
    assert backups.given_up(project, repository("incr", at + 60))
    assert backups.given_up(project, repository("full", at + 60)) == ""
    assert backups.given_up(project, None) == ""


@pytest.mark.parametrize(("backup", "check"), [(True, False), (False, False), (True, True)])
def test_a_deploy_keeps_what_the_container_said_of_wal_before_it_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backup: bool, check: bool
) -> None:
    """By the program that it has just put there; the log goes with the container."""
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(
        "#!/bin/sh\ntest $1 = logs || exit 1\n"
        "echo \"$(date -u +%FT%TZ) P00   WARN: dropped WAL file '00' because of the queue\"\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    state = tmp_path / "state"
    config = {
        "project": "p", "host": "here", "config_dir": str(tmp_path), "state_dir": str(state),
        "container": "c", "back_network": "n", "volume": "v", "image": "i", "version": "17",
        "memory_mb": 256, "start_timeout": 1, "stop_timeout": 1, "cluster": {},
        "backup": {"where": ["local", "/b"]} if backup else {},
    }  # fmt: skip
    ended: list[dict[str, Any]] = []

    class Module:
        check_mode = check
        params = {  # noqa: RUF012
            "directory": str(tmp_path / "program"), "config_file": str(tmp_path / "data.json"),
            "config": config, "unit": "", "unit_text": "",
            "files": {
                path.name: path.read_text()
                for path in (ROOT / "roles/data/files/slipway_data").glob("*.py")
            },
        }  # fmt: skip

        def __init__(self, **given: Any) -> None:
            pass

        def exit_json(self, **result: Any) -> None:
            ended.append(result)

    monkeypatch.setattr(data_program, "AnsibleModule", Module)
    data_program.main()
    assert ended[0]["changed"]
    kept = state / "data/given_up.json"
    assert kept.exists() == (backup and not check)
    if kept.exists():
        assert json.loads(kept.read_text())["said"] == "dropped WAL file '00' because of the queue"


def test_a_deploy_looks_at_the_data_before_it_runs_the_database() -> None:
    """With the look it keeps what the container said."""
    play = (ROOT / "playbooks/site.yml").read_text()
    assert play.index("- name: Look at the data\n") < play.index("- name: Run the database\n")


def test_what_a_timer_runs_in_a_container_leaves_room(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the priority that its process really has; what a person runs has the usual one."""
    script = "cut -d' ' -f19 /proc/self/stat; ionice -p $$"

    def priority(command: tuple[str, ...]) -> list[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    usual = int(priority(("sh", "-c", script))[0])
    for gentle in (False, True):
        project.gentle = gentle
        nice, disk = priority(project.gently(("sh", "-c", script)))
        assert int(nice) == min(usual + 10 * gentle, 19)
        assert (disk == "best-effort: prio 7") == gentle
    ran: list[tuple[str, ...]] = []

    def call(*command: str, **more: Any) -> tuple[int, str, str]:
        ran.append(command)
        return 0, "[]", ""

    monkeypatch.setattr(backups, "call", call)
    monkeypatch.setattr(host, "call", call)
    monkeypatch.setattr(throwaway, "docker", lambda *command, **more: ran.append(command))
    backups.pgbackrest(project, "backup")
    backups.pgbackrest(project, "restore", serving=False)
    throwaway.run(project, "17/drill", name="drill")
    assert len(ran) == 3
    for command in ran:
        assert any("exec nice -n 10" in word for word in command), command
    done = run(project, monkeypatch, lambda host, given: [str(host.gentle)])
    assert done["said"] == ["True"]
