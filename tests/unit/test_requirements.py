"""The lock files of the tools: one for every Python, with hashes, from no particular index."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def requirements(name: str) -> list[Requirement]:
    """Return the requirements of a lock file."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if re.match(r"[a-z0-9]", line)]


def pins(name: str, python: str) -> dict[str, str]:
    """Return what a lock file installs on Linux with a version of Python."""
    here = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux"}
    wanted = [one for one in requirements(name) if not one.marker or one.marker.evaluate(here)]
    found = {one.name: str(one.specifier) for one in wanted}
    assert len(found) == len(wanted), "a package is there twice"
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_names_no_index(name: str) -> None:
    """It is as good behind somebody's mirror."""
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-", text.replace("    --hash=sha256:", ""), re.M)
    for block in re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]:
        assert re.match(r"\S+==\S+ .*\\\n    --hash=sha256:", block), block[:80]


@pytest.mark.parametrize("python", PYTHONS)
def test_each_python_has_its_line_of_ansible(python: str) -> None:
    """ansible-core 2.19 is the last one for Python 3.11; the tests run on what users have."""
    tools, tests = pins("tools.txt", python), pins("test.txt", python)
    line = ("==12.", "==2.19.") if python == "3.11" else ("==14.", "==2.21.")
    assert tools["ansible"].startswith(line[0])
    assert tools["ansible-core"].startswith(line[1])
    assert tools.items() <= tests.items()


def test_the_tests_run_on_what_the_lock_says() -> None:
    """An environment of another lock proves nothing."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"=={version('ansible-core')}" == pins("test.txt", python)["ansible-core"]


def test_requirements_for_an_ansible_of_your_own_take_what_is_tested() -> None:
    """The collections of each line are in the ranges of requirements.yml."""
    wanted = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert {one["name"] for one in wanted} == {"community.docker", "community.crypto"}
    for one in wanted:
        place = Path(import_module(f"ansible_collections.{one['name']}").__path__[0])
        there = json.loads((place / "MANIFEST.json").read_text())["collection_info"]["version"]
        assert there in SpecifierSet(one["version"]), one["name"]
