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

import errno
import json
import socket
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def take(address: str, port: int, protocol: str) -> int:
    """Take a port and let it go again; return the number of the error, 0 when it was free."""
    family = family_of(address)
    try:
        with socket.socket(family, KINDS[protocol]) as one:
            if protocol == "tcp":
                # As a server does: connections that end do not count.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address, port))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def state_of(address: str, port: int, protocols: Iterable[str], held: set[tuple[str, int]]) -> str:
    """Return what a port is on an address: free, ours, taken, absent or no_ipv6."""
    if (address, port) in held:
        return "ours"
    errors = {take(address, port, protocol) for protocol in protocols} - {0}
    if not errors:
        return "free"
    if errno.EAFNOSUPPORT in errors:
        return "no_ipv6"
    # The kernel says invalid of a link-local address, which is one of an interface.
    if errors & {errno.EADDRNOTAVAIL, errno.EINVAL}:
        # Where the kernel has the family and is told not to use it, all addresses are strange.
        return "no_ipv6" if take("::1", 0, "tcp") and ":" in address else "absent"
    # The same port on another address: a new container takes the place of the old one.
    ours = any(number == port and family_of(one) == family_of(address) for one, number in held)
    return "ours" if ours else "taken"


def judge(
    addresses: list[str], port: int, protocols: list[str], held: set[tuple[str, int]]
) -> dict[str, Any]:
    """Return the module's answer."""
    states = [
        {"address": address, "state": state_of(address, port, protocols, held)}
        for address in addresses
    ]
    # IPv6 for everybody who has it: nothing is missing where there is none.
    without = {"address": "::", "state": "no_ipv6"}
    if len(states) > 1:
        states = [one for one in states if one != without]
    return {
        "addresses": [one["address"] for one in states],
        "states": states,
        "free": all(one["state"] in ("free", "ours") for one in states),
    }


def published(module: Any, container: str) -> set[tuple[str, int]]:
    """Return the addresses and ports of the host that a container holds."""
    command = ["docker", "container", "inspect", "--format={{json .HostConfig.PortBindings}}"]
    code, out, _ = module.run_command([*command, container])
    bindings = json.loads(out) if code == 0 else None
    return {
        (address, int(one["HostPort"]))
        for ports in (bindings or {}).values()
        for one in ports or []
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
                "type": "list", "elements": "str", "choices": list(KINDS), "default": ["tcp"],
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
        changed=False, **judge(given["addresses"], given["port"], given["protocols"], held)
    )


if __name__ == "__main__":
    main()
