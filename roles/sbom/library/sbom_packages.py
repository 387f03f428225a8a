#!/usr/bin/python
"""List the packages in images that have no bill of materials yet."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sbom_packages
short_description: List the packages in images that have no bill of materials yet
description:
  - Asks each image itself, in a container without a network that is removed again, for its Debian
    packages and for the Python distributions anywhere in it.
  - An image whose bill is there, and is of this very image, is left out.
options:
  images:
    description: Names of the images, by part of the project.
    type: dict
    required: true
  directory:
    description: Where the bills are.
    type: path
    required: true
  release:
    description: Release that the bills are of.
    type: str
    required: true
author: [Slipway]
"""

RETURN = r"""
found:
  description: What is in each image, with its C(part), C(image), C(id), C(os), C(deb) and C(pypi).
  type: list
  elements: dict
  returned: success
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# A distribution's metadata are the header of a mail, which ends with the first blank line.
ASK = r"""
. /etc/os-release; printf '%s\t%s\n' "$ID" "$VERSION_ID"; echo
dpkg-query --show \
  --showformat '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n'; echo
find / -xdev -type f -path '*.dist-info/METADATA' 2>/dev/null | sort | while IFS= read -r file; do
  sed -n '/^\r*$/q; s/^Name: */N /p; s/^Version: */V /p; s/^License-Expression: */L /p' "$file" |
    tr '\n' '\t'; echo
done
"""


def image_id(module: Any, name: str) -> str:
    """Return the id of an image."""
    code, out, err = module.run_command(["docker", "image", "inspect", "--format={{.Id}}", name])
    if code:
        module.fail_json(msg=f"The image {name} is not there: {err.strip()}")
    return str(out).strip()


def known(path: Path, identity: str) -> bool:
    """Say whether there is a bill of this very image."""
    try:
        bill = json.loads(path.read_text())
        return bool(bill["metadata"]["component"]["version"] == identity)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def parse(text: str) -> dict[str, Any]:
    """Return what an image said about itself."""
    system, debian, python = text.split("\n\n", 2)
    deb = [line.split("\t")[1:] for line in debian.splitlines() if line.startswith("installed\t")]
    pypi = set()
    for line in python.splitlines():
        said = {word[0]: word[2:].strip() for word in line.split("\t") if word}
        if said.get("N") and said.get("V"):
            pypi.add((said["N"], said["V"], said.get("L", "")))
    return {
        "os": system.strip().split("\t"),
        "deb": [dict(zip(("name", "version", "arch"), one, strict=True)) for one in deb],
        "pypi": [
            dict(zip(("name", "version", "license"), one, strict=True)) for one in sorted(pypi)
        ],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "dict", "required": True},
            "directory": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    found = []
    for part, image in module.params["images"].items():
        identity = image_id(module, image)
        path = Path(module.params["directory"], f"{module.params['release']}.{part}.cdx.json")
        if known(path, identity):
            continue
        code, out, err = module.run_command(
            [
                "docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL",
                "--security-opt=no-new-privileges", "--entrypoint=sh", identity, "-c", ASK,
            ]
        )  # fmt: skip
        if code:
            module.fail_json(msg=f"{image} does not tell its packages: {err.strip()}")
        found.append({"part": part, "image": image, "id": identity, **parse(out)})
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
