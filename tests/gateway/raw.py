"""An application and a client of a few lines, which say what they like, and a gateway between them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from tests.support.gateway_inside import PREFIX, Inside, inside
from tests.support.hub import DEADLINE

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Serve = Callable[[bytes, Reader, Writer], Awaitable[bool]]
"""Answers one request of these headers; says whether the connection stays."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def until(condition: Callable[[], object]) -> None:
    """Wait for others to make something true."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - they do not tell
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def before(
    place: Path, serve: Serve, *, unix: bool = True, **changes: object
) -> AsyncIterator[Inside]:
    """Have a gateway before an application of these bytes."""
    writers: set[Writer] = set()

    async def connected(reader: Reader, writer: Writer) -> None:
        writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /ready "):
                    writer.write(OK)
                elif not await serve(head, reader, writer):
                    break
        writer.close()
        writers.discard(writer)

    listening: dict[str, object]
    if unix:
        listening = {"socket": str(place / "bytes.sock")}
        server = await asyncio.start_unix_server(connected, place / "bytes.sock", limit=1 << 20)
    else:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20)
        listening = {"port": server.sockets[0].getsockname()[1]}
    told = {"listening": listening, "ready_path": "/ready", **changes}
    async with server, inside(place, None, **told) as found:
        await until(lambda: found.gateway.readiness.ready)
        async with asyncio.timeout(DEADLINE):
            yield found
        for writer in writers:
            writer.close()


class Client:
    """A client that says what it likes."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader = reader
        self.writer = writer

    def ask(self, method: str, path: str, *lines: str, version: str = "1.1") -> None:
        """Send a request of the owner's, as far as its headers."""
        head = [
            f"{method} {PREFIX}{path} HTTP/{version}",
            "Host: h",
            "Authorization: Bearer owners",
            *lines,
        ]
        self.writer.write(("\r\n".join(head) + "\r\n\r\n").encode())

    def shake(self, path: str) -> None:
        """Ask for a WebSocket."""
        self.ask(
            "GET",
            path,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )

    async def head(self) -> bytes:
        """Read the headers of an answer."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> bytes:
        """Read an answer of known length, and give its body."""
        head = await self.head()
        (length,) = (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        return await self.reader.readexactly(length)


@contextlib.asynccontextmanager
async def client(found: Inside, *, receive: int = 0) -> AsyncIterator[Client]:
    """Connect to the gateway; what is received may wait in little room."""
    sock = socket.socket()
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.settimeout(0)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", found.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=receive or 1 << 16)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
