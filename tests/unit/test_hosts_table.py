"""docs/testing.md says which system each scenario's host is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_table_is_the_inventory() -> None:
    """A scenario that moves, or is new, moves in the manual."""
    inventory = yaml.safe_load((ROOT / "molecule/_shared/inventory/hosts.yml").read_text())
    wanted: dict[str, set[str]] = {}
    for scenario, variables in inventory["slipway"]["hosts"].items():
        wanted.setdefault(variables["test_host_system"], set()).add(scenario)
    text = (ROOT / "docs/testing.md").read_text()
    rows = re.findall(r"^\|[^|]*`(\w+)` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    assert {system: set(re.findall(r"`(\w+)`", named)) for system, named in rows} == wanted


def test_every_scenario_has_a_host() -> None:
    """And every host a scenario."""
    inventory = yaml.safe_load((ROOT / "molecule/_shared/inventory/hosts.yml").read_text())
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    assert set(inventory["slipway"]["hosts"]) == scenarios
