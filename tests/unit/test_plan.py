"""Which roles of a deploy are entered, and what on a host makes them so."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.rendering import load_tasks

ROOT = Path(__file__).parents[2]
action = importlib.import_module("plugins.action.slipway_plan")
look = importlib.import_module("plugins.modules.slipway_look")

ROLES = yaml.safe_load((ROOT / "playbooks/vars/plan.yml").read_text())["__slipway_roles"]
WATCH = yaml.safe_load((ROOT / "playbooks/vars/watch.yml").read_text())["__slipway_watch"]
# Asks for something now, so it is no state: with it the role is entered.
ASKS = {"base_images_rebuild"}
# The way to an image, kept nowhere: a job's token, new in each job, is no change of what stands.
LOGIN = {"flask_registry_username", "flask_registry_password"}


def options_of(directory: str) -> dict[str, Any]:
    """Return what a role takes."""
    specs = yaml.safe_load((ROOT / f"roles/{directory}/meta/argument_specs.yml").read_text())
    return dict(specs["argument_specs"]["main"]["options"])


def variables() -> list[tuple[str, str]]:
    """Return each variable that a user may set, with the role that goes by it."""
    return [
        (role, name)
        for role, said in ROLES.items()
        for directory in said["directories"]
        for name in options_of(directory)
        if name not in said.get("passed", []) and name != "slipway_project"
    ]


class Loader:
    """Reads YAML as Ansible's loader does."""

    def load_from_file(self, path: str) -> Any:
        """Return what a file holds."""
        return yaml.safe_load(Path(path).read_text())


class Templar:
    """Takes each value as it stands."""

    def template(self, value: Any) -> Any:
        """Return it."""
        return value


def inputs(**others: Any) -> dict[str, dict[str, str]]:
    """Return what the roles are given where all variables have one value, but for some."""
    given = dict.fromkeys([name for _, name in variables()], "as it was") | others
    plan = object.__new__(action.ActionModule)
    plan._loader, plan._templar = Loader(), Templar()
    return {
        role: plan._inputs(ROOT, "shared", {**said, "given": {}}, "salt", given)
        for role, said in ROLES.items()
    }


KNOWN = {role: {"inputs": said} for role, said in inputs().items()}


def test_nothing_is_entered_where_nothing_differs() -> None:
    """Neither in what is given nor on the host."""
    assert action.plan(ROLES, inputs(), KNOWN, {}, full=False) == {}


@pytest.mark.parametrize(("role", "name"), variables(), ids=lambda value: str(value))
def test_a_changed_variable_enters_its_role(role: str, name: str) -> None:
    """Whichever it is: the plan names both."""
    entered = action.plan(ROLES, inputs(**{name: "another"}), KNOWN, {}, full=False)
    assert f"{name} has changed" in entered[role]


def test_the_play_itself_passes_what_the_plan_leaves_out() -> None:
    """A variable of a user's in that list would never have an effect after the first deploy."""
    passed: set[str] = set()
    tasks = list(load_tasks(ROOT / "playbooks/site.yml")[0]["tasks"])
    while tasks:
        task = tasks.pop()
        passed |= set(task.get("vars") or {})
        tasks += task.get("block", []) + task.get("always", [])
    for role, said in ROLES.items():
        left_out = set(said.get("passed", [])) - ASKS - LOGIN - passed
        # Of the role `upgrade`, and of the playbooks' vars.
        assert left_out <= {"postgres_next_version", "flask_schema_command"}, role


def test_every_role_of_the_plan_is_watched() -> None:
    """What is not looked at would never be seen to have drifted."""
    assert list(WATCH) == list(ROLES)


def test_another_program_enters_the_role(tmp_path: Path) -> None:
    """A newer Slipway may do other things with the same variables."""
    for name in ("roles/one/tasks", "roles/one/__pycache__"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "roles/one/tasks/main.yml").write_text("[]")
    before = action.files_digest(tmp_path, ["roles/one"])
    (tmp_path / "roles/one/__pycache__/x.pyc").write_text("of another Python")
    assert action.files_digest(tmp_path, ["roles/one"]) == before
    (tmp_path / "roles/one/tasks/main.yml").write_text("[{}]")
    assert action.files_digest(tmp_path, ["roles/one"]) != before


def test_a_drift_enters_the_role_and_those_that_follow() -> None:
    """With another engine each container is looked at once more."""
    drift = {"docker": ["the engine has changed"]}
    entered = action.plan({**ROLES, "nginx": {"after": ["docker"]}}, inputs(), KNOWN, drift, False)
    assert entered["docker"] == ["the engine has changed"]
    assert list(entered) == ["docker", "base_images", "postgres", "flask", "nginx", "sbom"]
    assert entered["flask"] == ["it follows docker, base_images, postgres"]


def test_a_role_that_did_not_end_is_entered() -> None:
    """Its record was taken out when it began."""
    known = {role: said for role, said in KNOWN.items() if role != "nginx"}
    entered = action.plan({**ROLES, "nginx": {}}, inputs(), known, {}, full=False)
    assert entered["nginx"] == ["it has not run to its end on this host yet"]


def test_all_roles_are_entered_on_demand() -> None:
    """The plan saves time and is never the only truth."""
    assert list(action.plan(ROLES, inputs(), KNOWN, {}, full=True)) == list(ROLES)


def test_what_is_asked_for_is_done_though_nothing_differs() -> None:
    """A rebuild and a change of the password are no state: each run with them does them."""
    asked = {"postgres": "rotate_password asks", "base_images": ""}
    entered = action.plan(ROLES, inputs(), KNOWN, {}, False, asked)
    assert entered["postgres"] == ["rotate_password asks"]
    assert "base_images" not in entered
    assert "flask" in entered


def test_a_plan_is_said_in_words() -> None:
    """Nothing is said on a host without a deploy, where all of it is new."""
    assert action.said({}, KNOWN) == "Nothing is to be done."
    assert action.said({"nginx": ["a"]}, {}) == ""
    reasons = [str(number) for number in range(action.SHOWN + 2)]
    assert action.said({"nginx": reasons}, KNOWN).endswith("; and 2 more")


def test_checksums_of_inputs_are_too_short_to_try_passwords_with() -> None:
    """They leave the host, with their salt."""
    assert len(action.digest("salt", "secret")) == action.DIGITS <= 6


@pytest.fixture
def eye(tmp_path: Path) -> Any:
    """Return what is looked with, where no engine answers."""
    return look.Eye("salt", str(tmp_path / "no.sock"))


def seen(eye: Any, path: Path) -> dict[str, str]:
    """Return what is seen of a path."""
    return dict(eye.look({"files": [str(path)]}, []))


def test_a_file_that_somebody_changed_is_seen(eye: Any, tmp_path: Path) -> None:
    """Its content, mode, end and beginning, and where a link leads; not what Python leaves."""
    root = tmp_path / "conf"
    (root / "__pycache__").mkdir(parents=True)
    (root / "one").write_text("1")
    (root / "two").symlink_to("one")
    before = seen(eye, root)
    (root / "__pycache__/x.pyc").write_text("")
    (root / ".one.new").write_text("half")
    assert seen(eye, root) == before
    (root / "one").write_text("2")
    assert look.differences(before, seen(eye, root)) == [f"file {root}/one has changed"]
    (root / "one").write_text("1")
    (root / "one").chmod(0o600)
    assert look.differences(before, seen(eye, root)) == [f"file {root}/one has changed"]
    (root / "one").chmod(0o644)
    (root / "two").unlink()
    (root / "two").symlink_to("/etc/passwd")
    (root / "three").write_text("")
    assert look.differences(before, seen(eye, root)) == [
        f"file {root}/two has changed", f"file {root}/three is new",
    ]  # fmt: skip
    (root / "one").unlink()
    assert f"file {root}/one is gone" in look.differences(before, seen(eye, root))


def test_what_is_secret_is_no_part_of_what_was_seen(eye: Any, tmp_path: Path) -> None:
    """Neither it nor a checksum that anybody could make of it."""
    (tmp_path / "password").write_text("xyzzy")
    found = json.dumps(seen(eye, tmp_path / "password"))
    other = look.Eye("another salt", str(tmp_path / "no.sock"))
    assert "xyzzy" not in found
    assert seen(other, tmp_path / "password") != json.loads(found)


def test_a_directory_alone_is_not_read(eye: Any, tmp_path: Path) -> None:
    """A pattern that ends in a slash names it; static files are many."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static/one").write_text("")
    found = eye.look({"files": [f"{tmp_path}/static/"]}, [])
    assert list(found) == [f"file {tmp_path}/static"]


def test_what_a_container_puts_into_its_volume_leads_nowhere(eye: Any, tmp_path: Path) -> None:
    """Its links are seen by their words, and only a cluster that lies there is one."""
    place, outside = tmp_path / "volume", tmp_path / "outside"
    (outside / "docker").mkdir(parents=True)
    (outside / "docker/PG_VERSION").write_text("17\n")
    eye.listed["volumes"]["db"] = str(place)

    def digest(clusters: list[str], links: dict[str, str]) -> str:
        seen = eye.look({"volumes": ["db"]}, [])
        assert seen == {"volume db": eye.digest([str(place), links, clusters])}
        return str(seen["volume db"])

    # Gone, or not yet there.
    digest([], {})
    (place / "17/docker").mkdir(parents=True)
    # As one that belongs to the user of a container: others than root write there.
    place.chmod(0o777)
    (place / "notes").write_text("")
    (place / "17/docker/PG_VERSION").write_text("17\n")
    before = digest(["17/docker"], {})
    for name in ("16", "18"):
        (place / name).mkdir()
    (place / "15").symlink_to(outside)
    (place / "16/docker").symlink_to(outside / "docker")
    (place / "18/docker").mkdir()
    (place / "18/docker/PG_VERSION").symlink_to(outside / "docker/PG_VERSION")
    (place / "current.sock").symlink_to("a.sock")
    after = digest(["17/docker"], {"15": str(outside), "current.sock": "a.sock"})
    assert after != before
    # Not even a name of what is outside comes of it.
    (outside / "docker/PG_VERSION").unlink()
    assert digest(["17/docker"], {"15": str(outside), "current.sock": "a.sock"}) == after


def test_a_container_that_is_gone_is_one_thing() -> None:
    """Not each of its parts."""
    parts = {f"{part} of container x": "a" for part in ("image", "state", "limits")}
    assert look.differences(parts, {}) == ["container x is gone"]
    stopped = {**parts, "state of container x": "stopped"}
    assert look.differences(parts, stopped) == ["state of container x is stopped"]


def test_the_record_is_of_roots_alone_and_counts(tmp_path: Path) -> None:
    """What begins is taken out; who finds another number has looked before another run ended."""
    path = tmp_path / "state/plan.json"
    record = look.Record(path, "of the play")
    record.write({"nginx": {"seen": {}}})
    assert path.stat().st_mode & 0o777 == 0o600
    again = look.Record(path, "another")
    assert again.data["salt_inputs"] == "of the play"
    assert (again.data["generation"], list(again.roles)) == (1, ["nginx"])
    again.write({})
    assert look.Record(path, "").data["generation"] == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    """Then every role is entered."""
    (tmp_path / "plan.json").write_text(text)
    assert look.Record(tmp_path / "plan.json", "").roles == {}


def test_facts_are_those_of_ansible() -> None:
    """By the names that the roles use; a host without systemd says so."""
    found = look.facts()
    assert found["ansible_processor_nproc"] == len(os.sched_getaffinity(0))
    assert found["ansible_service_mgr"] in ("systemd", "service")
    assert found["ansible_memtotal_mb"] > 100
    assert found["ansible_distribution"] in ("Debian", "Ubuntu")
