#!/usr/bin/python
"""Look what of a release is on the host already, and what its image would be built with."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_look
short_description: Look what of a release is on the host already
options:
  release:
    description: The release, as what it is made of names it.
    type: str
    required: true
  renewed:
    description: Its name after a rollback has given it another password.
    type: str
    required: true
  secrets:
    description: Directory of the application's secrets.
    type: path
    required: true
  image:
    description: Name of the application's images, without a tag.
    type: str
    required: true
  labels:
    description: Labels of an image of the same content.
    type: list
    elements: str
    required: true
  compiler:
    description: Name of the image with the compiler; empty where there is to be none.
    type: str
    default: ""
  ca_bundle:
    description: Path of the CA bundle that a build is to use, where it is there.
    type: str
    default: ""
  socket:
    description: Path of the engine's socket.
    type: path
    default: /var/run/docker.sock
author: [Slipway]
"""

RETURN = r"""
release: {description: The name that is right., type: str, returned: always}
image: {description: Whether the release has an image., type: bool, returned: always}
same: {description: Id of an image of the same content or nothing., type: str, returned: always}
compiler: {description: Whether that image is there., type: bool, returned: always}
ca_bundle: {description: The CA bundle if it is there., type: str, returned: always}
architecture: {description: What the engine runs, such as amd64., type: str, returned: always}
"""

import json
from pathlib import Path
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.engine import SOCKET, ask


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "str", "required": True},
            "renewed": {"type": "str", "required": True},
            "secrets": {"type": "path", "required": True},
            "image": {"type": "str", "required": True},
            "labels": {"type": "list", "elements": "str", "required": True},
            "compiler": {"type": "str", "default": ""},
            "ca_bundle": {"type": "str", "default": ""},
            "socket": {"type": "path", "default": SOCKET},
        },
        supports_check_mode=True,
    )
    given = module.params
    # Where the old password is in force again, the release that was deployed with it would be
    # taken for what is wanted.
    renewed = (Path(given["secrets"]) / given["release"] / "renewed").exists()
    release = given["renewed" if renewed else "release"]
    filters = quote(json.dumps({"label": given["labels"]}))

    def there(image: str) -> bool:
        """Return whether an image is there."""
        return ask(given["socket"], f"/images/{image}/json", patience=60) is not None

    same = ask(given["socket"], f"/images/json?filters={filters}", patience=60) or []
    bundle = given["ca_bundle"]
    module.exit_json(
        changed=False,
        release=release,
        image=there(f"{given['image']}:{release}"),
        compiler=bool(given["compiler"]) and there(given["compiler"]),
        same=same[0]["Id"] if same else "",
        architecture=(ask(given["socket"], "/version") or {}).get("Arch", ""),
        ca_bundle=bundle if bundle and Path(bundle).exists() else "",
    )


if __name__ == "__main__":
    main()
