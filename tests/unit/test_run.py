"""The parts of the suite run side by side, each when its turn has come."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests import run


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> run.Runner:
    """Return a runner of two lanes on a machine that may have hosts."""
    one = run.Runner()
    for name, value in {
        "RUNNER": one, "LOGS": tmp_path, "ROOT": tmp_path, "LANES": 2,
        "alone": contextlib.nullcontext, "why_no_hosts": lambda: "", "remove_hosts": lambda: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(run, name, value)
    return one


def part(began: list[str], name: str, seconds: int = 0, hosts: bool = False) -> run.Part:
    """Return a part that notes when it began, and takes a moment."""

    def work(_: run.Part) -> run.Result:
        began.append(name)
        time.sleep(0.05)
        return run.Result(passed=1)

    return run.Part(name, (), work, hosts, seconds)


@pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
def test_scenarios_wait_for_hosts_and_nobody_else_does(
    runner: run.Runner, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    """A fast part that is left does not keep them back, and fills a lane at the end."""
    began: list[str] = []

    def ready(_: run.Part, names: list[str]) -> run.Result:
        began.append("hosts")
        assert names == ["data", "edge"]
        return run.Result(failed=0 if made else 1)

    monkeypatch.setattr(run, "make_ready", ready)
    fast = [part(began, name, 10 - number) for number, name in enumerate("abcdefgh")]
    on_hosts = [
        part(began, "data", 100, hosts=True),
        part(began, "start", 2000, hosts=True),
        part(began, "edge", 200, hosts=True),
    ]
    run.with_hosts(fast, on_hosts)
    assert began.index("start") < began.index("hosts")
    if made:
        assert began.index("hosts") < began.index("edge") < began.index("data") < began.index("h")
        assert (runner.total.passed, runner.total.failed, runner.total.skipped) == (11, 0, 0)
    else:
        assert {"edge", "data"}.isdisjoint(began)
        assert (runner.total.passed, runner.total.failed, runner.total.skipped) == (9, 1, 2)
