#!/usr/bin/python
"""Lay a release's static files beside those of the releases before it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_static
short_description: Lay a release's static files beside those of the releases before it
description:
  - Copies the files out of the release's image into C(releases/RELEASE) below O(root), once.
  - Makes C(served/RELEASE) of hard links, the release's own files and those of the releases before
    it that it does not have itself, so that a page that is still open finds its files.
options:
  root:
    description: Directory of static files on the host.
    type: path
    required: true
  release:
    description: Name of the release.
    type: str
    required: true
  image:
    description: Its image.
    type: str
    required: true
  labels:
    description: Labels of the container that copies.
    type: dict
    default: {}
  directory:
    description: Directory below site-packages; empty for an application without static files.
    type: str
    default: ""
  url:
    description: Path of the URL below which the files are found.
    type: str
    default: ""
  state_dir:
    description: Directory with the ledger.
    type: path
    required: true
  keep:
    description: How many releases' files stay reachable.
    type: int
    required: true
author: [Slipway]
"""

RETURN = r"""
files: {description: How many files are served., type: int, returned: success}
"""

import os
import posixpath
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.flask_host import Ledger

COPY = (
    'cd "$(python3 -c \'import sysconfig; print(sysconfig.get_path("purelib"))\')/$1" || exit 44;'
    " cp -R . /static/ && chmod -R u=rwX,go=rX /static"
)
NO_DIRECTORY = 44


def copy(module: Any, own: Path) -> None:
    """Copy a release's files out of its image, aside first."""
    aside = own.with_name(f".{own.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    target = aside / module.params["url"].lstrip("/")
    target.mkdir(parents=True)
    labels = [f"--label={name}={value}" for name, value in module.params["labels"].items()]
    code, _, err = module.run_command(
        ["docker", "run", "--rm", "--network=none", "--user=root", "--read-only", "--cap-drop=ALL",
         "--security-opt=no-new-privileges:true", "--entrypoint=/bin/sh",
         *labels, f"--volume={target}:/static", module.params["image"],
         "-c", COPY, "sh", module.params["directory"]]
    )  # fmt: skip
    if code:
        shutil.rmtree(aside, ignore_errors=True)
        if code == NO_DIRECTORY:
            module.fail_json(
                msg=f"flask_static.directory is '{module.params['directory']}', and the application"
                " installs no such directory: name one inside the installed package, and see that"
                " the package's build includes its files (package data)."
            )
        module.fail_json(msg=f"copying the static files failed: {err.strip()}")
    stray = astray(target)
    if stray:
        shutil.rmtree(aside, ignore_errors=True)
        module.fail_json(
            msg=f"{stray} in flask_static.directory is a link that leads out of it, or no file:"
            " nginx would serve what lies elsewhere; put the file itself into the package."
        )
    aside.replace(own)


def astray(root: Path) -> str:
    """Return what is neither file, directory nor a link that stays inside; nothing if all is."""
    for directory, inside, names in os.walk(root):
        for name in (*inside, *names):
            path = Path(directory) / name
            if path.is_symlink():
                leads = posixpath.normpath(
                    posixpath.join(os.path.relpath(directory, root), path.readlink())
                )
                if leads.startswith(("/", "..")):
                    return str(path.relative_to(root))
            elif not path.is_file() and not path.is_dir():
                return str(path.relative_to(root))
    return ""


def lay(source: Path, target: Path) -> None:
    """Link the files that the target does not have yet."""
    for directory, _, names in os.walk(source):
        there = target / Path(directory).relative_to(source)
        try:
            if there.is_symlink():
                continue
            there.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):  # a newer release has a file of that name
            continue
        for name in names:
            if not os.path.lexists(there / name):
                os.link(Path(directory) / name, there / name, follow_symlinks=False)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "labels": {"type": "dict", "default": {}},
            "directory": {"type": "str", "default": ""},
            "url": {"type": "str", "default": ""},
            "state_dir": {"type": "path", "required": True},
            "keep": {"type": "int", "required": True},
        },
    )
    release = module.params["release"]
    root = Path(module.params["root"])
    releases, served = root / "releases", root / "served"
    for path in (releases, served):
        path.mkdir(parents=True, exist_ok=True)
    own = releases / release
    if not own.exists():
        if module.params["directory"]:
            copy(module, own)
        else:
            own.mkdir()
    current = root / "current"
    if current.is_symlink() and str(current.readlink()) == f"served/{release}":
        module.exit_json(changed=False, files=sum(len(names) for _, _, names in os.walk(current)))
    aside = served / f".{release}.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    kept = Ledger(module.params["state_dir"]).kept(module.params["keep"])
    for name in dict.fromkeys([release, *kept]):
        if (releases / name).is_dir():
            lay(releases / name, aside)
    shutil.rmtree(served / release, ignore_errors=True)
    aside.replace(served / release)
    module.exit_json(
        changed=True, files=sum(len(names) for _, _, names in os.walk(served / release))
    )


if __name__ == "__main__":
    main()
