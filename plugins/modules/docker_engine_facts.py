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
    required: true
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
networks: {description: Each network by name - internal and options., type: dict, returned: always}
volumes: {description: Where each volume lies - by name., type: dict, returned: always}
containers: {description: Each container by name - healthy or not., type: dict, returned: always}
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import engine

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where snapd puts commands: the first on Debian and Ubuntu, the second elsewhere.
SNAP_PATH = "/snap/bin:/var/lib/snapd/snap/bin"


def of_snap(root: str, installed: bool, path: str, snap_path: str) -> bool:
    """Say whether the engine (root: where it keeps its data) or the only client is of a snap.

    One that does not answer counts where no other engine is installed: beside it there is no room
    for another on the same socket.
    """
    command = shutil.which("docker", path=snap_path)
    if root:
        in_snap = root.startswith("/var/snap/")
        return in_snap or (command is not None and shutil.which("docker", path=path) is None)
    return command is not None and not installed


def has_buildx(docker: str | None) -> bool:
    """Say whether the client on this host has the buildx plugin."""
    if docker is None:
        return False
    asked = subprocess.run([docker, "buildx", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "marker": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    version = engine.ask(module.params["socket"], "/version") or {}
    found: dict[str, Any] = {"networks": {}, "volumes": {}, "containers": {}}
    if version:
        try:
            found = engine.contents(module.params["socket"])
        except OSError as problem:
            module.fail_json(msg=str(problem))
    info = (engine.ask(module.params["socket"], "/info", patience=60) or {}) if version else {}
    dockerd = shutil.which("dockerd", path=PATH) or ""
    client = shutil.which("docker", path=PATH)
    module.exit_json(
        changed=False,
        answers=bool(version),
        version=version.get("Version", ""),
        api_version=version.get("ApiVersion", "0"),
        dockerd=dockerd,
        client=client or "",
        snap=of_snap(info.get("DockerRootDir", ""), bool(dockerd), PATH, SNAP_PATH),
        ours=Path(module.params["marker"]).exists(),
        buildx=has_buildx(client),
        requests=importlib.util.find_spec("requests") is not None,
        **found,
    )


if __name__ == "__main__":
    main()
