#!/usr/bin/python
"""Read the files that an application finds at paths of its own, on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_files
short_description: Read the files that an application finds at paths of its own
description:
  - Says in one sentence what is wrong with a path or its content, before anything is touched.
options:
  files:
    description:
      - Absolute path in the container to text, or to one of C(content), C(base64) and C(source).
    type: dict
    required: true
  root:
    description: Directory on the control node that a relative C(source) is looked up in.
    type: path
    required: true
  writable:
    description: Directories of the container that are made anew with it.
    type: list
    elements: str
    default: []
author: [Slipway]
"""

RETURN = r"""
files:
  description: Path in the container to its text, or to C(base64) where it is none.
  type: dict
  returned: success
"""

import base64
import binascii
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# Mounts of Slipway's own and of the engine's: what lay there would be hidden, or hide them.
TAKEN = (
    "/run/slipway", "/run/secrets", "/run/postgresql", "/etc/slipway", "/tmp",  # noqa: S108
    "/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf",
)  # fmt: skip
LARGEST = 1024 * 1024


class FilesError(Exception):
    """One sentence for the user."""


def inside(path: str, directory: str) -> bool:
    """Say whether a path is a directory or lies below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def check_path(path: str, others: Sequence[str], writable: Sequence[str]) -> None:
    """Refuse a path at which no file can be."""
    name = f"flask_files has the path '{path}'"
    if not path.startswith("/") or path != posixpath.normpath(path) or path.startswith("//"):
        raise FilesError(
            f"{name}, which is not absolute and plain: write it as the application opens it, "
            "such as /etc/app.ini, without '..' and without '/' at its end."
        )
    if re.search(r"[\x00-\x1f\x7f]", path):
        raise FilesError(f"{name}, which holds a control character: take that out.")
    # The image has a link there.
    real = re.sub(r"^/var/run(?=/|$)", "/run", path)
    for taken in TAKEN:
        if inside(real, taken) or inside(taken, real):
            raise FilesError(
                f"{name}, where {taken} is a mount of Slipway's or of the engine's own: "
                "choose another path."
            )
    for directory in writable:
        if inside(posixpath.normpath(directory), path):
            raise FilesError(
                f"{name}, where flask_writable has the directory {directory}: choose another path."
            )
    for other in others:
        if other != path and inside(other, path):
            raise FilesError(
                f"{name}, below which {other} is: one path is either a file or a directory."
            )


def read(path: str, given: Any, root: Path) -> bytes:
    """Return what a file has to hold."""
    name = f"flask_files['{path}']"
    if isinstance(given, str):
        given = {"content": given}
    if not isinstance(given, Mapping) or list(given) not in (["content"], ["base64"], ["source"]):
        raise FilesError(
            f"{name} must be text, or exactly one of `content` (text), `base64` and `source` "
            "(a file on the control node)."
        )
    (kind, value) = next(iter(given.items()))
    if not isinstance(value, str) or (kind == "source" and not value):
        what = type(value).__name__ if value else "empty"
        raise FilesError(
            f"{name}.{kind} must be text, and is {what}: put it in quotes, or let `| to_json` or "
            "`| to_yaml` make text of it."
        )
    if kind == "content":
        return value.encode()
    if kind == "base64":
        try:
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            raise FilesError(f"{name}.base64 is no base64: `base64 -w0 FILE` makes it.") from None
    source = root / Path(value).expanduser()
    if not source.is_file():
        what = "is no file" if source.exists() else "does not exist"
        raise FilesError(
            f"{name}.source is {source}, which {what} on the control node: "
            "name a file there, relative to this project's directory or absolute."
        )
    try:
        data = source.read_bytes()
    except OSError as problem:
        raise FilesError(
            f"{name}.source is {source}, which cannot be read ({problem.strerror}): "
            "give the user who runs Ansible the right to."
        ) from problem
    if data.startswith(b"$ANSIBLE_VAULT;"):
        raise FilesError(
            f"{name}.source is {source}, which Ansible Vault encrypted, and these files are no "
            "secrets: flask_secret_files is for what is one."
        )
    return data


def files_of(given: Mapping[str, Any], root: Path, writable: Sequence[str]) -> dict[str, Any]:
    """Return path -> content of the files; raise FilesError with what is wrong with one."""
    found: dict[str, Any] = {}
    for path in map(str, given):
        check_path(path, list(map(str, given)), writable)
        data = read(path, given[path], root)
        if len(data) > LARGEST:
            raise FilesError(
                f"flask_files['{path}'] has {len(data)} bytes, and {LARGEST} is the limit: "
                "put what is larger into the application's package."
            )
        try:
            found[path] = data.decode()
        except UnicodeDecodeError:
            found[path] = {"base64": base64.b64encode(data).decode()}
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "root": {"type": "path", "required": True},
            "writable": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        files = files_of(given["files"], Path(given["root"]), given["writable"])
    except FilesError as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=False, files=files)


if __name__ == "__main__":
    main()
