"""The smallest program that a session can be: a web server of the standard library.

It stands for JupyterLab where a test is about the hub: it answers in a tenth of a second. Its
source is handed to ``python3 -c``, since a sandbox sees no file of this checkout; so it must not
contain the word in braces that stands for the port in a command.
"""

from __future__ import annotations

import http.server
import json
import os
import sys


class Probe(http.server.BaseHTTPRequestHandler):
    """Answers every request with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "session": os.environ.get("CANFAR_SESSION_ID")})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Write nothing: the session's log is for the tests that look at it."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Probe).serve_forever()
