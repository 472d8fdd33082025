"""A relay that counts the bytes that come through it: what pages cost, told by nobody's own books.

Chromium says of bodies that come uncompressed, and of those it has already, that they took no bytes.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import cast

_PIECE = 1 << 16


class Relay(socketserver.ThreadingTCPServer):
    """Hands bytes on to a port of this machine, and counts those that come back."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.to = port
        self.bytes = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Pass everything on, both ways, until one side ends."""
        relay = cast("Relay", self.server)
        here: socket.socket = self.request
        with socket.create_connection(("127.0.0.1", relay.to)) as there:
            threading.Thread(target=_copy, args=(here, there), daemon=True).start()
            for piece in _pieces(there):
                relay.bytes += len(piece)
                here.sendall(piece)


def _pieces(source: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            yield piece


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for piece in _pieces(source):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def counted(port: int) -> Iterator[Relay]:
    """Run a relay for the length of a block."""
    with Relay(port) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        try:
            yield relay
        finally:
            relay.shutdown()
