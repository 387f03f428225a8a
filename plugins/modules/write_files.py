#!/usr/bin/python
"""Write a directory of small files in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_files
short_description: Write a directory of small files in one go
description:
  - Makes the directories and writes the files that differ, each aside and then renamed.
  - One module for all of them; a copy for each would take a second each.
  - What is secret needs C(no_log) of the task.
options:
  directory:
    description: Directory of the files; what is above it is made as root's.
    type: path
    required: true
  directories:
    description: Directories below it that are there even without a file.
    type: list
    elements: str
    default: []
  files:
    description:
      - Path below the directory to text, to C(base64) of what is none, or to C(copy_of) a file of
        the host.
    type: dict
    default: {}
  uid:
    description: Number of the user who owns files and directories; their group is root's.
    type: int
    default: 0
  mode:
    description: Mode of the files, octal.
    type: str
    required: true
  directory_mode:
    description: Mode of the directory and those below it, octal; none leaves what is there alone.
    type: str
    default: ""
author: [Slipway]
"""

import base64
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import volume


def own(path: Path, uid: int, mode: int, check: bool) -> bool:
    """Give a file or directory its owner and mode; return whether it had others."""
    there = volume.status(path)
    if there is None or (there.st_uid, there.st_gid, there.st_mode & 0o7777) == (uid, 0, mode):
        return False
    if not check:
        with volume.opened(path) as handle:
            os.fchown(handle, uid, 0)
            os.fchmod(handle, mode)
    return True


def make(path: Path, uid: int, mode: int | None, check: bool) -> bool:
    """Make a directory; return whether it was not there as it should be."""
    if volume.is_directory(path):
        return mode is not None and own(path, uid, mode, check)
    if not check:
        volume.make(path, 0o700)
        own(path, uid, 0o700 if mode is None else mode, check)
    return True


def data_of(content: Any) -> bytes:
    """Return what a file has to hold."""
    if isinstance(content, dict) and "copy_of" in content:
        return Path(content["copy_of"]).read_bytes()
    if isinstance(content, dict):
        return base64.b64decode(content["base64"], validate=True)
    return str(content).encode()


def read(path: Path) -> bytes:
    """Return what a file holds; nothing where there is none."""
    return bytes(volume.read_bytes(path)) if volume.is_file(path) else b""


def shown(data: bytes) -> str:
    """Return what a diff shows of a file."""
    return data.decode(errors="replace") if b"\0" not in data else "(binary)\n"


def write(path: Path, data: bytes, uid: int, mode: int, check: bool) -> bool:
    """Write a file; return whether it was not there as it should be."""
    if read(path) == data and volume.is_file(path):
        return own(path, uid, mode, check)
    if not check:
        volume.replace(path, data, mode, (uid, 0))
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "directories": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "dict", "default": {}},
            "uid": {"type": "int", "default": 0},
            "mode": {"type": "str", "required": True},
            "directory_mode": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    root = Path(given["directory"])
    mode = int(given["mode"], 8)
    directory_mode = int(given["directory_mode"], 8) if given["directory_mode"] else None
    wanted = {root} | {root / name for name in given["directories"]}
    for name in given["files"]:
        path = (root / name).parent
        while path != root and root in path.parents:
            wanted.add(path)
            path = path.parent
    changed = [
        make(path, given["uid"], directory_mode, module.check_mode) for path in sorted(wanted)
    ]
    wanted_data = {name: data_of(content) for name, content in given["files"].items()}
    before = {name: read(root / name) for name in wanted_data}
    changed += [
        write(root / name, data, given["uid"], mode, module.check_mode)
        for name, data in wanted_data.items()
    ]
    diff = [
        {
            "before_header": str(root / name), "after_header": str(root / name),
            "before": shown(before[name]), "after": shown(data),
        }
        for name, data in wanted_data.items()
        if before[name] != data
    ]  # fmt: skip
    module.exit_json(changed=any(changed), **({"diff": diff} if module._diff else {}))


if __name__ == "__main__":
    main()
