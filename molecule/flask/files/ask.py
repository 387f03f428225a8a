#!/usr/bin/env python3
"""ask.py ADDRESS PATH: ask in uWSGI's protocol on a unix socket or at HOST:PORT, print the body."""

import socket
import struct
import sys


def main(address: str, path: str) -> int:
    """Ask, and return 1 for any answer but a whole 200."""
    variables = {
        "REQUEST_METHOD": "GET", "REQUEST_URI": path, "PATH_INFO": path, "QUERY_STRING": "",
        "SERVER_NAME": "test", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "probe.example",
    }  # fmt: skip
    packet = b"".join(
        struct.pack("<H", len(part)) + part.encode() for pair in variables.items() for part in pair
    )
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
    else:
        host, port = address.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)))
    connection.settimeout(60)
    connection.sendall(struct.pack("<BHB", 0, len(packet), 0) + packet)
    answer = b""
    while data := connection.recv(65536):
        answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    print(body.decode().strip())
    return 0 if b" 200 " in head.split(b"\r\n")[0] and body else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
