"""Who holds a port is named, so that the reader knows whom to ask."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.rendering import ROLES, evaluate, handed_over, load_tasks

preflight = importlib.import_module("plugins.filter.preflight")
host = importlib.import_module("plugins.modules.preflight_host")


def container(name: str, port: int | None, address: str = "127.0.0.1", **labels: str) -> Any:
    """Return a container as the engine lists it; labels are those of Slipway."""
    ports = [{"IP": address, "PrivatePort": 80, "PublicPort": port, "Type": "tcp"}] if port else []
    return {
        "Names": [f"/{name}"],
        "Labels": {f"slipway.{key}": value for key, value in labels.items()} or None,
        "Ports": [*ports, {"PrivatePort": 443, "Type": "tcp"}],
    }


SHOP = container("shop-nginx", 8080, project="shop", part="nginx")
OURS = container("example-nginx", 8090, project="example", part="nginx")


@pytest.mark.parametrize(
    ("containers", "bind", "who"),
    [
        ([SHOP], "127.0.0.1", "another Slipway project, shop (its container shop-nginx)"),
        ([OURS, SHOP], "0.0.0.0", "another Slipway project, shop"),  # noqa: S104
        ([container("web", 8080, "::")], "127.0.0.1", "the container web, which is not Slipway's"),
        ([container("web", 8080, "10.0.0.7")], "127.0.0.1", "another program"),
        ([OURS, container("web", None)], "127.0.0.1", "another program"),
        ([container("x-pg", 8080, project="example", part="postgres")], "::1", "another program"),
        (
            [container("x-pg", 8080, project="example", part="postgres")],
            "127.0.0.1",
            "x-pg, a container of this project",
        ),
        ([], "127.0.0.1", "another program (`ss -ltnp` there names it)"),
    ],
)
def test_who_holds_a_port_is_named(containers: list[Any], bind: str, who: str) -> None:
    """Another project by its name, a container by its own; what to do is said for each."""
    task = next(
        task for task in load_tasks(ROLES / "preflight/tasks/host.yml")
        if task["name"] == "host | Refuse a port that is taken"
    )  # fmt: skip
    sentence = evaluate(
        "preflight",
        "said",
        said=task["ansible.builtin.assert"]["fail_msg"],
        item=[{"bind": bind, "port": 8080, "variable": "nginx_http_port"}],
        __preflight_taken=[bind],
        slipway_project="example",
        __preflight_seen={"containers": containers},
    )
    assert sentence.startswith(f"Port 8080 on {bind} of host is taken by {who}")
    assert sentence.endswith("set nginx_http_port to a free port.")


def test_the_front_of_the_project_holds_its_own_ports() -> None:
    """Those are no reason to refuse anything."""
    assert host.ports_held([SHOP, OURS], "example") == {("127.0.0.1", 8090)}


def test_the_engines_own_file_system_counts(tmp_path: Path) -> None:
    """Wherever its images are: by what it says, or by what it will read."""
    said = {"DockerRootDir": "/srv/docker", "DriverStatus": [["Backing Filesystem", "extfs"]]}
    assert host.engine_directories(said, "/nowhere") == ["/srv/docker"]
    said["DriverStatus"] = [["driver-type", "io.containerd.snapshotter.v1"]]
    assert host.engine_directories(said, "/nowhere") == ["/srv/docker", "/var/lib/containerd"]
    daemon = tmp_path / "daemon.json"
    for text, root in (
        ('{"data-root": "/data/docker"}', "/data/docker"),
        ("{}", "/var/lib/docker"),
        ("[]", "/var/lib/docker"),
        ("no JSON", "/var/lib/docker"),
    ):
        daemon.write_text(text)
        assert host.engine_directories({}, str(daemon)) == [root]
    # Where no engine answers it says nothing, and has no containers.
    assert host.ask(str(tmp_path / "nowhere"), "/info") is None


def test_each_file_system_is_measured_once_and_names_its_uses(tmp_path: Path) -> None:
    """A tmpfs is one of its own, and a directory that is missing is one to come."""
    link = tmp_path / "backups"
    link.symlink_to("/dev/shm")  # noqa: S108 (looked at only)
    here, there = host.file_systems(
        [
            (str(tmp_path / "docker"), "the engine", True),
            (str(tmp_path / "not/there/yet"), "the state", False),
            (str(link / "yet/to/come"), "the backups", False),
        ]
    )
    assert (here["uses"], here["engine"]) == (["the engine", "the state"], True)
    assert (there["uses"], there["engine"], there["mount"]) == (["the backups"], False, "/dev/shm")  # noqa: S108
    free = shutil.disk_usage("/dev/shm").free >> 20  # noqa: S108
    assert abs(there["free_mb"] - free) < 64


@pytest.mark.parametrize(
    ("given", "backups"),
    [
        ({"backup_enabled": True, "backup_repository": "local"}, True),
        # From -e, or of a file that says 'yes'.
        ({"backup_enabled": "yes", "backup_repository": "local"}, True),
        ({"backup_enabled": False, "backup_repository": "local"}, False),
        ({"backup_enabled": True, "backup_repository": "s3"}, False),
    ],
)
def test_a_deploy_has_the_directory_of_backups_measured(
    given: dict[str, Any], backups: bool
) -> None:
    """Where there are backups on this host; they may have a file system of their own."""
    found = handed_over(
        "preflight_directories",
        slipway_state_dir="/var/lib/slipway/example",
        backup_directory="/mnt/backups",
        **given,
    )
    assert found == [
        {"path": "/var/lib/slipway/example", "what": "the state in /var/lib/slipway/example"},
        *([{"path": "/mnt/backups", "what": "the backups in /mnt/backups"}] if backups else []),
    ]


def test_what_is_handed_over_is_measured() -> None:
    """By the module, beside the engine."""
    look = load_tasks(ROLES / "preflight/tasks/host.yml")[0]["preflight_host"]
    directories = [{"path": "/mnt/backups", "what": "the backups"}]
    assert (
        evaluate("preflight", "given", given=look["directories"], preflight_directories=directories)
        == directories
    )


def test_a_full_disk_is_refused_by_its_name() -> None:
    """The sentence names what lies there, and what to do."""
    task = next(
        task for task in load_tasks(ROLES / "preflight/tasks/host.yml")
        if task["name"] == "host | Refuse a disk that is nearly full"
    )  # fmt: skip
    given = {
        "item": {
            "mount": "/srv", "free_mb": 12, "engine": False, "uses": ["the backups in /srv/x"],
        },
        "preflight_free_disk_mb": 2048,
    }  # fmt: skip
    parts = task["ansible.builtin.assert"]
    assert evaluate("preflight", parts["that"], **given) is False
    assert evaluate("preflight", "said", said=parts["fail_msg"], **given) == (
        "host has 12 MiB free for the backups in /srv/x (file system /srv) and a deploy needs "
        "2048: make room, or set preflight_free_disk_mb."
    )


def test_the_options_of_a_role_are_read() -> None:
    """The names of all of them tell a variable that no role knows."""
    options = preflight.role_options("lock", str(ROLES))
    assert options["lock_what"]["type"] == "str"
    names = preflight.role_option_names(["lock", "sbom"], str(ROLES))
    assert set(options) | {"sbom_release"} <= set(names)
