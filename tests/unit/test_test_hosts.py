"""What test hosts are made from: the suite and Molecule share it, and make what is missing."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import yaml

from tests import hosts
from tests.hosts import ARCHIVES, BASE_LAYER, LABEL, STAGES, SYSTEMS, Wanted

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "molecule/_shared/inventory"
NGINX = Wanted(("base-images.tar",), (("bookworm", "engine"),))


class Machine:
    """An engine that says which images it has, a cache, and the calls that would make something."""

    def __init__(self, cache: Path) -> None:
        """Begin with nothing."""
        self.cache = cache
        self.images: dict[str, str] = {}
        self.calls: list[dict[str, list[object]]] = []
        self.code = 0

    def docker(self, *command: str) -> str:
        """Answer `inspect` and `images` from the names that are there."""
        if command[0] == "inspect":
            assert command[1] == f"--format={LABEL}"
            return self.images.get(command[2], "")
        assert command[:2] == ("images", "-q")
        return "id" if command[2] in self.images else ""

    def call(self, *command: str, **environment: str) -> int:
        """Note what is to be made, and make it unless this machine fails."""
        (words,) = (word for word in command if word.startswith("--extra-vars="))
        asked = json.loads(words.removeprefix("--extra-vars="))
        self.calls.append(asked)
        if not self.code:
            for archive in asked["ready_archives"]:
                (self.cache / archive).write_text("")
            for system, name in BASE_LAYER.items():
                if name in asked["ready_archives"]:
                    self.images[f"slipway/debian:{system}"] = ""
            for system, stage in asked["ready_hosts"]:
                self.images[hosts.image(system, stage)] = environment["SLIPWAY_TEST_RECIPE"]
        return self.code


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine without anything, in the place of this one."""
    one = Machine(tmp_path)
    monkeypatch.setattr(hosts, "CACHE", tmp_path)
    monkeypatch.setattr(hosts, "docker", one.docker)
    monkeypatch.setattr(hosts, "recipe", lambda: "first")
    return one


def test_a_scenario_gets_what_it_needs(machine: Machine) -> None:
    """And the archive on the way to which the base layer of its system is made; once."""
    assert hosts.make(NGINX, machine.call) == ""
    assert machine.calls == [
        {
            "ready_archives": ["base-images.tar", "postgres-15.tar"],
            "ready_hosts": [["bookworm", "engine"]],
        }
    ]
    assert hosts.make(NGINX, machine.call) == ""
    assert len(machine.calls) == 1


def test_the_suite_makes_the_rest(machine: Machine) -> None:
    """What Molecule has made before is not made again."""
    hosts.make(NGINX, machine.call)
    hosts.make(hosts.everything(), machine.call)
    assert machine.calls[1]["ready_archives"] == [
        "postgres-18.tar", "registry.tar", "official.tar",
    ]  # fmt: skip
    assert ["bookworm", "engine"] not in machine.calls[1]["ready_hosts"]
    assert len(machine.calls[1]["ready_hosts"]) == len(SYSTEMS) * len(STAGES) - 1


def test_another_recipe_makes_all_anew(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive of the older one would be taken for the new one."""
    hosts.make(NGINX, machine.call)
    monkeypatch.setattr(hosts, "recipe", lambda: "second")
    machine.code = 1
    assert "could not be made" in hosts.make(NGINX, machine.call)
    assert machine.calls[1] == machine.calls[0]
    assert not list(machine.cache.glob("*.tar"))
    machine.code = 0
    assert hosts.make(NGINX, machine.call) == ""
    assert hosts.missing(NGINX, "second") == Wanted((), ())


def test_an_emptied_engine_gets_its_base_layer_back(machine: Machine) -> None:
    """The archives are in the cache, and the host's image is made on an image of the engine."""
    hosts.make(NGINX, machine.call)
    machine.images.clear()
    assert hosts.missing(NGINX, "first") == Wanted(("postgres-15.tar",), NGINX.hosts)


def test_the_official_images_need_their_base_layers(machine: Machine) -> None:
    """They are built on Debian 13 and the next one."""
    del machine
    assert hosts.missing(Wanted(("official.tar",), ()), "first").archives == (
        "base-images.tar", "postgres-18.tar", "official.tar",
    )  # fmt: skip


def test_an_image_of_somebody_else_needs_no_base_layer(machine: Machine) -> None:
    """It is pulled."""
    del machine
    ubuntu = Wanted(("base-images.tar",), (("ubuntu:24.04", "engine"),))
    assert hosts.missing(ubuntu, "first") == ubuntu
    assert hosts.image("ubuntu:24.04", "engine") == "slipway-test/host:ubuntu-24.04-engine"


def test_the_words_of_create() -> None:
    """A system has dashes, perhaps; a stage has none."""
    assert hosts.host("ubuntu-24.04-bare") == ("ubuntu-24.04", "bare")
    with pytest.raises(argparse.ArgumentTypeError):
        hosts.host("bookworm")


def archives_of(variables: dict[str, object]) -> set[str]:
    """Return the archives that variables name as files of the cache."""
    return set(re.findall(r"\{\{ test_host_cache \}\}/([\w.-]+)", json.dumps(variables)))


@pytest.mark.parametrize(
    "path",
    sorted(INVENTORY.glob("*_vars/*.yml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_the_inventory_asks_for_the_archives_that_it_names(path: Path) -> None:
    """A scenario by itself would else have a host without its images."""
    variables = yaml.safe_load(path.read_text())
    assert archives_of(variables) <= set(variables.get("test_host_archives", ["base-images.tar"]))
    assert set(variables.get("test_host_archives", [])) <= set(ARCHIVES)


def test_the_default_scenario_is_there() -> None:
    """`molecule test` names none."""
    scenario = yaml.safe_load((ROOT / "molecule/default/molecule.yml").read_text())
    assert scenario["scenario"]["name"] == "default"


def test_a_run_makes_what_its_scenarios_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images in the official layout take two minutes, and few scenarios want them."""
    monkeypatch.delenv("SLIPWAY_TEST_HOST", raising=False)
    assert hosts.needed_by(["nginx"]) == NGINX
    assert hosts.needed_by(["docker", "nginx"]).hosts == (
        ("bookworm", "bare"), ("bookworm", "engine"),
    )  # fmt: skip
    assert "official.tar" in hosts.needed_by(["registry"]).archives
    for scenario in ("base_images", "ship"):
        assert "registry.tar" in hosts.needed_by([scenario]).archives
    assert {system for system, _ in hosts.needed_by(["ship"]).hosts} == {"bookworm", "trixie"}
    monkeypatch.setenv("SLIPWAY_TEST_HOST", "forky")
    assert hosts.needed_by(["nginx"]).hosts == (("forky", "engine"),)


def test_nothing_is_asked_of_the_engine_for_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs the base images, and no image of a host."""
    monkeypatch.delenv("SLIPWAY_TEST_HOST", raising=False)
    assert hosts.needed_by(["machine"]) == Wanted(("base-images.tar",), ())


def test_all_scenarios_together_need_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `python -m tests.hosts` makes is no more than somebody wants."""
    monkeypatch.delenv("SLIPWAY_TEST_HOST", raising=False)
    scenarios = [path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")]
    assert set(hosts.needed_by(scenarios).archives) == set(ARCHIVES)
    assert set(hosts.needed_by(scenarios).hosts) <= set(hosts.everything().hosts)
