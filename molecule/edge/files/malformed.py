"""Send a site requests that nobody should send, and say what it made of them.

malformed.py SCHEME HOST PORT COUNT SEED NAME PATH: one seed sends the same requests, whose Host is
NAME, and which post to PATH. Prints as JSON how many of each kind got which status, and the answers
that show an error of the server.
"""

from __future__ import annotations

import concurrent.futures
import json
import random
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass

CLIENTS = 24
# Of a request that is not complete there comes no answer; nginx would wait for the rest.
PATIENCE = 0.5
END = b"\r\n"
# What a second request hidden in the body of a first one asks for.
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n"


@dataclass
class Site:
    """Where the requests go."""

    host: str
    port: int
    name: bytes
    path: bytes


Maker = Callable[[random.Random, Site], bytes]


def head(name: bytes, *lines: bytes, method: bytes = b"GET", target: bytes = b"/") -> bytes:
    """Return a request without a body."""
    return END.join([method + b" " + target + b" HTTP/1.1", b"Host: " + name, *lines, b"", b""])


def post(site: Site, body: bytes) -> bytes:
    """Return a request whose body says that it is JSON."""
    lines = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    return head(site.name, *lines, method=b"POST", target=site.path) + body


def junk(dice: random.Random, longest: int) -> bytes:
    """Return bytes of any kind."""
    return dice.randbytes(dice.randint(1, longest))


def bad_chunks(dice: random.Random, site: Site) -> bytes:
    """Return a body whose chunks are not what they say."""
    body = dice.choice(
        [
            b"ZZ\r\nabc\r\n0\r\n\r\n",
            b"-5\r\nabcde\r\n0\r\n\r\n",
            b"5\r\nabc\r\n0\r\n\r\n",
            b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            b"3 ;x=\x00\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"3\nabc\n0\n\n",
            b"3\r\nabcX\r\n0\r\n\r\n",
            junk(dice, 64),
        ]
    )
    return head(site.name, b"Transfer-Encoding: chunked", method=b"POST", target=site.path) + body


def long_header(dice: random.Random, site: Site) -> bytes:
    """Return one header that is larger than any buffer, or many."""
    if dice.random() < 0.5:
        return head(site.name, b"X-Long: " + b"a" * dice.randint(16_000, 80_000))
    return head(site.name, *(b"X-%d: %s" % (n, b"b" * 900) for n in range(dice.randint(50, 150))))


def long_target(dice: random.Random, site: Site) -> bytes:
    """Return a path or a query without an end."""
    return head(site.name, target=dice.choice([b"/", b"/?q="]) + b"a" * dice.randint(8_000, 40_000))


def wrong_method(dice: random.Random, site: Site) -> bytes:
    """Return a method that nobody knows, or that this path does not take."""
    methods = [b"TRACE", b"CONNECT", b"get", b"G\x00T", b"FOO" * 50, b"", b"PRI", b"PUT", b"DELETE"]
    method = dice.choice([*methods, junk(dice, 12)])
    return head(site.name, method=method, target=dice.choice([b"/", b"*", b"/rows"]))


def nul_byte(dice: random.Random, site: Site) -> bytes:
    """Return a NUL in the path, in a header's name or in its value."""
    return dice.choice(
        [
            head(site.name, target=b"/\x00"),
            head(site.name, target=b"/a%00b"),
            head(site.name, b"X-\x00: a"),
            head(site.name, b"X-A: a\x00b"),
            head(site.name + b"\x00"),
        ]
    )


def traversal(dice: random.Random, site: Site) -> bytes:
    """Return a way out of the directory of the files."""
    up = dice.choice([b"../", b"..%2f", b"%2e%2e/", b"..\\", b"..%5c", b"%c0%ae%c0%ae/", b"....//"])
    where = dice.choice([b"/static/", b"/", b"/static/.%00/"])
    return head(site.name, target=where + up * dice.randint(1, 12) + b"etc/passwd")


def not_utf8(dice: random.Random, site: Site) -> bytes:
    """Return bytes that are no text, in path, query, header or JSON."""
    bad = dice.choice([b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
    percent = b"".join(b"%%%02x" % byte for byte in bad)
    body = b'{"n": "' + bad + b'"}'
    return dice.choice(
        [
            head(site.name, target=b"/" + bad),
            head(site.name, target=b"/" + percent + b"?q=" + percent),
            head(site.name, b"Cookie: a=" + bad, b"User-Agent: " + bad),
            post(site, body),
            post(site, b'{"n": "\\ud800", "name": "\\u0000", "price": 1, "breed": "a"}'),
            post(site, b"[" * 5000),
        ]
    )


def wrong_length(dice: random.Random, site: Site) -> bytes:
    """Return lengths that contradict each other, or are none."""
    lines = dice.choice(
        [
            (b"Content-Length: 5", b"Content-Length: 6"),
            (b"Content-Length: 5", b"Content-Length: 5"),
            (b"Content-Length: -1",),
            (b"Content-Length: +5",),
            (b"Content-Length: 5, 6",),
            (b"Content-Length: 0x5",),
            (b"Content-Length: 99999999999999999999",),
            (b"Content-Length:",),
        ]
    )
    return head(site.name, *lines, method=b"POST", target=site.path) + b"hello" + HIDDEN


def two_hosts(dice: random.Random, site: Site) -> bytes:
    """Return more than one Host, none, or one that is no name."""
    return dice.choice(
        [
            head(site.name, b"Host: other.example"),
            head(site.name, b"Host: " + site.name),
            b"GET / HTTP/1.1\r\n\r\n",
            head(b"a b"),
            head(site.name + b"/../x"),
            head(site.name + b":port"),
            head(b"[::1"),
            head(b""),
        ]
    )


def smuggled(dice: random.Random, site: Site) -> bytes:
    """Return a second request, hidden by a length and an encoding that do not agree."""
    lines = dice.choice(
        [
            (b"Content-Length: %d" % (5 + len(HIDDEN)), b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
            (b"Transfer-Encoding: xchunked",),
            (b"Transfer-Encoding: chunked, identity",),
            (b"Transfer-Encoding : chunked",),
            (b"Transfer-Encoding: \x0bchunked", b"Content-Length: 5"),
            (b"Content-Length : 5",),
        ]
    )
    return head(site.name, *lines, method=b"POST", target=site.path) + b"0\r\n\r\n" + HIDDEN


def folded(dice: random.Random, site: Site) -> bytes:
    """Return a header that goes on in the next line, as it was once allowed."""
    line = dice.choice(
        [
            b"X-A: a\r\n b",
            b"Transfer-Encoding:\r\n chunked",
            b"Content-Length: 4\r\n\t4",
            b" X-A: a",
        ]
    )
    return head(site.name, line, method=b"POST", target=site.path) + b"0\r\n\r\n" + HIDDEN


def bare_line(dice: random.Random, site: Site) -> bytes:
    """Return lines that end in LF or in CR alone."""
    end = dice.choice([b"\n", b"\r", b"\r\r\n", b"\n\r\n"])
    return end.join(
        [b"GET / HTTP/1.1", b"Host: " + site.name, b"X-A: a" + end + b"X-B: b", b"", b""]
    )


def wrong_line(dice: random.Random, site: Site) -> bytes:
    """Return a first line that is none."""
    line = dice.choice(
        [
            b"GET /",
            b"GET / HTTP/9.9",
            b"GET  /  HTTP/1.1",
            b"GET / HTTP/1.1 x",
            b"GET http:// HTTP/1.1",
            b"GET http://other.example/ HTTP/1.1",
            b"GET //%%% HTTP/1.1",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0",
            junk(dice, 200),
        ]
    )
    return line + END + b"Host: " + site.name + END + END


def cut_short(dice: random.Random, site: Site) -> bytes:
    """Return a request that ends somewhere in itself."""
    whole = (
        head(site.name, b"Content-Length: 40", b"X-A: a", method=b"POST", target=site.path) + b"x"
    )
    return whole[: dice.randint(1, len(whole))]


KINDS: tuple[Maker, ...] = (
    bad_chunks, long_header, long_target, wrong_method, nul_byte, traversal, not_utf8, wrong_length,
    two_hosts, smuggled, folded, bare_line, wrong_line, cut_short,
)  # fmt: skip


def context() -> ssl.SSLContext:
    """Return a client's side of TLS that takes any certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def send(site: Site, tls: ssl.SSLContext | None, request: bytes) -> bytes:
    """Send a request and return what comes back, as far as it comes."""
    answer = b""
    connection = socket.create_connection((site.host, site.port), timeout=5)
    try:
        if tls:
            connection = tls.wrap_socket(connection, server_hostname=site.name.decode())
        connection.settimeout(PATIENCE)
        connection.sendall(request)
        while len(answer) < 65_536 and (data := connection.recv(4096)):
            answer += data
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    finally:
        connection.close()
    return answer


def main() -> int:
    """Send them all, and print the report."""
    scheme, host, port, count, seed, name, path = sys.argv[1:8]
    site = Site(host, int(port), name.encode(), path.encode())
    tls = context() if scheme == "https" else None
    dice = random.Random(int(seed))  # noqa: S311 (nothing to guess)
    requests = []
    for number in range(int(count)):
        kind = KINDS[number % len(KINDS)]
        requests.append((kind.__name__, kind(dice, site)))
    report: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        answers = pool.map(lambda one: send(site, tls, one[1]), requests)
        for (kind_name, request), answer in zip(requests, answers, strict=True):
            status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/") else "none"
            if answer and not answer.startswith(b"HTTP/"):
                status = "bare"
            seen = report.setdefault(kind_name, {})
            seen[status] = seen.get(status, 0) + 1
            if status.startswith("5") and status not in ("501", "505"):
                wrong.append(f"{status} for {request[:200]!r}")
    print(json.dumps({"sent": len(requests), "kinds": report, "wrong": wrong[:20]}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
