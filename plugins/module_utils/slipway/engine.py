"""The engine's API on its socket, with nothing but Python's standard library."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

SOCKET = "/var/run/docker.sock"


class SocketConnection(http.client.HTTPConnection):
    """An HTTP connection to a unix socket."""

    def __init__(self, path: str, patience: int) -> None:
        """Remember the path."""
        super().__init__("localhost", timeout=patience)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket instead of a TCP port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path: str, what: str, patience: int = 10) -> Any:
    """Return what the engine answers to a request, None when none answers within some seconds."""
    connection = SocketConnection(path, patience)
    try:
        connection.request("GET", what)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def contents(path: str) -> dict[str, Any]:
    """Return the engine's networks, volumes and containers, by name.

    Raises:
        OSError: when it does not answer; a busy engine is no empty one.

    """
    said = {}
    for what in ("/networks", "/volumes", "/containers/json?all=1"):
        said[what] = ask(path, what, patience=60)
        if said[what] is None:
            raise OSError(f"the engine does not answer to {what} on {path}")
    networks, volumes, containers = said.values()
    volumes = volumes["Volumes"] or []
    return {
        "networks": {
            one["Name"]: {"internal": one["Internal"], "options": one["Options"] or {}}
            for one in networks
        },
        "volumes": {one["Name"]: one["Mountpoint"] for one in volumes},
        "containers": {
            name.lstrip("/"): {"healthy": "(healthy)" in one["Status"]}
            for one in containers
            for name in one["Names"]
        },
    }
