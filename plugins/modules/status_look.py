#!/usr/bin/python
"""Look at what a project has on a host, for a report."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status_look
short_description: Look at what a project has on a host, for a report
description:
  - Brings containers, volumes and their sizes, notes, certificate, firewall, and what the program
    for the data says, in one program that needs nothing but Python.
options:
  project:
    description: Name of the project.
    type: str
    required: true
  config_dir:
    description: Directory on the host for configuration and secrets.
    type: path
    required: true
  state_dir:
    description: Directory on the host for other state.
    type: path
    required: true
  firewall_seconds:
    description: How long rules of the firewall may be on trial.
    type: int
    default: 30
  socket:
    description: Path of the engine's socket.
    type: path
    default: /var/run/docker.sock
author: [Slipway]
"""

RETURN = r"""
engine: {description: Whether an engine answers., type: bool, returned: always}
containers: {description: Containers as the engine lists them., type: list, returned: engine}
volumes: {description: Volumes as name and bytes., type: list, returned: engine}
release: {description: Text of the note of the release., type: str, returned: engine}
maintenance: {description: Whether maintenance is on., type: bool, returned: engine}
program: {description: What came of the program for the data., type: dict, returned: engine}
certificate: {description: The certificate in use., type: dict, returned: engine}
acme: {description: Text of the note of what came of asking the CA., type: str, returned: engine}
warm: {description: Releases that stay in memory for a while., type: list, returned: engine}
firewall: {description: What is let in and what is wrong with it., type: dict, returned: engine}
"""

import json
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import engine, firewall, volume

try:
    from cryptography import x509
except ImportError:  # the role nginx installs it for TLS
    x509 = None  # type: ignore[assignment]

# Seconds that a busy host may need to measure a large volume, or to ask a repository that is gone.
PATIENCE = 600


def text_of(path: Path) -> str:
    """Return what a file holds, nothing where there is none."""
    try:
        return str(volume.read(path))
    except (OSError, volume.ProblemError):
        return ""


def sizes(paths: list[str]) -> dict[str, int]:
    """Return path to bytes on the disk."""
    if not paths:
        return {}
    done = subprocess.run(
        ["du", "--summarize", "--block-size=1", *paths],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    lines = (line.partition("\t") for line in done.stdout.splitlines())
    return {path: int(size) for size, _, path in lines}


def health(config: Path, program: Path) -> dict[str, Any]:
    """Return what came of the program that looks at the data: rc, stdout and stderr, or msg."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "slipway_data", str(config / "data.json"), "health"],
            cwd=program, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as problem:
        return {"msg": str(problem)}
    return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def certificate_in(live: Path) -> dict[str, Any]:
    """Return the name of the certificate that a link names, and what can be read of it.

    Nothing where there is no link.
    """
    if not live.is_symlink():
        return {}
    found: dict[str, Any] = {"name": str(live.readlink())}
    try:
        one = x509.load_pem_x509_certificate((live / "fullchain.pem").read_bytes())
        known = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issuer = one.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        # Names of older releases of cryptography, whose moments are in UTC as well.
        before = getattr(one, "not_valid_before_utc", None) or one.not_valid_before
        after = getattr(one, "not_valid_after_utc", None) or one.not_valid_after
    except (OSError, ValueError, AttributeError, x509.ExtensionNotFound):
        return found
    return found | {
        "names": [str(name.value) for name in known],
        "issuer": str(issuer[0].value) if issuer else "",
        "not_before": f"{before:%Y%m%d%H%M%SZ}",
        "not_after": f"{after:%Y%m%d%H%M%SZ}",
    }


def look(given: dict[str, Any]) -> dict[str, Any]:
    """Return what there is, as RETURN describes."""
    only = urllib.parse.quote(json.dumps({"label": [f"slipway.project={given['project']}"]}))
    containers, volumes = (
        engine.ask(given["socket"], what, patience=60)
        for what in (f"/containers/json?all=1&filters={only}", f"/volumes?filters={only}")
    )
    if containers is None or volumes is None:
        return {"engine": False}
    config, state = Path(given["config_dir"]), Path(given["state_dir"])
    places = {one["Name"]: one["Mountpoint"] for one in volumes["Volumes"] or []}
    bytes_of = sizes(list(places.values()))
    return {
        "engine": True,
        "containers": containers,
        "volumes": [
            {"name": name, "bytes": bytes_of.get(place, 0)} for name, place in places.items()
        ],
        "release": text_of(state / "current.json"),
        "maintenance": "default 1;" in text_of(config / "nginx/maintenance.conf"),
        "program": health(config, state / "program"),
        "certificate": certificate_in(config / "nginx/tls/live"),
        "acme": text_of(state / "acme.json"),
        "warm": sorted({path.name.partition("-")[0] for path in (state / "warm").glob("*-*")}),
        "firewall": firewall.compare(
            firewall.Store(firewall.DIRECTORY), given["project"], given["firewall_seconds"]
        ),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "config_dir": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "firewall_seconds": {"type": "int", "default": 30},
            "socket": {"type": "path", "default": engine.SOCKET},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **look(module.params))


if __name__ == "__main__":
    main()
