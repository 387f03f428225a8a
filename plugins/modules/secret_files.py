#!/usr/bin/python
"""Find a project's secrets on its host, without reading them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_files
short_description: Find a project's secrets on its host, without reading them
options:
  config_dir:
    description: Directory with the project's configuration and secrets.
    type: path
    required: true
  state_dir:
    description: Directory that tells which release serves.
    type: path
    required: true
author: [Slipway]
"""

RETURN = r"""
secrets:
  description:
    - Each with C(name), C(path), C(owner), C(mode), C(users), and C(seconds) since it was written.
  type: list
  elements: dict
  returned: success
"""

import json
import re
import stat
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

RELEASE = re.compile(r"[0-9a-f]{12}")
# No secrets, though they lie with some.
PUBLIC = {"ca.crt", "known_hosts", "renewed"}


def users(path: Path, serving: str) -> list[str]:
    """Return who reads a secret, by its path below the configuration's directory."""
    part, *rest = path.parts[1:] if path.parts[0] == "secrets" else path.parts
    if part == "postgres":
        return ["postgres", "the host"]
    if part == "backup":
        return ["postgres (pgBackRest)", "the host"]
    if part == "acme_account_key":
        return ["the host (renewal)"]
    if part == "nginx":
        return ["nginx"] if rest[1] == "live" else ["nginx, when it is in use"]
    if part == "flask" and RELEASE.fullmatch(rest[0]):
        return [f"flask {rest[0]}" + (" (serves)" if rest[0] == serving else "")]
    return ["the host (the next release)"] if part == "flask" else ["the host"]


def found(config: Path, serving: str) -> list[dict[str, Any]]:
    """Return the secrets, sorted by their names."""
    live = config / "nginx/tls/live"
    paths = [
        path
        for path in (config / "secrets").rglob("*")
        if path.name not in PUBLIC and not path.is_dir()
    ] + [
        path
        for path in (config / "nginx/tls").glob("*/privkey.pem")
        # The one in use is told under that name.
        if path.parent == live or not live.exists() or path.parent.resolve() != live.resolve()
    ]
    secrets = []
    for path in paths:
        status = path.stat()
        name = path.relative_to(config)
        secrets.append(
            {
                "name": "/".join(name.parts[1:] if name.parts[0] == "secrets" else name.parts),
                "path": str(path),
                "seconds": int(time.time() - status.st_mtime),
                "owner": status.st_uid,
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
                "users": users(name, serving),
            }
        )
    return sorted(secrets, key=lambda one: str(one["name"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "config_dir": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        note = json.loads(Path(module.params["state_dir"], "current.json").read_text())
        serving = str(note["release"])
    except (OSError, ValueError, KeyError):
        serving = ""
    module.exit_json(changed=False, secrets=found(Path(module.params["config_dir"]), serving))


if __name__ == "__main__":
    main()
