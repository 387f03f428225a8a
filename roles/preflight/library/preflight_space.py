#!/usr/bin/python
"""Tell the free space of the file systems that a deploy writes to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_space
short_description: Tell the free space of the file systems that a deploy writes to
description:
  - Those of the engine, wherever it keeps its images and volumes, and those of directories, there
    or not yet.
options:
  socket:
    description: Path of the engine's socket.
    type: path
    required: true
  daemon_json:
    description: Path of the engine's configuration, which is read where no engine answers.
    type: path
    default: /etc/docker/daemon.json
  directories:
    description: Directories as C(path), and C(what) is kept there as words of a sentence.
    type: list
    elements: dict
    default: []
author: [Slipway]
"""

RETURN = r"""
file_systems:
  description: Each by its mount point, with its free space and what it is for.
  type: list
  returned: always
"""

import http.client
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.engine_api import SocketConnection

ROOT = "/var/lib/docker"
# Where an engine that leaves images to containerd keeps them.
CONTAINERD = "/var/lib/containerd"


def info(path: str) -> dict[str, Any]:
    """Return what the engine says of itself, nothing where none answers."""
    connection = SocketConnection(path, 30)
    try:
        connection.request("GET", "/info")
        answer = connection.getresponse()
        said = json.loads(answer.read()) if answer.status == 200 else {}
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    return said if isinstance(said, dict) else {}


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


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "required": True},
            "daemon_json": {"type": "path", "default": "/etc/docker/daemon.json"},
            "directories": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    engine = engine_directories(info(given["socket"]), given["daemon_json"])
    module.exit_json(
        changed=False,
        file_systems=file_systems(
            [(path, f"the engine in {path}", True) for path in engine]
            + [(one["path"], one["what"], False) for one in given["directories"]]
        ),
    )


if __name__ == "__main__":
    main()
