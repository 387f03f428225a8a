"""An application on a unix socket, in uWSGI's protocol: it answers with what it was asked."""

import json
import os
import socket
import struct


def read(connection: socket.socket, length: int) -> bytes:
    """Read exactly so many bytes."""
    data = b""
    while len(data) < length:
        data += connection.recv(length - len(data))
    return data


def variables(connection: socket.socket) -> dict[str, str]:
    """Read the packet that a request begins with."""
    _, size, _ = struct.unpack("<BHB", read(connection, 4))
    packet, found = read(connection, size), []
    while packet:
        length = struct.unpack("<H", packet[:2])[0]
        found.append(packet[2 : 2 + length].decode())
        packet = packet[2 + length :]
    return dict(zip(found[::2], found[1::2], strict=True))


def main() -> None:
    """Serve for ever."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("/run/slipway/app.sock")
    os.chmod("/run/slipway/app.sock", 0o666)  # noqa: PTH101, S103 (nginx is another user)
    os.symlink("app.sock", "/run/slipway/current.sock")  # noqa: PTH211
    listener.listen()
    while True:
        connection, _ = listener.accept()
        asked = variables(connection)
        body = json.dumps(asked).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        # Of the front's own headers an application may have an opinion, too.
        head += f"X-Request-ID: its-own\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.close()


main()
