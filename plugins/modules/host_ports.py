#!/usr/bin/python
"""Say whether a port of a host is free on each of some addresses, by taking it for a moment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_ports
short_description: Say whether a port of a host is free on each of some addresses
description:
  - Takes the port for a moment. What a container of ours holds already is as good as free.
options:
  addresses:
    description: Addresses of the host. C(::) is left out where the host has no IPv6.
    type: list
    elements: str
    required: true
  port:
    description: Port of the host.
    type: int
    required: true
  protocols:
    description: Protocols in which it has to be free.
    type: list
    elements: str
    choices: [tcp, udp]
    default: [tcp]
  held:
    description: What is ours already, as C(address) and C(port).
    type: list
    elements: dict
    default: []
  container:
    description: Name of a container, there or not, whose ports are ours as well.
    type: str
    default: ""
author: [Slipway]
"""

RETURN = r"""
addresses: {description: Those with C(::) only if there is IPv6., type: list, returned: always}
states:
  description: For each of them free, ours, taken, absent (not of this host) or no_ipv6.
  type: list
  returned: always
free: {description: Whether all of them are free or ours., type: bool, returned: always}
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import ports


def published(module: Any, container: str) -> set[tuple[str, int]]:
    """Return the addresses and ports of the host that a container holds."""
    command = ["docker", "container", "inspect", "--format={{json .HostConfig.PortBindings}}"]
    code, out, _ = module.run_command([*command, container])
    bindings = json.loads(out) if code == 0 else None
    return {
        (address, int(one["HostPort"]))
        for several in (bindings or {}).values()
        for one in several or []
        if one["HostPort"]
        # Without an address it is on all of them.
        for address in ([one["HostIp"]] if one["HostIp"] else ["0.0.0.0", "::"])  # noqa: S104
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "required": True},
            "port": {"type": "int", "required": True},
            "protocols": {
                "type": "list", "elements": "str", "choices": list(ports.KINDS), "default": ["tcp"],
            },
            "held": {"type": "list", "elements": "dict", "default": []},
            "container": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )  # fmt: skip
    given = module.params
    held = {(one["address"], int(one["port"])) for one in given["held"]}
    if given["container"]:
        held |= published(module, given["container"])
    module.exit_json(
        changed=False, **ports.judge(given["addresses"], given["port"], given["protocols"], held)
    )


if __name__ == "__main__":
    main()
