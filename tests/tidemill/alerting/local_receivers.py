"""Real servers on this machine that take messages: HTTP and SMTP."""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer


class Taken:
    """What a server has taken; ``status`` is what its HTTP answers say."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.port = 0

    @property
    def json(self) -> list:
        return [json.loads(body) for body in self.bodies]


@contextmanager
def _serving(server: socketserver.BaseServer, taken: Taken) -> Iterator[Taken]:
    taken.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def http_receiver(instead: bytes = b""):
    """A server that takes POSTs; with ``instead`` it answers that, and then a byte now and then."""
    taken = Taken()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            taken.paths.append(self.path)
            taken.headers.append(dict(self.headers))
            if instead:
                self.wfile.write(instead)
                with suppress(OSError):
                    for _ in range(100):
                        time.sleep(0.05)
                        self.wfile.write(b"x")
                return
            self.send_response(taken.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return _serving(HTTPServer(("127.0.0.1", 0), Handler), taken)


def smtp_receiver():
    """A server that speaks as much of RFC 5321 as taking a mail needs."""
    taken = Taken()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb = line[:4].upper()
                if verb == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    taken.bodies.append("".join(lines))
                self.say("221 bye" if verb == "QUIT" else "250 done")
                if verb == "QUIT":
                    return

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    return _serving(socketserver.TCPServer(("127.0.0.1", 0), Handler), taken)
