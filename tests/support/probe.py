"""The smallest program that a session can be: a web server of the standard library.

It stands for JupyterLab where a test is about the hub, and behind the gateway for a program that
knows nothing of either: it answers in a tenth of a second, on a port, or on a unix socket where it is
told a path. Its source is handed to ``python3 -c``, since a sandbox sees no file of this checkout; so
it must not contain the words in braces that stand for something in a command.
"""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import sys


class Probe(http.server.BaseHTTPRequestHandler):
    """Answers every request with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told = {
            "path": self.path,
            "session": os.environ.get("CANFAR_SESSION_ID"),
            "names": sorted(os.environ),
            "heard": sorted(self.headers.keys()),
        }
        body = json.dumps(told)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Write nothing: the session's log is for the tests that look at it."""


class SocketServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The same on a unix socket."""

    daemon_threads = True

    def get_request(self) -> tuple[object, tuple[str, int]]:
        """Give an address that can be shown, which a socket's other end has not."""
        return super().get_request()[0], ("socket", 0)


if __name__ == "__main__":
    where = sys.argv[1]
    if where.isdigit():
        http.server.ThreadingHTTPServer(("127.0.0.1", int(where)), Probe).serve_forever()
    else:
        SocketServer(where, Probe).serve_forever()
