"""The stand-in's server: ``python3 server.py PORT``, told its address by ``baseURL`` as the real one is.

Standard library only; its source is handed to ``python3 -c``, so it must not contain the words in
braces that stand for something in a command.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import struct
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTEXT = os.environ.get("baseURL", "/").rstrip("/") + "/firefly"  # noqa: SIM112 - its name
_PING, _CLOSE = 9, 8


def seen_address(headers: Any, port: int) -> str:
    """Give the address that the real server believes to have, from the headers of a proxy."""
    name, _, own = headers.get("Host", "").partition(":")
    host = headers.get("X-Forwarded-Server") or headers.get("X-Forwarded-Host") or name
    said = headers.get("X-Forwarded-Port") or own or str(port)
    end = "" if said in ("80", "443") else f":{said}"
    path = headers.get("X-Forwarded-Path") or _CONTEXT
    return f"{headers.get('X-Forwarded-Proto', 'http')}://{host}{end}{path}/"


class Firefly(http.server.BaseHTTPRequestHandler):
    """Answers the calls of firefly-client."""

    protocol_version = "HTTP/1.1"

    def _say(self, status: int, text: str, kind: str = "application/json") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        # As Tomcat does: for its own path.
        self.send_header("Set-Cookie", f"JSESSIONID=1; Path={_CONTEXT}; HttpOnly")
        self.end_headers()
        self.wfile.write(body)

    def _about(self, **more: object) -> str:
        """Give what a command answers: a list with one thing in it."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = {"seen": seen_address(self.headers, self.server.server_port), "heard": headers}
        return json.dumps([{**said, **more}])

    def do_GET(self) -> None:
        """Answer the page, the question after health, commands, and connections for events."""
        url = urlsplit(self.path)
        below = url.path.removeprefix(_CONTEXT) if url.path.startswith(_CONTEXT) else ""
        if below == "/healthz":
            self._say(200, "OK", "text/plain")
        elif below == "/":
            self._say(200, "<title>Firefly, a stand-in</title>", "text/html")
        elif below == "/sticky/CmdSrv":
            self._say(200, self._about(active=True, asked=parse_qs(url.query)))
        elif below == "/sticky/firefly/events" and "Upgrade" in self.headers:
            self._events(parse_qs(url.query)["channelID"][0])
        else:
            self._say(404, f"nothing at {self.path}", "text/plain")

    def do_POST(self) -> None:
        """Answer commands and uploads."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if url.path != f"{_CONTEXT}/sticky/CmdSrv":
            self._say(404, f"nothing at {self.path}", "text/plain")
        elif parse_qs(url.query).get("cmd") == ["upload"]:
            found = re.search(rb'filename="([^"]+)"', body)
            name = found[1].decode() if found else ""
            self._say(200, "0::$" + "{upload-dir}/" + f"{name}:{len(body)}", "text/plain")
        else:
            self._say(200, self._about(asked=parse_qs(body.decode())))

    def _events(self, channel: str) -> None:
        """Open a connection, say who is there, and answer until it is closed."""
        key = (self.headers["Sec-WebSocket-Key"] + _KEY).encode()
        accepted = hashlib.sha1(key, usedforsecurity=False)
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accepted.digest()).decode())
        self.end_headers()
        hello = json.dumps({"name": "EVT_CONN_EST", "data": {"connID": "1", "channel": channel}})
        self._frame(1, hello.encode())
        while True:
            code, size = self.rfile.read(2)
            length = size & 0x7F
            mask = self.rfile.read(4)
            data = bytes(each ^ mask[at % 4] for at, each in enumerate(self.rfile.read(length)))
            self._frame(_PING + 1 if code & 15 == _PING else code & 15, data)
            if code & 15 == _CLOSE:
                self.close_connection = True
                return

    def _frame(self, code: int, data: bytes) -> None:
        head = bytes([0x80 | code, len(data)]) if len(data) < 126 else b""
        self.wfile.write((head or struct.pack(">BBH", 0x80 | code, 126, len(data))) + data)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Firefly).serve_forever()
