"""Filters that turn what may come in into rules, and hold the running connection against it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

LAST_PORT = 65535


def ports_of(text: str | int) -> tuple[int, int]:
    """Return the first and the last port of 443 or 8000-8010; raise AnsibleFilterError."""
    first, _, last = str(text).partition("-")
    try:
        ports = int(first), int(last or first)
    except ValueError:
        ports = 0, 0
    if not 0 < ports[0] <= ports[1] <= LAST_PORT:
        raise AnsibleFilterError(f"{text!r} is neither a port nor a range such as 8000-8010")
    return ports


def networks_of(
    sources: Iterable[str],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks of addresses in text; raise AnsibleFilterError."""
    try:
        return [ipaddress.ip_network(source) for source in sources]
    except ValueError as error:
        raise AnsibleFilterError(
            f"{error}: write an address or a network, such as 192.0.2.0/24"
        ) from error


def firewall_entries(ports: Iterable[str | int], sources: Iterable[str]) -> list[dict[str, Any]]:
    """Return an entry per port, each open to the same sources."""
    return [{"port": port, "from": list(sources)} for port in ports]


def firewall_matches(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return nftables matches of entries with port, proto, from; raise AnsibleFilterError."""
    matches: list[str] = []
    for entry in entries:
        first, last = ports_of(entry["port"])
        proto = entry.get("proto") or "tcp"
        if proto not in ("tcp", "udp"):
            raise AnsibleFilterError(f"proto of port {entry['port']} is {proto!r}, not tcp or udp")
        what = f"{proto} dport {first}" + (f"-{last}" if last > first else "")
        networks = networks_of(entry.get("from") or [])
        if not networks:
            matches.append(what)
        for version, family in ((4, "ip"), (6, "ip6")):
            own = ", ".join(
                sorted(str(network) for network in networks if network.version == version)
            )
            if own:
                matches.append(f"{family} saddr {{ {own} }} {what}")
    return list(dict.fromkeys(matches))


def firewall_admits(entries: Iterable[Mapping[str, Any]], connection: str) -> bool:
    """Say whether a connection may come in, given as client, its port, server, its port."""
    client, _, _, port = connection.split()
    # A link-local address has its interface behind it.
    address = ipaddress.ip_address(client.partition("%")[0])
    for entry in entries:
        first, last = ports_of(entry["port"])
        networks = networks_of(entry.get("from") or [])
        if (
            (entry.get("proto") or "tcp") == "tcp"
            and first <= int(port) <= last
            and (not networks or any(address in network for network in networks))
        ):
            return True
    return False


class FilterModule:
    """The filters of the firewall role."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "firewall_entries": firewall_entries,
            "firewall_matches": firewall_matches,
            "firewall_admits": firewall_admits,
        }
