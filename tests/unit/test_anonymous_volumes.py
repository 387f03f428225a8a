"""A container that goes takes along the volumes that its image declared and nobody named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")])


def removing(tasks: Any) -> Iterator[dict[str, Any]]:
    """Yield the options of each task that removes a container, at its end or at once."""
    if isinstance(tasks, list):
        for one in tasks:
            yield from removing(one)
    elif isinstance(tasks, dict):
        options = tasks.get("community.docker.docker_container")
        if options and (options.get("state") == "absent" or options.get("cleanup")):
            yield options
        for key in ("block", "rescue", "always", "tasks"):
            yield from removing(tasks.get(key))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_removed_containers_leave_no_volume(path: Path) -> None:
    """The module keeps anonymous volumes unless it is told not to."""
    kept = [
        one for one in removing(yaml.safe_load(path.read_text())) if one.get("keep_volumes", True)
    ]
    assert kept == []


def test_the_rule_sees_tasks() -> None:
    """It finds them in blocks and rescues."""
    gone = {"community.docker.docker_container": {"name": "one", "state": "absent"}}
    assert len(list(removing([{"block": [], "rescue": [gone]}, gone]))) == 2
