#!/usr/bin/python
"""Put the program that works on a project's data onto the host, and look at the data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: data_program
short_description: Put the program that works on a project's data onto the host
description:
  - Writes the program's files and its configuration where they differ, in one go.
  - Tells whether the database's files are there, and whether an operation on them was killed.
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
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def write(path: Path, text: str, mode: int, check: bool) -> bool:
    """Write a file where it differs; return whether it did."""
    if path.exists() and path.read_text() == text:
        return False
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.chmod(mode)
        new.replace(path)
    return True


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


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "config_file": {"type": "path", "required": True},
            "config": {"type": "dict", "required": True},
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
    there = mountpoint(given["config"]["volume"])
    journal = Path(given["config"]["state_dir"]) / "data" / "operation.json"
    module.exit_json(
        changed=any(changed),
        data_there=bool(
            there and (there / given["config"]["version"] / "docker/PG_VERSION").exists()
        ),
        killed=json.loads(journal.read_text())["verb"] if journal.exists() else "",
    )


if __name__ == "__main__":
    main()
