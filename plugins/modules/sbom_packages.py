#!/usr/bin/python
"""List the packages in images that have no bill of materials yet."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sbom_packages
short_description: List the packages in images that have no bill of materials yet
description:
  - Asks each image itself, in a container without a network that is removed again, for its Debian
    packages, the Python distributions anywhere in it and the interpreters that no package owns.
  - An image whose bill is there, and is of this very image, is left out. Where another release has
    a bill of the very image, the release gets a copy in its own name.
  - An image that does not tell is no failure, it is among C(problems).
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
  description:
    - What is in each image, with its C(part), C(image), C(id), C(os), C(deb), C(pypi), C(python).
  type: list
  elements: dict
  returned: success
problems:
  description: A sentence for each image that did not tell what is in it.
  type: list
  elements: str
  returned: success
"""

import json
import re
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import volume

# Each line begins with its kind. os-release need not have a VERSION_ID: Debian testing has none. A
# distribution's metadata are the header of a mail, which ends with the first blank line. An
# interpreter built from source (the official images') is in no package; -V needs no library of it.
ASK = r"""
root=${1:-}; ID=linux; VERSION_ID=; VERSION_CODENAME=
for file in "$root/etc/os-release" "$root/usr/lib/os-release"; do
  if [ -r "$file" ]; then . "$file"; break; fi
done
printf 'os\t%s\t%s\n' "$ID" "${VERSION_ID:-$VERSION_CODENAME}"
dpkg-query --admindir="$root/var/lib/dpkg" --show \
  --showformat 'deb\t${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n'
find "$root/" -xdev -type f -path '*.dist-info/METADATA' 2>/dev/null | sort |
  while IFS= read -r file; do
    printf 'pypi\t'
    sed -n '/^\r*$/q; s/^Name: */N /p; s/^Version: */V /p; s/^License-Expression: */L /p' "$file" |
      tr '\n' '\t'; echo
  done
find "$root/" -xdev -type f -path '*/bin/python[23].*' ! -name '*-config' ! -name '*.py' \
  -perm -100 2>/dev/null | sort |
  while IFS= read -r file; do
    dpkg-query --admindir="$root/var/lib/dpkg" --search "${file#"$root"}" >/dev/null 2>&1 ||
      printf 'python\t%s\t%s\n' "${file#"$root"}" "$("$file" -V 2>&1 | head -n 1)"
  done
"""


class SilentImageError(Exception):
    """An image did not tell."""


def run(module: Any, *words: str) -> str:
    """Return what docker answers; raise SilentImageError with its last line when it fails."""
    try:
        # The module's own way would end the run where there is no such program.
        code, out, err = module.run_command(["docker", *words], handle_exceptions=False)
    except OSError as problem:
        raise SilentImageError(f"docker does not run ({problem})") from None
    if code:
        lines = [line.strip() for line in str(err).splitlines() if line.strip()]
        raise SilentImageError(
            lines[-1] if lines else f"docker ended with {code} and wrote nothing"
        )
    return str(out)


def image_id(module: Any, name: str) -> str:
    """Return the id of an image."""
    return run(module, "image", "inspect", "--format={{.Id}}", name).strip()


def known(path: Path, identity: str) -> bool:
    """Say whether there is a bill of this very image."""
    try:
        bill = json.loads(path.read_text())
        return bool(bill["metadata"]["component"]["version"] == identity)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def copied(path: Path, part: str, identity: str, release: str, check: bool) -> bool:
    """Make the bill of an image from another release's; say whether there was one."""
    for other in sorted(path.parent.glob(f"*.{part}.cdx.json")):
        if not known(other, identity):
            continue
        bill = json.loads(other.read_text())
        now = datetime.now(timezone.utc)  # noqa: UP017 (Python 3.10 has no datetime.UTC)
        # A bill of its own: no two have a serial number in common.
        bill["serialNumber"] = uuid.uuid4().urn
        bill["metadata"]["timestamp"] = now.isoformat()
        for one in bill["metadata"]["component"].get("properties", []):
            if one["name"] == "slipway:release":
                one["value"] = release
        if not check:
            volume.replace(path, json.dumps(bill, indent=1) + "\n", 0o644)
        return True
    return False


def parse(text: str) -> dict[str, Any]:
    """Return what an image said about itself; raise SilentImageError when it named no package."""
    system = ["linux", ""]
    deb, pypi, python = [], set(), set()
    for line in text.splitlines():
        kind, _, rest = line.partition("\t")
        words = rest.split("\t")
        if kind == "os" and len(words) == 2:
            system = [word.strip() for word in words]
        elif kind == "deb" and len(words) == 4 and words[0] == "installed":
            deb.append({"name": words[1], "version": words[2], "arch": words[3]})
        elif kind == "pypi":
            said = {word[0]: word[2:].strip() for word in words if word}
            if said.get("N") and said.get("V"):
                pypi.add((said["N"], said["V"], said.get("L", "")))
        elif kind == "python" and len(words) == 2:
            version = re.match(r"Python (\S+)", words[1])
            if version:
                python.add((words[0], version.group(1)))
    if not deb:
        raise SilentImageError("it has no list of Debian packages (dpkg-query)")
    return {
        "os": system,
        "deb": deb,
        "pypi": [{"name": one[0], "version": one[1], "license": one[2]} for one in sorted(pypi)],
        "python": [{"path": one[0], "version": one[1]} for one in sorted(python)],
    }


def packages(module: Any, identity: str) -> dict[str, Any]:
    """Return what an image says about itself."""
    said = run(
        module, "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL",
        "--security-opt=no-new-privileges", "--entrypoint=sh", identity, "-c", ASK,
    )  # fmt: skip
    return parse(said)


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
    found, problems = [], []
    changed = False
    release = module.params["release"]
    for part, image in module.params["images"].items():
        try:
            identity = image_id(module, image)
            path = Path(module.params["directory"], f"{release}.{part}.cdx.json")
            if known(path, identity):
                continue
            if copied(path, part, identity, release, module.check_mode):
                changed = True
            else:
                one = packages(module, identity)
                found.append({"part": part, "image": image, "id": identity, **one})
        except SilentImageError as problem:
            problems.append(f"{image} does not tell its packages: {problem}")
    module.exit_json(changed=changed, found=found, problems=problems)


if __name__ == "__main__":
    main()
