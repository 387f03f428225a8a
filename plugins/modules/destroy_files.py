#!/usr/bin/python
"""Remove files and directories but for what is to be kept in them, and name both."""

from __future__ import annotations

DOCUMENTATION = r"""
module: destroy_files
short_description: Remove files and directories but for what is to be kept in them
description:
  - What is to be kept stays with the directories above it; everything beside it goes. No link is
    followed.
options:
  paths:
    description: What is to be removed, there or not.
    type: list
    elements: path
    required: true
  keep:
    description: What is to be kept, there or not.
    type: list
    elements: path
    default: []
author: [Slipway]
"""

RETURN = r"""
removed: {description: What was removed., type: list, returned: always}
kept: {description: What was there and kept., type: list, returned: always}
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def doomed(path: Path, keep: Iterable[Path]) -> Iterator[Path]:
    """Yield what has to be removed of a path so that all of it goes but what is kept."""
    if path in keep or not os.path.lexists(path):
        return
    if any(path in one.parents for one in keep) and path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            yield from doomed(child, keep)
    else:
        yield path


def planned(paths: Iterable[str], keep: Iterable[Path]) -> list[Path]:
    """Return what has to be removed, each once: what lies below another one goes with it."""
    found = sorted({one for path in paths for one in doomed(Path(path), keep)})
    return [one for one in found if not set(one.parents) & set(found)]


def remove(path: Path) -> None:
    """Remove a file, a link or a directory with all that is in it; raise OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "keep": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    keep = [Path(one) for one in module.params["keep"] if os.path.lexists(one)]
    found = planned(module.params["paths"], keep)
    if not module.check_mode:
        for path in found:
            try:
                remove(path)
            except OSError as error:
                module.fail_json(msg=f"{path} could not be removed: {error.strerror}")
    module.exit_json(
        changed=bool(found),
        removed=[str(one) for one in found],
        kept=[str(one) for one in keep],
    )


if __name__ == "__main__":
    main()
