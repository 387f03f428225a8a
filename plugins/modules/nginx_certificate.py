#!/usr/bin/python
"""Choose the front's certificate, and make it the one in use."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_certificate
short_description: Choose the front's certificate, and make it the one in use
description:
  - Holds a given certificate against its key, the site's names and the time, before anything
    uses it.
options:
  root:
    description: Directory of the certificates.
    type: path
    required: true
  state:
    description:
      - V(chosen) says which certificate the site should have, and writes a given one.
      - V(live) makes the one that O(name) says the one in use.
    type: str
    choices: [chosen, live]
    required: true
  mode:
    description: Where the certificate comes from, for V(chosen).
    type: str
    choices: [selfsigned, provided, acme]
  names:
    description: Names of the site, for V(chosen).
    type: list
    elements: str
    default: []
  selfsigned_names:
    description: Names of a self-signed certificate, for V(chosen).
    type: list
    elements: str
    default: []
  directory:
    description: URL of the CA's ACME directory, for V(acme).
    type: str
    default: ""
  certificate:
    description: The chain in PEM, the site's own certificate first, for V(provided).
    type: str
    default: ""
  key:
    description: Its private key in PEM, for V(provided).
    type: str
    default: ""
    no_log: true
  name:
    description: The certificate that O(state=live) puts in use.
    type: str
    default: ""
  uid:
    description: User who may read the key.
    type: int
    default: 0
  gid:
    description: Group of the key.
    type: int
    default: 0
author: [Slipway]
"""

RETURN = r"""
name: {description: The certificate., type: str, returned: success}
before: {description: The one that was in use., type: str, returned: success}
make: {description: Whether a self-signed one has to be made., type: bool, returned: chosen}
force: {description: Whether one that is there has to be made anew., type: bool, returned: chosen}
kind: {description: Where the certificate comes from., type: str, returned: success}
certificate: {description: Names and expiry and fingerprint., type: dict, returned: live}
"""

import datetime
import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.nginx_certificates import (
    Certificate,
    CertificateError,
    Store,
    now,
)

# A self-signed certificate is made anew when it has fewer days left.
LEFT = datetime.timedelta(days=30)


def digest(*texts: str) -> str:
    """Return twelve hexadecimal digits that stand for the texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def sound(store: Store, name: str, names: list[str], left: datetime.timedelta) -> bool:
    """Say whether a certificate is for the names, and valid for a time or a third of its life."""
    try:
        one = store.read(name)
        # Where the whole life is short, as with one of a CA.
        one.require(names, now() + min(left, (one.not_after - one.not_before) / 3))
    except CertificateError:
        return False
    return True


def acme(store: Store, names: list[str], directory: str) -> str:
    """Return the CA's certificate that comes nearest, else one that serves until there is one."""
    there = store.named("acme")
    wanted = {"directory": directory, "names": sorted(names)}
    fitting = [name for name in there if wanted.items() <= store.origin(name).items()]
    nearest: list[str] = fitting or there
    if nearest:
        return nearest[-1]
    live: str = store.live
    return live if live and sound(store, live, names, datetime.timedelta()) else ""


def choose(module: Any, store: Store) -> dict[str, Any]:
    """Return the certificate that the site should have."""
    given = module.params
    name = changed = ""
    if given["mode"] == "provided":
        one = Certificate(given["certificate"], given["key"])
        one.require(given["names"], now())
        name = f"provided-{digest(given['certificate'].strip(), one.fingerprint)}"
        if not (store.root / name / "fullchain.pem").exists():
            changed = name
            if not module.check_mode:
                store.put(name, given["certificate"], given["key"], {"kind": "provided"})
    elif given["mode"] == "acme":
        name = acme(store, given["names"], given["directory"])
    make = force = False
    if not name:
        name = f"selfsigned-{digest(*given['selfsigned_names'])}"
        force = (store.root / name / "fullchain.pem").exists()
        make = not force or not sound(store, name, given["selfsigned_names"], LEFT)
        force = force and make
    return {
        "changed": bool(changed), "name": name, "kind": name.partition("-")[0],
        "make": make, "force": force,
    }  # fmt: skip


def put_in_use(module: Any, store: Store) -> dict[str, Any]:
    """Make a certificate the one in use."""
    name = module.params["name"]
    kind = name.partition("-")[0]
    there = (store.root / name / "fullchain.pem").exists()
    if module.check_mode:
        facts = store.read(name).facts() if there else {}
        return {
            "changed": store.live != name, "name": name, "kind": kind, "certificate": facts,
        }  # fmt: skip
    changed = store.own(name)
    changed = store.complete(name, store.origin(name) or {"kind": kind}) or changed
    if store.live != name:
        store.use(name)
        changed = True
    if kind == "provided":
        store.prune("provided", 2)
    facts = store.read(name).facts()
    return {"changed": changed, "name": name, "kind": kind, "certificate": facts}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "required": True, "choices": ["chosen", "live"]},
            "mode": {"type": "str", "choices": ["selfsigned", "provided", "acme"]},
            "names": {"type": "list", "elements": "str", "default": []},
            "selfsigned_names": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "str", "default": ""},
            "certificate": {"type": "str", "default": ""},
            "key": {"type": "str", "default": "", "no_log": True},
            "name": {"type": "str", "default": ""},
            "uid": {"type": "int", "default": 0},
            "gid": {"type": "int", "default": 0},
        },
        required_if=[("state", "chosen", ["mode"]), ("state", "live", ["name"])],
        supports_check_mode=True,
    )
    given = module.params
    store = Store(Path(given["root"]), given["uid"], given["gid"])
    before = store.live
    try:
        found = (choose if given["state"] == "chosen" else put_in_use)(module, store)
    except CertificateError as problem:
        module.fail_json(msg=str(problem))
    else:
        module.exit_json(before=before, **found)


if __name__ == "__main__":
    main()
