#!/usr/bin/python
"""Remove the releases that nobody goes back to any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_prune
short_description: Remove the releases that nobody goes back to any more
description:
  - Keeps the release that serves and the last healthy ones; of the others it removes image, static
    files, secrets, other files and description, and of older builds what their first stage left in
    the engine.
  - Touches images by the project's labels alone, and none that a container uses.
  - Of images that came from a registry the digests go as well, which would keep them.
options:
  project:
    description: Name of the project.
    type: str
    required: true
  state_dir:
    description: Directory of the project's state.
    type: path
    required: true
  secrets:
    description: Directory with a directory of secrets for each release.
    type: path
    required: true
  files:
    description: Directory with a directory of other files for each release.
    type: path
    required: true
  release:
    description: The release that was tried last, which is kept too.
    type: str
    required: true
  build:
    description: The build whose first stage is kept, so that the next one is fast; empty for all.
    type: str
    default: ""
  compiler:
    description: Image with the compiler that the next build begins with; empty leaves all.
    type: str
    default: ""
  keep:
    description: How many releases are kept.
    type: int
    required: true
author: [Slipway]
"""

RETURN = r"""
removed:
  description: The releases that were removed.
  type: list
  elements: str
  returned: success
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import volume
from ansible.module_utils.slipway.flask_host import RELEASE, Ledger, docker


def prune_images(module: Any, kept: set[str]) -> set[str]:
    """Remove the images of releases that are not kept; return the releases' names."""
    project = module.params["project"]
    label = f"--filter=label=slipway.project={project}"
    used = set(docker(module, "ps", "--all", label, "--format={{.Image}}").split())
    removed = set()
    names = docker(
        module, "image", "ls", label, "--filter=label=slipway.part=flask",
        "--format={{.Repository}}:{{.Tag}}",
    ).split()  # fmt: skip
    for name in names:
        repository, _, release = name.rpartition(":")
        if repository != f"{project}-flask" or not RELEASE.fullmatch(release):
            continue
        if release in kept or name in used:
            continue
        # Without force the engine refuses what a container uses.
        if docker(module, "image", "rm", name, check=False):
            removed.add(release)
    return removed


def prune_pulled(module: Any) -> None:
    """Remove pulled images that no release is named by any more: their digest keeps them."""
    label = f"--filter=label=slipway.project={module.params['project']}"
    used = set(docker(module, "ps", "--all", label, "--no-trunc", "--format={{.Image}}").split())
    ids = docker(
        module, "image", "ls", label, "--filter=label=slipway.part=flask", "--quiet", "--no-trunc",
    ).split()  # fmt: skip
    for image in dict.fromkeys(ids):
        known = docker(
            module, "image", "inspect", "--format={{json .RepoTags}} {{json .RepoDigests}}", image,
            check=False,
        )  # fmt: skip
        tags, _, digests = known.partition(" ")
        if tags in ("[]", "null") and image not in used:
            for name in json.loads(digests or "null") or []:
                docker(module, "image", "rm", name, check=False)


def prune_stages(module: Any) -> None:
    """Remove the first stages of older builds, which the classic builder leaves nameless."""
    label = f"--filter=label=slipway.project={module.params['project']}"
    lines = docker(
        module, "image", "ls", label, "--filter=label=slipway.part=build", "--filter=dangling=true",
        "--quiet", "--no-trunc",
    ).split()  # fmt: skip
    for image in dict.fromkeys(lines):
        build = docker(
            module, "image", "inspect", '--format={{index .Config.Labels "slipway.build"}}', image,
            check=False,
        )  # fmt: skip
        if build != module.params["build"]:
            docker(module, "image", "rm", image, check=False)


def prune_compilers(module: Any) -> None:
    """Remove the images with a compiler but the one that the next build begins with."""
    names = docker(
        module, "image", "ls", f"--filter=label=slipway.project={module.params['project']}",
        "--filter=label=slipway.part=compiler", "--format={{.Repository}}:{{.Tag}}",
    ).split()  # fmt: skip
    for name in names:
        if name != module.params["compiler"] and not name.startswith("<none>"):
            docker(module, "image", "rm", name, check=False)


def prune_files(directory: Path, kept: set[str]) -> set[str]:
    """Remove what is named after a release that is not kept; return the releases' names."""
    removed = set()
    for path in directory.iterdir() if directory.is_dir() else ():
        # One with a dot before it was not finished.
        release = path.name.strip(".").split(".")[0]
        unfinished = path.name.startswith(".")
        if RELEASE.fullmatch(release) and (unfinished or release not in kept):
            removed.add(release)
            volume.remove(path)
    return removed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
            "secrets": {"type": "path", "required": True},
            "files": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "build": {"type": "str", "default": ""},
            "compiler": {"type": "str", "default": ""},
            "keep": {"type": "int", "required": True},
        },
    )
    state_dir = Path(module.params["state_dir"])
    ledger = Ledger(str(state_dir))
    kept = {*ledger.kept(module.params["keep"]), module.params["release"]}
    removed = prune_images(module, kept)
    prune_pulled(module)
    if module.params["build"]:
        prune_stages(module)
    if module.params["compiler"]:
        prune_compilers(module)
    for directory in (
        state_dir / "static" / "releases", state_dir / "static" / "served",
        state_dir / "releases", Path(module.params["secrets"]),
        Path(module.params["files"]),
    ):  # fmt: skip
        removed |= prune_files(directory, kept)
    module.exit_json(changed=bool(removed), removed=sorted(removed))


if __name__ == "__main__":
    main()
