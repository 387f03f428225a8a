#!/usr/bin/python
"""Read what the host adds to a release's identity; make what is missing of that."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_identity
short_description: Read what the host adds to a release's identity; make what is missing of that
description:
  - The names that the serving release trusts, the salt of the releases' names, and the secrets
    that the host makes are part of what a release is made of.
  - The answer holds secrets, so the task needs C(no_log).
options:
  state_dir:
    description: Directory of the project's state.
    type: path
    required: true
  secrets:
    description: Directory of the application's secrets.
    type: path
    required: true
  made:
    description: Names of the secrets that the host makes.
    type: list
    elements: str
    default: []
author: [Slipway]
"""

RETURN = r"""
content: {description: The note of the release that serves in base64., type: str, returned: if any}
salt: {description: The salt of the releases' names in base64., type: str, returned: always}
made: {description: Name to text of the host's own secrets., type: dict, returned: always}
"""

import base64
import os
import secrets
import string
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import volume

ALPHABET = string.ascii_letters + string.digits
# Without a salt the release's name would let somebody try passwords.
SALT_LENGTH = 40
SECRET_LENGTH = 64


def directory(path: Path, mode: int) -> None:
    """Make a directory of root's with a mode of its own, where it has another or is missing."""
    volume.make(path, mode)
    with volume.directory(path) as handle:
        os.fchown(handle, 0, 0)
        os.fchmod(handle, mode)


def once(path: Path, length: int, check: bool) -> tuple[bytes, bool]:
    """Return what a file holds, and whether that was made just now; nothing in check mode."""
    if volume.is_file(path):
        return volume.read_bytes(path), False
    if check:
        return b"", True
    data = "".join(secrets.choice(ALPHABET) for _ in range(length)).encode()
    volume.replace(path, data, 0o400, (0, 0))
    return data, True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "secrets": {"type": "path", "required": True},
            "made": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    home = Path(given["secrets"])
    wanted = {home / "salt": SALT_LENGTH}
    wanted |= {home / "made" / name: SECRET_LENGTH for name in given["made"]}
    note = Path(given["state_dir"]) / "current.json"
    try:
        if not check and not all(volume.is_file(path) for path in wanted):
            directory(home, 0o750)
            if given["made"]:
                directory(home / "made", 0o700)
        found = {path: once(path, length, check) for path, length in wanted.items()}
        said = volume.read_bytes(note) if volume.is_file(note) else None
    except (OSError, volume.ProblemError) as problem:
        module.fail_json(msg=str(problem))
    salt, *made = (data for data, _ in found.values())
    module.exit_json(
        changed=any(new for _, new in found.values()),
        salt=base64.b64encode(salt).decode(),
        made=dict(zip(given["made"], (data.decode() for data in made), strict=True)),
        **({} if said is None else {"content": base64.b64encode(said).decode()}),
    )


if __name__ == "__main__":
    main()
