"""Locks on the host: only root holds them, nobody waits for ever, and who holds one is told."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "roles/data/files"))
locks = importlib.import_module("slipway_data.locks")
host = importlib.import_module("slipway_data.host")
deploy_lock = importlib.import_module("plugins.modules.deploy_lock")

STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def hold(path: str, uid: int, said: Any) -> None:
    """Hold a lock as a user does who runs flock on it, for ever."""
    import fcntl

    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        said.send("refused")
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
    said.send("held")
    time.sleep(60)


@contextmanager
def holder(path: Path, uid: int) -> Iterator[str]:
    """Have another process hold a lock; gives what came of it."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=hold, args=(str(path), uid, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


@contextmanager
def told(pattern: str, kind: Any = None) -> Iterator[None]:
    """Expect to be told who holds a lock."""
    with pytest.raises(kind or locks.LockedError, match=pattern):
        yield


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory that everybody gets to, as /run is."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    return tmp_path


def mode(path: Path) -> int:
    """Return the mode of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@as_root
def test_nobody_else_gets_to_a_lock(directory: Path) -> None:
    """A new lock is out of a stranger's reach, and says what runs to root."""
    locks.directory(directory / "locks")
    path = directory / "locks/p.lock"
    said = rf"backup since 20.* \(process {os.getpid()}\)"
    with locks.held(path, 0, "backup"), told(said), locks.held(path, 0, "drill"):
        pass
    with locks.held(path, 0, "drill"):
        assert path.read_text().startswith("drill since")
    with holder(path, STRANGER) as came:
        assert came == "refused"
    # Of an older version, in a directory that others may list.
    path.parent.chmod(0o755)
    with holder(path, STRANGER) as came:
        assert came == "refused"
    locks.directory(path.parent)
    assert mode(path.parent) == 0o700


@as_root
def test_an_older_lock_is_closed(directory: Path) -> None:
    """An older version made it for everybody to read, and so to hold."""
    path = directory / "p.lock"
    path.write_text("")
    path.chmod(0o644)
    with locks.held(path, 0, "drill"):
        assert mode(path) == 0o600
    with holder(path, STRANGER) as came:
        assert came == "refused"


@as_root
def test_a_stranger_who_holds_an_older_lock_loses_it(directory: Path) -> None:
    """At once; root who holds it keeps it."""
    path = directory / "p.lock"
    path.write_text("")
    path.chmod(0o644)
    with holder(path, STRANGER) as came:
        assert came == "held"
        with locks.held(path, 0, "drill"):
            assert mode(path) == 0o600
            assert path.read_text().startswith("drill since")
            with told("drill since 20"), locks.held(path, 0, "backup"):
                pass
    with holder(path, 0), told("process"), locks.held(path, 0, "drill"):
        pass


def test_the_program_says_who(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another operation runs."""
    monkeypatch.setattr(host, "LOCKS", directory / "locks")
    config = host.Config(
        project="p", host="here", config_dir=directory, state_dir=directory, container="c",
        back_network="n", volume="v", image="i", version="17", memory_mb=1, start_timeout=1,
        stop_timeout=1, backup={}, cluster={},
    )  # fmt: skip
    one = host.Host(config)
    with one.alone("data", verb="drill"):
        assert (mode(directory / "locks"), mode(directory / "locks/p.data.lock")) == (0o700, 0o600)
        said = r"data of p runs \(drill since 20"
        with told(said, host.ProblemError), host.Host(config).alone("data", verb="load"):
            pass
    # What goes wrong inside is not the lock's.
    with pytest.raises(host.ProblemError, match="mine"), one.alone("data", verb="drill"):
        raise host.ProblemError("mine")


def test_a_deploy_waits_for_its_guard_and_no_longer(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the file."""
    said: list[str] = []

    class Module:
        check_mode = False
        params = {  # noqa: RUF012
            "path": str(directory / "locks/p.lock"), "state": "held", "what": "deploy", "lease": 60,
            "token": "t", "holder": "me@here",
        }  # fmt: skip

        def __init__(self, **given: Any) -> None:
            pass

        def exit_json(self, **result: Any) -> None:
            said.append(result["holder"])
            raise SystemExit(0)

        def fail_json(self, msg: str, **result: Any) -> None:
            said.append(msg)
            raise SystemExit(1)

    monkeypatch.setattr(deploy_lock, "AnsibleModule", Module)
    monkeypatch.setattr(deploy_lock, "WAIT", 0.3)
    with pytest.raises(SystemExit):
        deploy_lock.main()
    assert said == ["me@here"]
    lock = directory / "locks/p.lock"
    assert (mode(lock.parent), mode(lock), mode(lock.with_name(".guard"))) == (0o700, 0o600, 0o600)
    with holder(lock.with_name(".guard"), 0), pytest.raises(SystemExit):
        deploy_lock.main()
    assert "locks/.guard) was held" in said[1]
    assert "process" in said[1]
