"""Answers each word with itself, TCP and UDP: what somebody publishes without a thought."""

import socketserver
import threading


class Tcp(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Send back what comes."""
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Udp(socketserver.BaseRequestHandler):
    """One packet."""

    def handle(self) -> None:
        """Send it back."""
        self.request[1].sendto(self.request[0], self.client_address)


socketserver.ThreadingTCPServer.daemon_threads = True
with (
    socketserver.ThreadingTCPServer(("", 7777), Tcp) as tcp,
    socketserver.UDPServer(("", 7777), Udp) as udp,
):
    threading.Thread(target=udp.serve_forever, daemon=True).start()
    tcp.serve_forever()
