"""Addresses of the host on which something answers: one or several, of both families."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared with, not bound)
LOCAL = ("127.0.0.1", "::1")


def _words(given: Any) -> list[str]:
    """Return what was given as a list: a text may name several addresses with commas."""
    if isinstance(given, str):
        given = given.split(",")
    elif given is None or not isinstance(given, Iterable):
        given = [given]
    return ["" if one is None else str(one).strip() for one in given]


def _address(word: str) -> str | None:
    """Return an address as the engine writes it, None for what is none to listen on."""
    inner = word[1:-1] if word.startswith("[") and word.endswith("]") else word
    try:
        address = ipaddress.ip_address(inner)
    except ValueError:
        return None
    scoped = "%" in inner or getattr(address, "ipv4_mapped", None) is not None
    return None if scoped or address.is_multicast else str(address)


def bind_addresses(given: Any) -> list[str]:
    """Return the addresses of a setting, each once; what is no address stays as it is."""
    return list(dict.fromkeys(_address(word) or word for word in _words(given)))


def bind_problem(given: Any, variable: str) -> str:
    """Return what is wrong with a setting as a sentence, or nothing."""
    words = _words(given)
    strange = [word or "nothing" for word in words if _address(word) is None]
    if words and not strange:
        return ""
    return (
        f"{variable} names {', '.join(strange) or 'nothing'}, which is no address to listen on: "
        'write an address of the host such as 127.0.0.1, 0.0.0.0 for all of IPv4, "::" for all of '
        "IPv6, or a list of them."
    )


def bind_host(address: str) -> str:
    """Return an address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def bind_published(addresses: Iterable[str], ports: Iterable[Iterable[Any]]) -> list[str]:
    """Return what docker_container publishes: pairs of host's and container's port, everywhere."""
    pairs = [tuple(pair) for pair in ports]
    return [f"{bind_host(one)}:{host}:{inner}" for one in addresses for host, inner in pairs]


def bind_outside(given: Any) -> bool:
    """Say whether anybody but the host itself can come to one of the addresses."""
    return any(not ipaddress.ip_address(one).is_loopback for one in bind_addresses(given))


def bind_names(given: Any) -> list[str]:
    """Return the addresses by which a host without a name is called."""
    own = [one for one in bind_addresses(given) if one not in (*EVERYWHERE, *LOCAL)]
    return ["localhost", *LOCAL, *own]


def bind_url_host(given: Any) -> str:
    """Return the address that stands in the URL of a site without a name."""
    addresses = bind_addresses(given)
    if "0.0.0.0" in addresses or "127.0.0.1" in addresses:  # noqa: S104 (compared with)
        return "127.0.0.1"
    return bind_host("::1" if addresses[0] == "::" else addresses[0])


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "bind_addresses": bind_addresses,
            "bind_problem": bind_problem,
            "bind_host": bind_host,
            "bind_published": bind_published,
            "bind_outside": bind_outside,
            "bind_names": bind_names,
            "bind_url_host": bind_url_host,
        }
