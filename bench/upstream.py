"""What stands behind the proxies that are measured: a web server that does next to nothing.

``python bench/upstream.py PORT SOCKET`` listens on both. ``/bytes/N`` has N bytes, everything else
a hundred; bodies are read and forgotten; a WebSocket sends back what it is sent.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
_PIECE = b"x" * (1 << 18)


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.pending = b""
        self.ignore = 0
        """Bytes of a body that are still to come."""
        self.socket = False
        self.resumed = asyncio.Event()
        self.resumed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.transport = transport

    def pause_writing(self) -> None:
        """Wait until what was written has gone."""
        self.resumed.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self.resumed.set()

    def data_received(self, data: bytes) -> None:
        """Read a body, a request or frames."""
        if self.ignore:
            taken = min(self.ignore, len(data))
            self.ignore -= taken
            data = data[taken:]
            if self.ignore == 0:
                self.transport.write(_SMALL)
            if not data:
                return
        self.pending += data
        if self.socket:
            self._frames()
            return
        while b"\r\n\r\n" in self.pending and not self.ignore:
            head, _, self.pending = self.pending.partition(b"\r\n\r\n")
            self._asked(head)

    def _asked(self, head: bytes) -> None:
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        path = head.split(b" ", 2)[1]
        if headers.get(b"upgrade", b"").lower() == b"websocket":
            key = headers[b"sec-websocket-key"]
            accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self.socket = True
            self._frames()
            return
        length = int(headers.get(b"content-length", b"0"))
        if length > len(self.pending):
            self.ignore = length - len(self.pending)
            self.pending = b""
            return
        self.pending = self.pending[length:]
        if b"/bytes/" in path:
            self.sending = asyncio.ensure_future(self._send(int(path.rpartition(b"/")[2])))
            return
        self.transport.write(_SMALL)

    async def _send(self, left: int) -> None:
        self.transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n".encode())
        while left:
            await self.resumed.wait()
            piece = _PIECE[:left]
            self.transport.write(piece)
            left -= len(piece)

    def _frames(self) -> None:
        while len(self.pending) >= 6:
            # Small frames only, and masked with zeros by the client of the benchmark or not.
            size = self.pending[1] & 0x7F
            if len(self.pending) < 6 + size:
                return
            mask, data = self.pending[2:6], self.pending[6 : 6 + size]
            plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
            self.transport.write(self.pending[:1] + bytes((size,)) + plain)
            self.pending = self.pending[6 + size :]


async def main(port: int, path: str) -> None:
    """Listen."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port)
    await loop.create_unix_server(Upstream, path)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
