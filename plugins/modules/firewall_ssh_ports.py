#!/usr/bin/python
"""Tell the ports by which a host is reached over SSH, whoever listens there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall_ssh_ports
short_description: Tell the ports by which a host is reached over SSH
description:
  - Ports that the configuration of sshd names, ports on which a server of SSH listens just now, and
    ports on which systemd listens for one. A server may have been started with another port than
    its configuration has, and a configuration may be changed and not in force yet.
author: [Slipway]
"""

RETURN = r"""
configured: {description: Ports of sshd's configuration., type: list, returned: always}
listening: {description: Ports on which a server listens., type: list, returned: always}
sockets: {description: Ports on which systemd listens for one., type: list, returned: always}
ports: {description: All of them, or 22 where there is none., type: list, returned: always}
"""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

USUAL = 22
SERVERS = ("sshd", "dropbear", "tinysshd")
LISTENING = "0A"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIGURATION = Path("/etc/ssh/sshd_config")
PROC = Path("/proc")
# What a Match block sets is of users and addresses, never a port.
KEYWORDS = ("port", "listenaddress", "include", "match")


def output_of(*command: str) -> str:
    """Return what a command prints, nothing when it fails or is not there."""
    environment = {"PATH": PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def port_of(address: str) -> int | None:
    """Return the port of 192.0.2.1:22, [::1]:22, *:22 or 22, None for an address without one."""
    found = re.fullmatch(r"(?:(?:\[[^]]*\]|[^:]*):)?(\d+)", address)
    return int(found.group(1)) if found else None


def lines_of(path: Path, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield keyword and value of a configuration of sshd, what it includes in its place."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        words = line.split("#")[0].replace("=", " ", 1).split()
        if len(words) < 2 or words[0].lower() not in KEYWORDS:
            continue
        keyword = words[0].lower()
        if keyword == "match":
            return
        if keyword != "include":
            yield keyword, words[1].strip('"')
        elif depth < 16:
            for pattern in words[1:]:
                # A path that is not absolute is one below the directory of the main file.
                below = str(CONFIGURATION.parent / pattern.strip('"')).lstrip("/")
                for one in sorted(Path("/").glob(below)):
                    yield from lines_of(one, depth + 1)


def configured() -> set[int]:
    """Return the ports that the configuration of sshd names."""
    # sshd itself knows best; -T wants /run/sshd, which is there only while a server runs, and -G,
    # which wants nothing, came with OpenSSH 9.3.
    for option in ("-T", "-G"):
        said = output_of("sshd", option)
        if said:
            pairs = [line.partition(" ")[::2] for line in said.splitlines()]
            break
    else:
        pairs = list(lines_of(CONFIGURATION))
    ports = {
        port
        for keyword, value in pairs
        # An address has a port behind a colon, or none of its own.
        if keyword == "port" or (keyword == "listenaddress" and ":" in value)
        if (port := port_of(value))
    }
    return ports or ({USUAL} if CONFIGURATION.exists() else set())


def listeners(table: str) -> dict[str, int]:
    """Return the ports that a table of /proc/net shows as listening, by the socket's number."""
    found = {}
    for line in table.splitlines()[1:]:
        words = line.split()
        address, port = words[1].split(":")
        # What listens on the loopback interface alone is reached whatever the firewall says; it
        # is what a session forwards, as a rule.
        loopback = address in ("0100007F", "00000000000000000000000001000000")
        if words[3] == LISTENING and not loopback:
            found[words[9]] = int(port, 16)
    return found


def name_of(process: Path) -> str:
    """Return a process's name, nothing when it has ended."""
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


def servers() -> Iterator[Path]:
    """Yield the servers of SSH that run; a session is the child of one and forwards ports."""
    for process in PROC.glob("[0-9]*"):
        if name_of(process) not in SERVERS:
            continue
        try:
            # After the name, which may have anything in it: state, parent.
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if name_of(PROC / parent) not in SERVERS:
            yield process


def listening() -> set[int]:
    """Return the ports on which a server of SSH listens."""
    sockets: dict[str, int] = {}
    for family in ("tcp", "tcp6"):
        table = PROC / "net" / family
        if table.exists():
            sockets |= listeners(table.read_text())
    ports = set()
    for process in servers():
        try:
            files = list((process / "fd").iterdir())
        except OSError:
            continue
        for one in files:
            try:
                found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(one))  # noqa: PTH115
            except OSError:
                continue
            if found and found.group(1) in sockets:
                ports.add(sockets[found.group(1)])
    return ports


def sockets_of(shown: str) -> set[int]:
    """Return the TCP ports on which systemd listens for SSH, by what `systemctl show` prints."""
    ports = set()
    for unit in shown.split("\n\n"):
        fields: dict[str, list[str]] = {}
        for line in unit.splitlines():
            name, _, value = line.partition("=")
            fields.setdefault(name, []).append(value)
        wanted = "active" in fields.get("ActiveState", []) or any(
            state.startswith("enabled") for state in fields.get("UnitFileState", [])
        )
        name = " ".join([*fields.get("Id", []), *fields.get("Triggers", [])])
        if not wanted or not re.search(r"\b(sshd?|dropbear|tinysshd)\b", name):
            continue
        for listen in fields.get("Listen", []):
            address, _, kind = listen.partition(" ")
            if kind == "(Stream)" and not address.startswith(("/", "vsock", "127.", "[::1]")):
                port = port_of(address)
                ports |= {port} if port else set()
    return ports


def listened_for() -> set[int]:
    """Return the ports on which systemd listens for a server of SSH."""
    properties = "--property=Id,ActiveState,UnitFileState,Triggers,Listen"
    # A unit that is enabled and not loaded yet matches no pattern.
    return sockets_of(
        output_of("systemctl", "show", properties, "ssh.socket", "sshd.socket", "*.socket")
    )


def numbers(ports: Iterable[int]) -> list[str]:
    """Return ports as the rules take them."""
    return [str(port) for port in sorted(ports)]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    found = {
        "configured": configured(),
        "listening": listening(),
        "sockets": listened_for(),
    }
    every = set().union(*found.values())
    module.exit_json(
        changed=False,
        ports=numbers(every or {USUAL}),
        **{name: numbers(ports) for name, ports in found.items()},
    )


if __name__ == "__main__":
    main()
