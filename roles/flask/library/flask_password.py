#!/usr/bin/python
"""Give a release that is kept the database's password of today."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_password
short_description: Give a release that is kept the database's password of today
description:
  - Replaces the one that the release was deployed with in its own file, and in the secret variables
    that are the password or hold it, such as a URL of the database; the file C(renewed) notes it.
  - A password of less than 12 characters is replaced where it is all of a variable only, since
    another secret may hold it by chance.
options:
  directory:
    description: Directory of the release's secrets.
    type: path
    required: true
  password:
    description: The password of today.
    type: str
    required: true
  uid:
    description: The application's user.
    type: int
    required: true
author: [Slipway]
"""

RETURN = r"""
variables:
  description: Names of the variables that were changed.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils import volume
from ansible.module_utils.basic import AnsibleModule

LEAST = 12


def renewed(text: str, old: str, new: str) -> str:
    """Return a secret with another password in the place of the old one."""
    if text == old or len(old) < LEAST:
        return new if text == old else text
    url = "://" in text
    # The longest first: where quoting changes nothing they are all the same.
    for begin in sorted({old, quote(old), quote(old, safe="")}, key=len, reverse=True):
        text = text.replace(begin, quote(new, safe="") if url else new)
    return text


def change(module: Any) -> list[str]:
    """Change the files; return the names of those that are variables."""
    directory, new = Path(module.params["directory"]), module.params["password"]
    own = directory / "postgres_password"
    old = volume.read(own) if volume.exists(own) else new
    changed = []
    if old != new and not module.check_mode:
        # It is no longer made of what its name was derived from.
        volume.replace(directory / "renewed", "", 0o400)
    # The file with the old one comes last, for whoever has to begin again.
    kept = [
        directory / name / one
        for name in ("env", "files")
        for one in volume.names(directory / name)
        if not one.startswith(".")
    ]
    for path in [*kept, own]:
        try:
            text = volume.read_bytes(path).decode() if volume.exists(path) else ""
        except UnicodeDecodeError:  # a binary one holds no password
            continue
        wanted = new if path == own else renewed(text, old, new)
        if text == wanted:
            continue
        changed.append(path.name)
        if not module.check_mode:
            volume.replace(path, wanted, 0o400, (module.params["uid"], 0))
    return changed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "uid": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    changed = change(module)
    module.exit_json(
        changed=bool(changed), variables=[name for name in changed if name != "postgres_password"]
    )


if __name__ == "__main__":
    main()
