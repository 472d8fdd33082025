"""An application as bad as applications can be: a web server of the standard library.

It stands behind the gateway in tests and benchmarks. Its source is handed to ``python3 -c`` where a
sandbox sees no file of this checkout; so it must not contain a word in braces that stands for
something in a command. What it is asked to do is in the path:

``/seen``
    What arrived in the last request that was not this one, as JSON, and what all asked for.
``/echo``
    What arrived in this one.
``/say``
    Writes the bytes that the query holds in base64, and hangs up.
``/count``
    Reads a body to its end and says how long it was.
``/bytes/N``
    A body of N bytes; ``/endless`` one without an end.
``/headers/N/M``
    N headers of M bytes each.
``/ready``
    Writes what ``/become`` was last given, in base64, and hangs up; nothing before that.
``/silent``
    Never answers; ``/deaf`` does not even read; ``/trickle`` begins a body and goes on, a word each 0.1 s.
``/socket``
    A WebSocket that echoes; ``/deaf`` one that reads nothing, ``/chatter`` one that sends on its own as fast as it is read.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import sys
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PIECE = b"0123456789abcdef" * 4096
_LINE = 1 << 20


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: int = 0
    rest: str = ""
    query: str = ""

    def get(self, name: str) -> str:
        """Give a header."""
        return next((value for each, value in self.headers if each.lower() == name), "")

    def told(self, **more: object) -> bytes:
        """Say what it was."""
        return json.dumps({**asdict(self), **more}).encode()


class Misbehaving:
    """The server; remembers what it was last asked."""

    def __init__(self) -> None:
        self.last = Asked("", "")
        self.ready = b""
        self.changed = asyncio.Event()
        self.targets: deque[str] = deque(maxlen=100)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        lines = [line.partition(":") for line in head[1:] if line]
        asked = Asked(method, target, [(name, value.strip()) for name, _, value in lines])
        path, _, asked.query = target.partition("?")
        word, _, asked.rest = path.lstrip("/").partition("/")
        self.targets.append(f"{method} {target}")
        if asked.get("upgrade").lower() == "websocket":
            self.last = asked
            await _socket(asked, word, reader, writer)
            return False
        if word == "deaf":
            await asyncio.Event().wait()
        async for piece in _body(asked, reader):
            asked.body += len(piece)
        if word == "seen":
            return await _answer(writer, self.last.told(targets=list(self.targets)))
        self.last = asked
        if word in ("endless", "trickle"):
            await _endless(writer, word)
        if word == "silent":
            await reader.read()
            return False
        return bool(await getattr(self, f"_{word}", self._echo)(asked, writer))

    async def _echo(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        return await _answer(writer, asked.told(), shown=asked.method != "HEAD")

    async def _count(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        return await _answer(writer, str(asked.body).encode())

    async def _say(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(base64.urlsafe_b64decode(asked.query))
        await writer.drain()
        return False

    async def _bytes(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        left = int(asked.rest)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n".encode())
        while left:
            piece = _PIECE[:left]
            writer.write(piece)
            await writer.drain()
            left -= len(piece)
        return True

    async def _headers(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        count, size = map(int, asked.rest.split("/"))
        line = b"X-Own: " + b"x" * size + b"\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + line * count + b"\r\n")
        await writer.drain()
        return True

    async def _ready(self, _asked: Asked, writer: asyncio.StreamWriter) -> bool:
        if self.ready:
            writer.write(self.ready)
            await writer.drain()
        else:
            self.changed.clear()
            await self.changed.wait()
        return False

    async def _become(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        self.ready = base64.urlsafe_b64decode(asked.query)
        self.changed.set()
        return await _answer(writer, self.ready)


async def _endless(writer: asyncio.StreamWriter, word: str) -> None:
    chunked = b"Transfer-Encoding: chunked\r\n" if word == "trickle" else b""
    writer.write(b"HTTP/1.1 200 OK\r\n" + chunked + b"\r\n")
    while True:
        writer.write(b"5\r\nword\n\r\n" if chunked else _PIECE)
        await writer.drain()
        await asyncio.sleep(0.1 if chunked else 0)


async def _body(asked: Asked, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    if "chunked" in asked.get("transfer-encoding").lower():
        while size := int((await reader.readline()).partition(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return
    left = int(asked.get("content-length") or 0)
    while left:
        piece = await reader.read(min(left, 1 << 16))
        if not piece:
            raise ConnectionResetError
        left -= len(piece)
        yield piece


async def _answer(writer: asyncio.StreamWriter, body: bytes, *, shown: bool = True) -> bool:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + (body if shown else b""))
    await writer.drain()
    return True


async def _socket(
    asked: Asked, word: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    key = asked.get("sec-websocket-key").encode()
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - the protocol's
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    if word == "deaf":
        await asyncio.Event().wait()
    if word == "chatter":
        frame = b"\x82\x7e\xff\xf0" + _PIECE[:0xFFF0]
        while True:
            writer.write(frame)
            await writer.drain()
    while True:
        first, size = await reader.readexactly(2)
        size &= 0x7F
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        mask = await reader.readexactly(4)
        data = await reader.readexactly(size)
        repeated = (mask * (size // 4 + 1))[:size]
        plain = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(
            size, "big"
        )
        if size < 126:
            head = bytes((first, size))
        elif size < 1 << 16:
            head = bytes((first, 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, 127)) + size.to_bytes(8, "big")
        writer.write(head + plain)
        await writer.drain()
        if first & 0x0F == 8:
            return


async def main(where: str) -> None:
    """Listen on a port of this machine, or on a unix socket."""
    serve = Misbehaving().serve
    if where.isdigit():
        server = await asyncio.start_server(serve, "127.0.0.1", int(where), limit=_LINE)
    else:
        server = await asyncio.start_unix_server(serve, where, limit=_LINE)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
