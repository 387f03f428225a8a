#!/usr/bin/python
"""Let another release serve, by the rename of a symbolic link."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_switch
short_description: Let another release serve
description:
  - nginx follows C(current.sock) at each connect, so its rename is the whole cut-over.
  - The static files, which hold those of the release before as well, come first.
options:
  state_dir:
    description: Directory of the project's state.
    type: path
    required: true
  sockets:
    description: Directory of the sockets on the host.
    type: path
    required: true
  release:
    description: What is noted of the release, with its name as C(release) and C(listen).
    type: dict
    required: true
author: [Slipway]
"""

RETURN = r"""
before: {description: The release that served before or nothing., type: str, returned: success}
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.flask_host import Ledger, link, replace


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "sockets": {"type": "path", "required": True},
            "release": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    release = module.params["release"]
    state_dir = Path(module.params["state_dir"])
    before = Ledger(str(state_dir)).serving
    static = state_dir / "static"
    changed = []
    if (static / "served" / release["release"]).exists():
        changed.append(
            link(static / "current", f"served/{release['release']}", check=module.check_mode)
        )
    if release["listen"] == "unix":
        changed.append(
            link(Path(module.params["sockets"]) / "current.sock", f"{release['release']}.sock",
                 check=module.check_mode)
        )  # fmt: skip
    if module.check_mode:
        changed.append(before != release["release"])
    else:
        changed.append(replace(state_dir / "current.json", json.dumps(release) + "\n", 0o644))
    module.exit_json(changed=any(changed), before=before)


if __name__ == "__main__":
    main()
