"""Scan this host from a network namespace that reaches it by a wire alone, as a neighbour would.

scan.py: every TCP port and the most usual UDP ports, IPv4 and IPv6; prints what is open as JSON.
scan.py keep PORT SECONDS: one connection from there, on which each word has to come back.
scan.py ask ADDRESS PORT: whether a TCP connection from there comes about.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

NAMESPACE = "outside"
HOST = {4: "198.51.100.1", 6: "2001:db8:51::1"}
OUTSIDE = {4: "198.51.100.2", 6: "2001:db8:51::2"}
UDP_PORTS = 200


def run(*command: str) -> str:
    """Return what a command prints; raise CalledProcessError."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def wire() -> None:
    """Make the namespace and the wire to it, where they are not there yet."""
    if f"{NAMESPACE} " in run("ip", "netns", "list").replace("\n", " "):
        return
    inside = ("ip", "-netns", NAMESPACE)
    run("ip", "netns", "add", NAMESPACE)
    run("ip", "link", "add", "wan0", "type", "veth", "peer", "name", "wan1", "netns", NAMESPACE)
    for prefix, device, addresses in ((("ip",), "wan0", HOST), (inside, "wan1", OUTSIDE)):
        run(*prefix, "address", "add", f"{addresses[4]}/24", "dev", device)
        run(*prefix, "address", "add", f"{addresses[6]}/64", "dev", device, "nodad")
        run(*prefix, "link", "set", device, "up")
    run(*inside, "link", "set", "lo", "up")
    # To the containers as well, as a neighbour can who guesses their addresses.
    run(*inside, "route", "add", "172.16.0.0/12", "via", HOST[4])


def nmap(version: int, *arguments: str) -> dict[str, list[int]]:
    """Return the ports by their state; those that are named by nmap in a lump are left out."""
    fast = ("-n", "-Pn", "--max-retries", "2", "-T4", "-oX", "-")
    six = ("-6",) if version == 6 else ()
    found = ET.fromstring(run("nmap", *fast, *six, *arguments, HOST[version]))  # noqa: S314 (nmap's own)
    states: dict[str, list[int]] = {}
    for port in found.iter("port"):
        state = port.find("state")
        assert state is not None
        states.setdefault(state.attrib["state"], []).append(int(port.attrib["portid"]))
    for lump in found.iter("extraports"):
        states[f"all others {lump.attrib['state']}"] = [int(lump.attrib["count"])]
    return states


def scan() -> dict[str, dict[str, list[int]]]:
    """Return what a scan from the namespace sees."""
    udp = ("-sU", "--top-ports", str(UDP_PORTS), "--min-rate", "500")
    tcp = ("-sS", "-p-", "--min-rate", "10000")
    # By whole connections: of nmap's own packets some were lost on a busy machine, for IPv6 alone.
    tcp6 = ("-sT", "-p-", "--min-rate", "5000")
    return {
        "tcp4": nmap(4, *tcp), "tcp6": nmap(6, *tcp6), "udp4": nmap(4, *udp), "udp6": nmap(6, *udp),
    }  # fmt: skip


def keep(port: int, seconds: float) -> int:
    """Return how many words came back on one connection; raise OSError when it breaks."""
    count = 0
    until = time.monotonic() + seconds
    with socket.create_connection((HOST[4], port), timeout=5) as connection:
        while time.monotonic() < until:
            connection.sendall(b"word")
            if connection.recv(4) != b"word":
                raise ConnectionError("the connection was closed")
            count += 1
            time.sleep(0.1)
    return count


def ask(address: str, port: int) -> bool:
    """Say whether a connection comes about."""
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Run a verb and print what came of it."""
    if run("ip", "netns", "identify").strip() != NAMESPACE:
        wire()
        os.execvp("ip", ["ip", "netns", "exec", NAMESPACE, sys.executable, *sys.argv])  # noqa: S606
    verb = sys.argv[1] if len(sys.argv) > 1 else "scan"
    if verb == "keep":
        print(keep(int(sys.argv[2]), float(sys.argv[3])))
    elif verb == "ask":
        print(json.dumps(ask(sys.argv[2], int(sys.argv[3]))))
    else:
        print(json.dumps(scan()))


if __name__ == "__main__":
    main()
