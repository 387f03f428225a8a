"""A login at Postgres in its own protocol: its answer has an SQLSTATE, whatever language it speaks.

psql has only the server's sentence when a connection fails, and that is in the server's language.
https://www.postgresql.org/docs/current/protocol-flow.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import stringprep
import struct
import subprocess
import threading
import unicodedata
from contextlib import suppress
from typing import IO

# The password is wrong, or the role has none.
WRONG_PASSWORD = "28P01"  # noqa: S105
# The connection ended, or there was none.
LOST = "08006"
SECONDS = 15
PORT = "5432"
# Between this program and the server in its container; bash knows TCP. It waits for both ends: an
# orphan would become the server's own child, and one that a signal ended a crash of the server.
PIPE = 'exec 3<>"/dev/tcp/$0/$1" 4<&0 || exit; cat <&4 >&3 & cat <&3; wait'


def attempt(container: str, address: str, role: str, password: str) -> str:
    """Return the SQLSTATE that the server answers a login with; nothing when it lets the role in."""
    with subprocess.Popen(
        ["docker", "exec", "-i", container, "bash", "-c", PIPE, address, PORT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        late = threading.Timer(SECONDS, process.kill)
        late.start()
        try:
            # For the type checker.
            assert process.stdin
            assert process.stdout
            said = login(process.stdout, process.stdin, role, password)
            # Its end is that of all that runs there.
            with suppress(OSError):
                process.stdin.close()
            process.wait()
            return said
        finally:
            late.cancel()


def login(reader: IO[bytes], writer: IO[bytes], role: str, password: str) -> str:
    """Log in and out again; return the SQLSTATE of a refusal, or nothing."""

    def send(kind: bytes, body: bytes) -> None:
        writer.write(kind + struct.pack("!i", len(body) + 4) + body)
        writer.flush()

    exchange = Scram(password)
    try:
        send(b"", struct.pack("!i", 196608) + f"user\0{role}\0database\0postgres\0\0".encode())
        while True:
            kind, length = struct.unpack("!ci", _all(reader, 5))
            body = _all(reader, length - 4)
            if kind == b"E":
                fields = {field[:1]: field[1:] for field in body.split(b"\0") if field}
                return fields.get(b"C", LOST.encode()).decode()
            if kind == b"Z":
                send(b"X", b"")
                return ""
            if kind != b"R":
                continue
            wanted, data = struct.unpack("!i", body[:4])[0], body[4:]
            if wanted == 3:
                send(b"p", password.encode() + b"\0")
            elif wanted == 5:
                inner = hashlib.md5((password + role).encode()).hexdigest()  # noqa: S324
                send(b"p", b"md5" + hashlib.md5(inner.encode() + data).hexdigest().encode() + b"\0")  # noqa: S324
            elif wanted == 10:
                first = exchange.first()
                send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
            elif wanted == 11:
                send(b"p", exchange.last(data))
    except (OSError, ValueError, KeyError, struct.error):
        return LOST


def _all(reader: IO[bytes], count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = reader.read(count - len(found))
        if not more:
            raise ConnectionResetError
        found += more
    return found


class Scram:
    """SCRAM-SHA-256 (RFC 7677) on the client's side; the server's proof is nobody's matter here."""

    def __init__(self, password: str) -> None:
        """Take the password."""
        self.password = prepared(password).encode()
        self.bare = f"n=,r={secrets.token_urlsafe(18)}"

    def first(self) -> bytes:
        """Return the first message."""
        return f"n,,{self.bare}".encode()

    def last(self, challenge: bytes) -> bytes:
        """Return the answer to the server's first message."""
        given = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password, base64.b64decode(given["s"]), int(given["i"])
        )
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c=biws,r={given['r']}"
        text = ",".join((self.bare, challenge.decode(), without)).encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), text, "sha256")
        proof = bytes(one ^ other for one, other in zip(key, signature))  # noqa: B905 (Python 3.9)
        return f"{without},p={base64.b64encode(proof).decode()}".encode()


def prepared(password: str) -> str:
    """Return a password as clients and server make it alike (RFC 4013), or as it is."""
    text = "".join(
        " " if stringprep.in_table_c12(one) else one
        for one in password
        if not stringprep.in_table_b1(one)
    )
    text = unicodedata.normalize("NFKC", text)
    refused = (
        stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
        stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
        stringprep.in_table_c9, stringprep.in_table_a1,
    )  # fmt: skip
    return password if not text or any(test(one) for one in text for test in refused) else text
