"""An ACME server that has had enough: Pebble's directory, and no order is taken."""

import http.server
import json
import ssl
import urllib.request

KNOWN = ssl.create_default_context(cafile="/srv/ca/ca.crt")
PROBLEM = {
    "type": "urn:ietf:params:acme:error:rateLimited",
    "detail": "too many certificates already issued for a.example, retry tomorrow",
    "status": 429,
}


class Limited(http.server.BaseHTTPRequestHandler):
    """Answers for Pebble where it would say no."""

    def do_GET(self) -> None:
        """Give the directory, with another address for orders."""
        with urllib.request.urlopen("https://ca.example:14000/dir", context=KNOWN) as answer:
            directory = json.load(answer)
        directory["newOrder"] = "https://ca.example:14001/order"
        self.answer(200, "application/json", directory)

    def do_POST(self) -> None:
        """Refuse an order."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(429, "application/problem+json", PROBLEM)

    def answer(self, status: int, kind: str, what: object) -> None:
        """Send JSON."""
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Replay-Nonce", "bm9uY2U")
        self.end_headers()
        self.wfile.write(body)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/ca/ca.example.crt", "/srv/ca/ca.example.key")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 14001), Limited)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
