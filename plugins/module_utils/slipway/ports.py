"""Whether a port of a host is free on each of some addresses."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Any

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
