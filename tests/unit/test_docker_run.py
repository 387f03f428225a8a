"""What is tried in a throw-away container runs with the options of the real one."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from plugins.filter.docker_run import container_options, docker_run_options
from tests.unit.rendering import ROLES, evaluate

# Of the real container, and of no use to one that only looks at a file.
NOT_TRIED = {
    "name", "image", "pull", "state", "debug", "command", "env", "labels", "networks", "etc_hosts",
    "published_ports", "restart_policy", "stop_signal", "stop_timeout", "log_driver", "log_options",
    "healthcheck", "healthy_wait_timeout", "comparisons",
}  # fmt: skip
NAMES = {
    "slipway_project": "shop",
    "slipway_config_dir": "/etc/slipway/shop",
    "slipway_state_dir": "/var/lib/slipway/shop",
    "slipway_front_network": "shop-front",
    "nginx_sockets_volume": "shop_sockets",
    "nginx_writable": ["/srv/put"],
    "postgres_writable": ["/srv/put"],
    "__nginx_image_facts": {"stdout": "101 102", "stdout_lines": ["101 102"]},
}


def container(role: str) -> dict[str, Any]:
    """Return the options of the role's container, as its task gives them."""
    tasks = yaml.safe_load((ROLES / role / "tasks/run.yml").read_text())
    found = [
        task["community.docker.docker_container"]
        for task in tasks
        if "image" in task.get("community.docker.docker_container", {})
    ]
    return dict(found[0])


@pytest.mark.parametrize("role", ["nginx", "postgres"])
def test_every_limit_of_the_container_comes_from_the_one_source(role: str) -> None:
    """An option that stands in the task alone would be missing where a configuration is tried."""
    confined = evaluate(role, f"__{role}_confined", **NAMES)
    for option, value in container(role).items():
        if option in NOT_TRIED or (role == "postgres" and option == "mounts"):
            continue
        assert str(value).strip() == f"{{{{ __{role}_confined.{option} }}}}", option
        assert option in confined


@pytest.mark.parametrize(
    ("role", "task"), [("nginx", "configure"), ("nginx", "maintenance"), ("postgres", "configure")]
)
def test_what_checks_a_file_is_the_container_that_will_read_it(role: str, task: str) -> None:
    """Every `docker run` of a `validate` takes the options from the same source."""
    text = (ROLES / role / f"tasks/{task}.yml").read_text()
    trials = re.findall(r"validate: >-\n((?: {10,}.*\n|      .*\n)+)", text)
    trials = [one for one in trials if "docker run" in one or "__nginx_try" in one]
    assert trials
    for trial in trials:
        assert "__nginx_try" in trial or f"__{role}_confined | docker_run_options" in trial
        assert "--user" not in trial
        assert "--tmpfs" not in trial


def test_a_tmpfs_is_its_users_by_number() -> None:
    """Seen with runc 1.1.5: a mode alone gives way to that of the image's directory."""
    words = shlex.split(evaluate("nginx", "__nginx_try", **NAMES))
    assert "--tmpfs=/run:size=1m,mode=0755,uid=101,gid=102" in words
    assert "--tmpfs=/srv/put:size=64m,mode=1777,uid=101,gid=102" in words
    assert "--user=101:102" in words
    assert "--network=shop-front" in words
    assert evaluate("postgres", "__postgres_confined.tmpfs", postgres_writable=["/srv/put"])[
        1:
    ] == [
        "/srv/put:size=64m,mode=1777,uid=999,gid=999",
        "/var/lib/postgresql/data:size=64k,mode=0555",
    ]
    assert evaluate("flask", "__flask_runtime.tmpfs", flask_writable=["/srv/put"])[1:] == [
        "/srv/put:size=448m,mode=1777,uid=10001,gid=10001"
    ]


def test_options_become_arguments() -> None:
    """Each kind of value has its form."""
    assert docker_run_options(
        {
            "user": "1:2",
            "read_only": True,
            "cap_drop": ["ALL"],
            "sysctls": {"a.b": "0"},
            "tmpfs": ["/tmp:mode=1777"],  # noqa: S108 (the container's own)
            "mounts": [
                {"type": "bind", "source": "/a", "target": "/b", "read_only": True},
                {"type": "volume", "source": "c", "target": "/d"},
            ],
            "pids_limit": 5,
        }
    ) == [
        "--user=1:2",
        "--read-only",
        "--cap-drop=ALL",
        "--sysctl=a.b=0",
        "--tmpfs=/tmp:mode=1777",
        "--mount=type=bind,source=/a,target=/b,readonly",
        "--mount=type=volume,source=c,target=/d",
        "--pids-limit=5",
    ]
    assert docker_run_options({"read_only": False}) == []


def test_an_option_is_never_left_out() -> None:
    """A trial without it would prove nothing about the real one."""
    with pytest.raises(ValueError, match="does not know the option devices"):
        docker_run_options({"devices": ["/dev/null"]})


# As the engine tells of a front.
FRONT = {
    "Config": {"User": "101:102"},
    "HostConfig": {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
        "Tmpfs": {"/run": "size=1m,mode=0755,uid=101,gid=102"},
        "Memory": 134217728,
        "PidsLimit": 100,
        "NanoCpus": 0,
    },
    "Mounts": [
        {"Type": "bind", "Source": "/etc/shop", "Destination": "/etc/nginx/slipway", "RW": False},
        {"Type": "volume", "Name": "shop_sockets", "Destination": "/run/slipway", "RW": False},
        {"Type": "tmpfs", "Source": "", "Destination": "/run", "RW": True},
    ],
}  # fmt: skip


def test_maintenance_is_tried_with_what_the_front_has() -> None:
    """The verb knows no variable of a deploy: no facts, nothing that the play passes."""
    tasks = yaml.safe_load((ROLES / "nginx/tasks/maintenance.yml").read_text())
    (task,) = [one for one in tasks if "__nginx_confined" in one.get("vars", {})]
    words = shlex.split(
        evaluate(
            "nginx", "__nginx_try", ansible_facts={}, slipway_project="shop",
            slipway_front_network="shop-front", __nginx_front={"container": FRONT}, **task["vars"],
        )
    )  # fmt: skip
    assert words[:4] == ["docker", "run", "--rm", "--pull=never"]
    assert words[4:-1] == ["--network=shop-front", *docker_run_options(container_options(FRONT))]
    assert "--tmpfs=/run:size=1m,mode=0755,uid=101,gid=102" in words
    assert "--mount=type=volume,source=shop_sockets,target=/run/slipway,readonly" in words
    assert not [word for word in words if word.startswith("--cpus")]
