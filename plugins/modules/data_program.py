#!/usr/bin/python
"""Put the program that works on a project's data onto the host, and look at the data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: data_program
short_description: Put the program that works on a project's data onto the host
description:
  - Writes the program's files and its configuration where they differ, in one go.
  - Has systemd run it at each start of the host, where a unit is given.
  - Tells whether the database's files are there, whether an operation on them was killed, and
    whether a change of the password is not finished.
options:
  directory:
    description: Directory of the program.
    type: path
    required: true
  files:
    description: The program's files, name to text.
    type: dict
    required: true
  config_file:
    description: File of the configuration.
    type: path
    required: true
  config:
    description: What it holds.
    type: dict
    required: true
  unit:
    description: Name of a systemd service for the start of the host, empty without systemd.
    type: str
    default: ""
  unit_text:
    description: What that holds.
    type: str
    default: ""
author: [Slipway]
"""

RETURN = r"""
data_there:
  description: Whether the volume holds a database of the configured version.
  type: bool
  returned: success
killed:
  description: The operation that was killed, empty when there was none.
  type: str
  returned: success
rotation:
  description: The stage of a change of the password that is not finished, empty when there is none.
  type: str
  returned: success
"""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import volume


def write(path: Path, text: str, mode: int, check: bool) -> bool:
    """Write a file where it differs; return whether it did."""
    if volume.is_file(path) and volume.read(path) == text:
        return False
    if not check:
        volume.replace(path, text, mode)
    return True


def at_boot(name: str, text: str, check: bool) -> bool:
    """Have systemd run a service at each start of the host; return whether that is new.

    The link is what `systemctl enable` makes of `WantedBy=multi-user.target`.
    """
    units = Path("/etc/systemd/system")
    link = units / "multi-user.target.wants" / name
    written = write(units / name, text, 0o644, check)
    enabled = link.is_symlink()
    if not check:
        if not enabled:
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(units / name)
        if written or not enabled:
            subprocess.run(["systemctl", "daemon-reload"], check=True)
    return written or not enabled


def mountpoint(volume: str) -> Path | None:
    """Return where a volume lies; none where there is no engine or no volume."""
    try:
        found = subprocess.run(
            ["docker", "volume", "inspect", "--format={{.Mountpoint}}", volume],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return None
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def noted(path: Path, name: str) -> str:
    """Return what a journal of the program says; nothing when there is none."""
    return str(json.loads(volume.read(path))[name]) if volume.exists(path) else ""


def killed(own: Path, project: str, locks: Path = Path("/run/slipway")) -> str:
    """Return the operation that left a journal and runs no more; nothing when there is none.

    One that runs holds the lock of its kind.
    """
    for name, kind in (("operation.json", "data"), ("operation.repository.json", "repository")):
        verb = noted(own / name, "verb")
        if verb and not held(locks / f"{project}.{kind}.lock"):
            return verb
    # It made its container and came no further.
    return "upgrade" if (own / "next.json").exists() else ""


def held(path: Path) -> bool:
    """Return whether somebody holds a lock."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "config_file": {"type": "path", "required": True},
            "config": {"type": "dict", "required": True},
            "unit": {"type": "str", "default": ""},
            "unit_text": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    package = Path(given["directory"]) / "slipway_data"
    check = module.check_mode
    changed = [
        write(package / name, text.rstrip("\n") + "\n", 0o644, check)
        for name, text in given["files"].items()
    ]
    text = json.dumps(given["config"], indent=1, sort_keys=True) + "\n"
    changed.append(write(Path(given["config_file"]), text, 0o600, check))
    if given["unit"]:
        changed.append(at_boot(given["unit"], given["unit_text"], check))
    if given["config"].get("backup") and not check:
        # The log of the container goes with it when Postgres gets another one.
        subprocess.run(
            [sys.executable, "-m", "slipway_data", given["config_file"], "remember"],
            cwd=given["directory"], capture_output=True, check=False,
        )  # fmt: skip
    there = mountpoint(given["config"]["volume"])
    own = Path(given["config"]["state_dir"]) / "data"
    module.exit_json(
        changed=any(changed),
        data_there=bool(there and volume.is_cluster(there / given["config"]["version"] / "docker")),
        killed=killed(own, given["config"]["project"]),
        rotation=noted(own / "rotation.json", "stage"),
    )


if __name__ == "__main__":
    main()
