#!/usr/bin/python
"""Tell what Docker Engine a host has, with nothing but Python's standard library."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine_facts
short_description: Tell what Docker Engine a host has
description:
  - Asks the engine through its socket for its version and for what there is in it, and looks for
    what comes with it.
  - Needs neither the C(requests) library nor a Docker client, so it works on a bare host.
options:
  socket:
    description: Path of the engine's socket.
    type: path
    default: /var/run/docker.sock
  marker:
    description: File that says that Slipway installed the engine.
    type: path
    default: /etc/slipway/engine
  existing:
    description: Whether an engine has to be there, for RV(refusal).
    type: bool
    default: false
author: [Slipway]
"""

RETURN = r"""
answers: {description: Whether an engine answers on the socket., type: bool, returned: always}
version: {description: Its version or an empty string., type: str, returned: always}
api_version: {description: Its API's version or 0., type: str, returned: always}
dockerd: {description: Path of the daemon or an empty string., type: str, returned: always}
client: {description: Path of the docker command or an empty string., type: str, returned: always}
snap: {description: Whether engine or client are of a snap., type: bool, returned: always}
ours: {description: Whether Slipway installed it., type: bool, returned: always}
buildx: {description: Whether its client has the buildx plugin., type: bool, returned: always}
requests: {description: Whether this Python has the library., type: bool, returned: always}
lacks_apparmor: {description: Whether AppArmor lacks its program., type: bool, returned: always}
refusal: {description: Why it will not do or an empty string., type: str, returned: always}
networks: {description: Each network by name - internal and options., type: dict, returned: always}
volumes: {description: Where each volume lies - by name., type: dict, returned: always}
containers: {description: Each container by name - healthy or not., type: dict, returned: always}
"""

import importlib.util
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import engine, engine_look


def has_buildx(docker: str) -> bool:
    """Say whether the client on this host has the buildx plugin."""
    if not docker:
        return False
    asked = subprocess.run([docker, "buildx", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "marker": {"type": "path", "default": engine_look.MARKER},
            "existing": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    socket = module.params["socket"]
    info = engine.ask(socket, "/info", patience=60) or {}
    there = engine_look.look(socket, module.params["marker"], info)
    found: dict[str, Any] = {"networks": {}, "volumes": {}, "containers": {}}
    if there["answers"]:
        try:
            found = engine.contents(socket)
        except OSError as problem:
            module.fail_json(msg=str(problem))
    module.exit_json(
        changed=False,
        **there,
        refusal=engine_look.refusal(there, module.params["existing"]),
        buildx=has_buildx(there["client"]),
        requests=importlib.util.find_spec("requests") is not None,
        **found,
    )


if __name__ == "__main__":
    main()
