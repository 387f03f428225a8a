#!/usr/bin/python
"""Look at what a deploy needs of a host: its system, its engine, free space, and ports."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_host
short_description: Look at what a deploy needs of a host - its system, engine, free space, and ports
description:
  - The file systems are those of the engine, wherever it keeps its images and volumes, and those
    of directories, there or not yet.
  - A port is taken for a moment. What the front of the project publishes is as good as free.
options:
  project:
    description: Name of the project.
    type: str
    required: true
  socket:
    description: Path of the engine's socket.
    type: path
    required: true
  daemon_json:
    description: Path of the engine's configuration, which is read where no engine answers.
    type: path
    default: /etc/docker/daemon.json
  existing:
    description: Whether an engine has to be there, for RV(engine_refusal).
    type: bool
    default: false
  directories:
    description: Directories as C(path), and C(what) is kept there as words of a sentence.
    type: list
    elements: dict
    default: []
  listen:
    description: What has to be free, as C(addresses), C(port) and C(protocols).
    type: list
    elements: dict
    default: []
author: [Slipway]
"""

RETURN = r"""
system: {description: What /etc/os-release says., type: str, returned: always}
engine_refusal:
  description: Why the engine that is there will not do, or an empty string.
  type: str
  returned: always
file_systems:
  description: Each by its mount point, with its free space and what it is for.
  type: list
  returned: always
containers: {description: Those that run, as the engine lists them., type: list, returned: always}
ports: {description: What host_ports says of each O(listen)., type: list, returned: always}
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import engine_look, ports
from ansible.module_utils.slipway.engine import ask

ROOT = "/var/lib/docker"
# Where an engine that leaves images to containerd keeps them.
CONTAINERD = "/var/lib/containerd"


def engine_directories(said: dict[str, Any], daemon_json: str) -> list[str]:
    """Return where an engine keeps images and volumes, or will."""
    if said.get("DockerRootDir"):
        driver = dict(one for one in said.get("DriverStatus") or [] if len(one) == 2)
        snapshotter = str(driver.get("driver-type", "")).startswith("io.containerd.snapshotter")
        return [str(said["DockerRootDir"]), *([CONTAINERD] if snapshotter else [])]
    try:
        settings = json.loads(Path(daemon_json).read_text())
        root = settings.get("data-root") or settings.get("graph")
    except (OSError, ValueError, AttributeError):
        root = None
    return [str(root or ROOT)]


def there(path: str) -> Path:
    """Return a path, or the nearest directory above it that is there."""
    found = Path(os.path.realpath(path))
    while not found.exists():
        found = found.parent
    return found


def mount_of(path: Path) -> Path:
    """Return where the file system of a path is mounted."""
    while path != path.parent and path.stat().st_dev == path.parent.stat().st_dev:
        path = path.parent
    return path


def file_systems(uses: Iterable[tuple[str, str, bool]]) -> list[dict[str, Any]]:
    """Return the file systems of paths, each once with all that it is for."""
    found: dict[int, dict[str, Any]] = {}
    for path, what, engine in uses:
        place = there(path)
        told = os.statvfs(place)
        one = found.setdefault(
            place.stat().st_dev,
            {
                "mount": str(mount_of(place)),
                "free_mb": told.f_bavail * told.f_frsize >> 20,
                "uses": [],
                "engine": False,
            },
        )
        one["uses"] += [] if what in one["uses"] else [what]
        one["engine"] |= engine
    return list(found.values())


def ports_held(containers: Iterable[Mapping[str, Any]], project: str) -> set[tuple[str, int]]:
    """Return the addresses and ports that the front of a project publishes."""
    front = {"slipway.project": project, "slipway.part": "nginx"}
    return {
        (port.get("IP", ""), int(port["PublicPort"]))
        for container in containers
        if front.items() <= (container.get("Labels") or {}).items()
        for port in container.get("Ports") or []
        if port.get("PublicPort")
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "socket": {"type": "path", "required": True},
            "daemon_json": {"type": "path", "default": "/etc/docker/daemon.json"},
            "existing": {"type": "bool", "default": False},
            "directories": {"type": "list", "elements": "dict", "default": []},
            "listen": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    about = Path("/etc/os-release")
    said = ask(given["socket"], "/info", patience=30) or {}
    containers = ask(given["socket"], "/containers/json", patience=30) or []
    held = ports_held(containers, given["project"])
    module.exit_json(
        changed=False,
        system=about.read_text() if about.exists() else "",
        engine_refusal=engine_look.refusal(
            engine_look.look(given["socket"], engine_look.MARKER, said), given["existing"]
        ),
        file_systems=file_systems(
            [
                (path, f"the engine in {path}", True)
                for path in engine_directories(said, given["daemon_json"])
            ]
            + [(one["path"], one["what"], False) for one in given["directories"]]
        ),
        containers=containers,
        ports=[
            ports.judge(one["addresses"], int(one["port"]), one["protocols"], held)
            for one in given["listen"]
        ],
    )


if __name__ == "__main__":
    main()
