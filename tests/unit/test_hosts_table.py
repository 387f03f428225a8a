"""docs/testing.md says which system each scenario's host is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def scenarios() -> dict[str, str]:
    """Return the system of each scenario's host; a second host of one is none of its own."""
    inventory = yaml.safe_load((ROOT / "molecule/_shared/inventory/hosts.yml").read_text())
    return {
        name: variables["test_host_system"]
        for name, variables in inventory["slipway"]["hosts"].items()
        if "test_beside" not in variables
    }


def test_the_table_is_the_inventory() -> None:
    """A scenario that moves, or is new, moves in the manual."""
    wanted: dict[str, set[str]] = {}
    for scenario, system in scenarios().items():
        wanted.setdefault(system, set()).add(scenario)
    text = (ROOT / "docs/testing.md").read_text()
    rows = re.findall(r"^\|[^|]*`(\w+)` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    assert {system: set(re.findall(r"`(\w+)`", named)) for system, named in rows} == wanted


def test_every_scenario_has_a_host() -> None:
    """And every host a scenario."""
    assert set(scenarios()) == {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
