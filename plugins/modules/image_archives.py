#!/usr/bin/python
"""List the images in archives of `docker save`, without unpacking them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archives
short_description: List the images in archives of docker save, without unpacking them
description:
  - Reads the lists and the configurations of the images out of tar files.
  - An archive that cannot be read is no failure, it is among C(unreadable).
options:
  paths:
    description: The files.
    type: list
    elements: path
    required: true
author: [Slipway]
"""

RETURN = r"""
images:
  description:
    - Each image with its C(archive), its C(tags), the C(ids) that an engine may give it and its
      C(configuration).
  type: list
  elements: dict
  returned: success
unreadable:
  description: Archives that hold no list of images.
  type: list
  elements: str
  returned: success
"""

import json
import re
import tarfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# A list or a configuration is text of some kilobytes; what is larger is none.
LARGEST = 16 * 1024 * 1024


def member(archive: tarfile.TarFile, name: str) -> Any:
    """Return a JSON file of an archive, None where there is none."""
    try:
        found = archive.getmember(name)
    except KeyError:
        return None
    if found.size > LARGEST:
        return None
    file = archive.extractfile(found)
    return json.loads(file.read()) if file else None


def images_in(path: str) -> list[dict[str, Any]]:
    """Return the images in an archive; raise OSError, TarError or ValueError if it is none.

    An engine names an image by the digest of its configuration or, with the containerd image store,
    by that of its manifest or index. index.json has the latter, in archives of newer engines.
    """
    with tarfile.open(path) as archive:
        listed = member(archive, "manifest.json")
        if not isinstance(listed, list):
            raise ValueError("no manifest.json")
        index = member(archive, "index.json") or {}
        # Of which image each is, index.json says in as many ways as there were engines.
        digests = [str(one.get("digest", "")) for one in index.get("manifests") or []]
        images = []
        for one in listed:
            config = re.search(r"[0-9a-f]{64}", str(one["Config"]))
            images.append(
                {
                    "archive": path,
                    "tags": one.get("RepoTags") or [],
                    "ids": [*([f"sha256:{config.group()}"] if config else []), *digests],
                    "configuration": member(archive, str(one["Config"])) or {},
                }
            )
        return images


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"paths": {"type": "list", "elements": "path", "required": True}},
        supports_check_mode=True,
    )
    images, unreadable = [], []
    for path in module.params["paths"]:
        try:
            images += images_in(path)
        except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError):
            unreadable.append(path)
    module.exit_json(changed=False, images=images, unreadable=unreadable)


if __name__ == "__main__":
    main()
