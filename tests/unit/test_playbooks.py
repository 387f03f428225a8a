"""What the playbooks hand to the roles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


def uses_of(role: str, tasks: Any) -> Iterator[dict[str, Any]]:
    """Yield the tasks, in blocks and plays too, that bring a role."""
    for task in tasks or []:
        for module in ("import_role", "include_role"):
            brought = task.get(f"ansible.builtin.{module}") or {}
            if brought.get("name") == role:
                yield task
        if task.get("role") == role:
            yield {**task, "vars": task}
        for part in ("roles", "pre_tasks", "tasks", "post_tasks", "block", "rescue", "always"):
            yield from uses_of(role, task.get(part))


def entered(plays: Any) -> Iterator[dict[str, Any]]:
    """Yield the uses of base_images that have tasks; `inputs` only brings its variables."""
    for use in uses_of("base_images", plays):
        brought = use.get("ansible.builtin.import_role") or {}
        if brought.get("tasks_from") != "inputs":
            yield use


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_base_images_is_told_the_version_of_postgres(playbook: Path) -> None:
    """Else it takes its own default for the project's: pin wrote 18's digest under postgres:17."""
    for use in entered(yaml.safe_load(playbook.read_text())):
        given = use.get("vars") or {}
        if "postgres" in given.get("base_images_names", ["postgres"]):
            assert "base_images_postgres_version" in given, use


def test_every_use_of_a_role_is_found() -> None:
    """The test above would else see nothing."""
    found = {
        playbook.stem: len(list(entered(yaml.safe_load(playbook.read_text()))))
        for playbook in PLAYBOOKS
    }
    text = {
        playbook.stem: playbook.read_text().count("name: base_images\n") for playbook in PLAYBOOKS
    }
    assert found == text
    assert found["site"] == 1


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_play_has_no_long_file_of_variables(playbook: Path) -> None:
    """Ansible parses such files again for each task; `include_vars` parses them once."""
    for play in yaml.safe_load(playbook.read_text()):
        for name in play.get("vars_files", []):
            # One name may depend on the inventory.
            files = sorted(playbook.parent.glob(re.sub(r"\{\{.*\}\}", "*", name)))
            assert files, name
            assert all(len(path.read_text().splitlines()) < 10 for path in files), name


NESTED = [path for path in sorted(ROOT.glob("roles/*/tasks/*.yml")) if path.name != "main.yml"]


@pytest.mark.parametrize("path", NESTED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_file_of_tasks_names_others_by_the_path_of_the_role(path: Path) -> None:
    """Else Ansible prefers one of the same name below `tasks/` where the user stands."""
    names = re.findall(r"(?:import|include)_tasks: *[\"']?([^\"'\n]+)", path.read_text())
    for name in names:
        # What the user names is found in the project.
        if "__flask_backup" in name:
            continue
        assert name.startswith("{{ role_path }}/tasks/"), name
        last = name.rpartition("/")[2]
        assert "{{" in last or (path.parent / last).is_file(), name
