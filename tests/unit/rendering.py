"""Render a role's template as a play does: through Ansible's own templating."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"

# A small host: what the roles size themselves from.
FACTS = {"processor_nproc": 2, "processor_vcpus": 2, "memtotal_mb": 4096, "architecture": "x86_64"}


def trusted(value: Any) -> Any:
    """Return a value whose strings Ansible takes for templates, as those of a variables file."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: trusted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [trusted(one) for one in value]
    return value


@functools.cache
def prepare() -> None:
    """Make Ansible find its collections and the project's filters."""
    init_plugin_loader()
    filter_loader.add_directory(str(ROOT / "plugins/filter"))


def role_variables(role: str) -> dict[str, Any]:
    """Return a role's defaults and internal variables."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        path = ROLES / role / part / "main.yml"
        if path.exists():
            variables |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    return variables


def evaluate(role: str, expression: str, **overrides: Any) -> Any:
    """Return what a Jinja expression is within a role; overrides win over the role's variables."""
    prepare()
    directory = ROLES / role
    loader = DataLoader()
    loader.set_basedir(str(directory))
    variables = {
        "ansible_facts": FACTS,
        "ansible_search_path": [str(directory)],
        "inventory_hostname": "host",
        "role_path": str(directory),
        "role_name": role,
        **role_variables(role),
        **trusted(overrides),
    }
    templar = Templar(loader=loader, variables=variables)
    return templar.template(trust_as_template("{{ " + expression + " }}"))


def render(role: str, template: str, **overrides: Any) -> str:
    """Return a role's template rendered with its defaults and the overrides given."""
    return str(evaluate(role, f"lookup('ansible.builtin.template', '{template}')", **overrides))


def load_tasks(path: Path) -> list[dict[str, Any]]:
    """Return the tasks of a file, those in blocks among them, in their order."""

    def flat(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            one
            for task in tasks
            for one in [
                task,
                *(
                    inner
                    for part in ("block", "rescue", "always")
                    for inner in flat(task.get(part) or [])
                ),
            ]
        ]

    return flat(yaml.safe_load(path.read_text()) or [])


def handed_over(name: str, **given: Any) -> Any:
    """Return what a deploy hands to preflight, where it has some variables."""
    play = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())[0]
    (task,) = (
        task
        for block in play["tasks"]
        for task in block.get("block", [])
        if (task.get("ansible.builtin.import_role") or {}).get("name") == "preflight"
    )
    return evaluate("preflight", "handed", handed=task["vars"][name], **given)
