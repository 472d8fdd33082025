"""A socket's bytes as a WebSocket: how a browser speaks to a desktop's X server."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from typing_extensions import override

from canfar_spawner.gateway.request import Request, refuse
from canfar_spawner.gateway.upstream import Unreachable, Upstream

ADDRESS: Final = "stream"
"""Where the WebSocket is, below the session's address."""
_PIECE: Final = 64 * 1024
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = "13"
_PROTOCOL: Final = "binary"
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_GOING_AWAY, _PROTOCOL_ERROR = 1001, 1002
_LONGEST_CONTROL: Final = 125
_DOES: Final = frozenset({4, 5, 6, 255})
"""What a person does, among VNC's messages: keys, pointer, clipboard. The rest the page asks by itself,
for as long as it is open."""


def accept_key(key: str) -> str:
    """Give what proves to a browser that its WebSocket is understood."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()  # noqa: S324 - the protocol's own


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (ValueError, binascii.Error):
        return False


def frame(opcode: int, content: bytes) -> bytes:
    """Give a frame of the server's."""
    size = len(content)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + content


def unmask(content: bytes, mask: bytes, begun: int) -> bytes:
    """Take a mask off.

    Parameters
    ----------
    content : bytes
    mask : bytes
        Four bytes.
    begun : int
        How many bytes of the frame came before.
    """
    size = len(content)
    turned = mask[begun % 4 :] + mask[: begun % 4]
    whole = (turned * (size // 4 + 1))[:size]
    return (int.from_bytes(content, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")


class _Broken(Exception):
    """The browser does not keep to the protocol."""


async def show(
    request: Request,
    upstream: Upstream,
    *,
    used: Callable[[], None],
) -> None:
    """Connect a browser and the application's socket until one of them goes.

    Parameters
    ----------
    request : Request
    upstream : Upstream
    used : callable
        Called when somebody does something.
    """
    key = request.headers.get("Sec-WebSocket-Key", "")
    if request.headers.get("Sec-WebSocket-Version") != _VERSION or not _is_key(key):
        refuse(
            request, 426, "Version 13 of WebSocket is spoken.", {"Sec-WebSocket-Version": _VERSION}
        )
        return
    try:
        there = await upstream.connect(_Stream)
    except Unreachable:
        refuse(request, 502, "The application does not answer.")
        return
    here = _Stream()
    here.take(*request.connection.detach())
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    ]
    if _PROTOCOL in (word.strip() for word in offered.split(",")):
        lines.append(f"Sec-WebSocket-Protocol: {_PROTOCOL}")
    try:
        await here.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        over = await _until_one_ends(_inwards(here, there, used), _outwards(there, here))
        broken = any(isinstance(way.exception(), _Broken) for way in over)
        code = _PROTOCOL_ERROR if broken else _GOING_AWAY
        await here.write(frame(_CLOSE, code.to_bytes(2, "big")))
    except OSError:
        pass
    finally:
        here.writer.transport.abort()
        there.writer.transport.abort()


class _Stream(asyncio.StreamReaderProtocol):
    """A connection that is read and written step by step: frames are read more easily so."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader(limit=_PIECE)
        super().__init__(self.reader)
        self.writer: asyncio.StreamWriter

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        # A write is over when all of it has gone.
        transport.set_write_buffer_limits(0)
        self.writer = asyncio.StreamWriter(transport, self, self.reader, asyncio.get_running_loop())

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        # Nothing of what waits is read any more: whoever sent it may have been cut off.
        super().connection_lost(exc or ConnectionAbortedError())

    def take(self, transport: asyncio.Transport, early: bytes) -> None:
        """Take a connection over, and what has come on it already."""
        transport.set_protocol(self)
        self.connection_made(transport)
        transport.resume_reading()
        self.data_received(early)

    async def write(self, piece: bytes) -> None:
        """Send bytes, and wait until they have gone."""
        self.writer.write(piece)
        await self.writer.drain()


async def _until_one_ends(*ways: Coroutine[Any, Any, None]) -> set[asyncio.Task[None]]:
    """Pass bytes every way until one of them ends, end the others, and give which it was."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        over, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return over


async def _outwards(there: _Stream, here: _Stream) -> None:
    while piece := await there.reader.read(_PIECE):
        await here.write(frame(_BINARY, piece))


async def _inwards(here: _Stream, there: _Stream, used: Callable[[], None]) -> None:
    read = here.reader.readexactly
    while True:
        first, second = await read(2)
        opcode, size = first & 0x0F, second & 0x7F
        if not second & 0x80 or first & 0x70:
            raise _Broken
        if opcode & 0x8:
            if size > _LONGEST_CONTROL or not first & 0x80:
                raise _Broken
            mask = await read(4)
            content = unmask(await read(size), mask, 0)
            if opcode == _CLOSE:
                return
            if opcode == _PING:
                await here.write(frame(_PONG, content))
            continue
        if size > _LONGEST_CONTROL:
            size = int.from_bytes(await read(2 if size == 126 else 8), "big")
        mask = await read(4)
        done = 0
        while done < size:
            masked = await here.reader.read(min(_PIECE, size - done))
            if not masked:
                return
            piece = unmask(masked, mask, done)
            if not done and opcode in (_TEXT, _BINARY) and piece[0] in _DOES:
                used()
            done += len(piece)
            await there.write(piece)
