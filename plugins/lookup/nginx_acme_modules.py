"""Pack the modules of community.crypto that renew a certificate on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_acme_modules
short_description: Pack the modules that renew a certificate on the host
description:
  - Writes a zip file with modules of community.crypto and what they import, as Ansible itself packs
    a module for a host, and returns its path. It is removed when the play ends.
options: {}
author: [Slipway]
"""

RETURN = r"""
_raw:
  description: The path of the zip file on the control node.
  type: list
  elements: path
"""

import importlib
import os
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import ansible
from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

MODULES = (
    "acme_certificate",
    "acme_certificate_renewal_info",
    "openssl_csr_pipe",
    "openssl_privatekey",
)
COLLECTION = "ansible_collections/community/crypto/plugins"
# Every file gets it, so that the same content is the same file.
EPOCH = (2000, 1, 1, 0, 0, 0)


def contents() -> dict[str, bytes]:
    """Return the files by their path in the archive."""
    try:
        collection = Path(
            importlib.import_module("ansible_collections.community.crypto").__path__[0]
        )
    except ImportError:
        raise AnsibleError(
            "The collection community.crypto is not installed on the control node: "
            "ansible-galaxy collection install -r requirements.yml"
        ) from None
    utils = Path(ansible.__path__[0]) / "module_utils"
    found = {
        f"ansible/module_utils/{path.relative_to(utils)}": path.read_bytes()
        for path in utils.glob("**/*.py")
    }
    plugins = collection / "plugins"
    found |= {
        f"{COLLECTION}/module_utils/{path.relative_to(plugins / 'module_utils')}": path.read_bytes()
        for path in (plugins / "module_utils").glob("**/*.py")
    }
    found |= {
        f"{COLLECTION}/modules/{name}.py": (plugins / "modules" / f"{name}.py").read_bytes()
        for name in MODULES
    }
    # Python finds no package without this file in an archive.
    for directory in {parent for name in found for parent in PurePosixPath(name).parents}:
        if directory.name:
            found.setdefault(f"{directory}/__init__.py", b"")
    return found


def pack(path: Path) -> None:
    """Write the archive; the same content gives the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents().items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)


class LookupModule(LookupBase):
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        """Return the path of the archive."""
        path = Path(constants.DEFAULT_LOCAL_TMP) / "acme-modules.zip"
        if not path.exists():
            # Several hosts are worked on at once, each by a process of its own.
            own = path.with_name(f"{path.name}.{os.getpid()}")
            pack(own)
            own.replace(path)
        return [str(path)]
