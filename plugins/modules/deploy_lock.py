#!/usr/bin/python
"""Hold a project's deploy lock on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Hold a project's deploy lock on its host
description:
  - The lock is a file that the holder keeps fresh; one that has not been fresh for O(lease) seconds
    belongs to nobody any more.
  - The action plugin of the same name runs this and, while the play runs, keeps the file fresh; it
    frees the lock as soon as the play is gone, whatever ended it.
options:
  path:
    description: The lock's file, in a directory that a restart of the host empties.
    type: path
    required: true
  state:
    description:
      - V(held) takes it, V(free) gives it back, V(broken) takes it from whoever has it.
    type: str
    choices: [held, free, broken]
    required: true
  what:
    description: What it is taken for.
    type: str
    default: deploy
  lease:
    description: Seconds after which a lock that nobody keeps fresh counts as free.
    type: int
    default: 60
  token:
    description: What tells this holder from others; the action plugin sets it.
    type: str
    default: ""
  holder:
    description: Who holds it; the action plugin sets it.
    type: str
    default: ""
author: [Slipway]
"""

RETURN = r"""
holder: {description: Who holds the lock or held it., type: str, returned: always}
since: {description: Since when., type: str, returned: always}
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import locks, volume

# What changes the file takes a moment.
WAIT = 30


def look(path: Path) -> tuple[dict[str, str], float]:
    """Return what the lock says and the seconds since it was fresh; nothing when there is none."""
    try:
        return json.loads(path.read_text()), time.time() - path.stat().st_mtime
    except (OSError, ValueError):
        return {}, 0.0


def change(module: Any, path: Path) -> None:
    """Do what the module is asked; nobody else does at the same time."""
    wanted = module.params
    there, age = look(path)
    if wanted["state"] == "free":
        if there.get("token") == wanted["token"]:
            path.unlink(missing_ok=True)
        module.exit_json(changed=False, holder=wanted["holder"], since=there.get("since", ""))
    if wanted["state"] == "broken":
        if there and not module.check_mode:
            path.unlink()
        module.exit_json(changed=bool(there), **said(there))
    if module.check_mode:
        module.exit_json(changed=False, holder=wanted["holder"], since="")
    if there and age < wanted["lease"]:
        module.fail_json(
            msg=f"{there['holder']} has been running a {there['what']} of this project since"
            f" {there['since']}: wait until it has ended; when it is gone for sure,"
            " ./slipway unlock takes its lock away.",
            **said(there),
        )
    mine = {
        "token": wanted["token"], "holder": wanted["holder"], "what": wanted["what"],
        "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }  # fmt: skip
    volume.replace(path, json.dumps(mine) + "\n")
    module.exit_json(changed=False, **said(mine))


def said(lock: dict[str, str]) -> dict[str, str]:
    """Return of a lock what others may know."""
    return {"holder": lock.get("holder", ""), "since": lock.get("since", "")}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "required": True, "choices": ["held", "free", "broken"]},
            "what": {"type": "str", "default": "deploy"},
            "lease": {"type": "int", "default": 60},
            "token": {"type": "str", "default": "", "no_log": False},
            "holder": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    if module.check_mode:
        change(module, path)
    locks.directory(path.parent)
    guard = path.parent / ".guard"
    try:
        # A module ends by an exception, with which the lock goes.
        with locks.held(guard, WAIT, f"{module.params['what']} by {module.params['holder']}"):
            change(module, path)
    except locks.LockedError as who:
        module.fail_json(
            msg=f"the lock of the deploys ({guard}) was held for {WAIT} s by {who}:"
            " see what that process does, and end it"
        )


if __name__ == "__main__":
    main()
