#!/usr/bin/python
"""Say whether the front may hold a port for later, without taking it from somebody else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_ports
short_description: Say whether the front may hold a port for later
description:
  - A port is published when a container is made, so one that is published only when TLS is turned
    on costs a new container, and a gap. It is held before, where nobody else has it.
options:
  container:
    description: Name of the front's container.
    type: str
    required: true
  bind:
    description: Address of the host.
    type: str
    required: true
  port:
    description: Port of the host, for TCP and UDP.
    type: int
    required: true
author: [Slipway]
"""

RETURN = r"""
held: {description: Whether the container holds the port, or could., type: bool, returned: always}
"""

import json
import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def published(module: Any, container: str) -> set[str]:
    """Return the ports of the host that a container holds."""
    command = ["docker", "container", "inspect", "--format={{json .HostConfig.PortBindings}}"]
    code, out, _ = module.run_command([*command, container])
    bindings = json.loads(out) if code == 0 else None
    return {one["HostPort"] for ports in (bindings or {}).values() for one in ports or []}


def free(bind: str, port: int) -> bool:
    """Say whether nobody listens on a port, by taking it for a moment."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as one:
            if kind == socket.SOCK_STREAM:
                # As a server does: connections that end do not count.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((bind, port))
            except OSError:
                return False
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "bind": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    own = str(given["port"]) in published(module, given["container"])
    module.exit_json(changed=False, held=own or free(given["bind"], given["port"]))


if __name__ == "__main__":
    main()
