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
  serving:
    description:
      - Whether the release serves by it, which is noted.
      - Else nginx has to be told first; until it is noted that it may pass to either.
    type: bool
    required: true
  release:
    description: What is noted of the release, with its name as C(release) and C(listen).
    type: dict
    required: true
author: [Slipway]
"""

RETURN = r"""
serving: {description: Whether the release serves now., type: bool, returned: success}
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.flask_host import aside, link


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "sockets": {"type": "path", "required": True},
            "serving": {"type": "bool", "required": True},
            "release": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    release = module.params["release"]
    state_dir = Path(module.params["state_dir"])
    sockets, note = Path(module.params["sockets"]), state_dir / "current.json"
    before = json.loads(note.read_text()) if note.exists() else {}
    # A release that listens on TCP is not retired before nginx was told: see retire.yml.
    after = release if module.params["serving"] else before and {**before, "listen": "tcp"}
    # On the disk before the link is moved, so that a full one stops it here.
    noted = None
    if after != before and not module.check_mode:
        noted = aside(note, json.dumps(after) + "\n", 0o644)
    changed = [after != before]
    static = state_dir / "static"
    if (static / "served" / release["release"]).exists():
        target = f"served/{release['release']}"
        changed.append(link(static / "current", target, check=module.check_mode))
    if release["listen"] == "unix":
        target = f"{release['release']}.sock"
        changed.append(link(sockets / "current.sock", target, check=module.check_mode))
    if noted:
        noted.replace(note)
    module.exit_json(changed=any(changed), serving=module.params["serving"])


if __name__ == "__main__":
    main()
