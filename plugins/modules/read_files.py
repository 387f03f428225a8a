#!/usr/bin/python
"""Read small files in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: read_files
short_description: Read small files in one go
description:
  - One module for all of them; a slurp for each would take as long each.
  - What is secret needs C(no_log) of the task.
options:
  files:
    description: Name to path.
    type: dict
    required: true
author: [Slipway]
"""

RETURN = r"""
files: {description: Name to text of the files that are there., type: dict, returned: always}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import volume


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    found = {}
    for name, path in module.params["files"].items():
        try:
            found[name] = volume.read(Path(path))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, volume.ProblemError) as problem:
            module.fail_json(msg=f"{path} can't be read: {problem}")
    module.exit_json(changed=False, files=found)


if __name__ == "__main__":
    main()
