#!/usr/bin/python
"""Write files into a checkout on the control node, as whoever runs the play."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_files
short_description: Write files into a checkout
description:
  - Writes the files that differ, each aside and then renamed, and removes nothing.
  - They belong to whoever runs the play; what is secret needs C(no_log) of the task.
options:
  directory:
    description: Directory of the files.
    type: path
    required: true
  files:
    description: Path below the directory to text, or to C(base64) of what is none.
    type: dict
    required: true
author: [Slipway]
"""

import base64
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def data_of(content: Any) -> bytes:
    """Return what a file has to hold."""
    if isinstance(content, dict):
        return base64.b64decode(content["base64"], validate=True)
    return str(content).encode()


def write(path: Path, data: bytes) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    # Containers' users read it; what nobody else may see lies below a directory that is closed.
    new.chmod(0o644)
    new.replace(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["directory"])
    diff = []
    for name, content in module.params["files"].items():
        path, data = root / name, data_of(content)
        before = path.read_bytes() if path.is_file() else None
        if before == data:
            continue
        diff.append(
            {
                "before_header": str(path), "after_header": str(path),
                "before": (before or b"").decode(errors="replace"),
                "after": data.decode(errors="replace"),
            }
        )  # fmt: skip
        if not module.check_mode:
            try:
                write(path, data)
            except OSError as problem:
                module.fail_json(msg=f"{path} could not be written: {problem.strerror}.")
    module.exit_json(changed=bool(diff), **({"diff": diff} if module._diff else {}))


if __name__ == "__main__":
    main()
