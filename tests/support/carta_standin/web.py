"""HTTP and WebSockets, as far as the stand-in needs them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_LONGEST_HEAD = 32_768
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_FINAL, _MASKED = 0x80, 0x80
_TWO_BYTES, _EIGHT_BYTES = 126, 127


@dataclass(frozen=True)
class Request:
    """A request, its headers by their names in small letters."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read a request; None where the connection ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    if len(head) > _LONGEST_HEAD:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = [line.partition(":") for line in lines if line]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    return Request(method, url.path, parse_qs(url.query), headers, body)


def response(
    status: int, body: bytes = b"", kind: str = "text/plain", *, head: bool = False
) -> bytes:
    """Give the bytes of an answer."""
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + (b"" if head else body)


def upgrade(request: Request) -> bytes:
    """Give the answer that makes a connection a WebSocket."""
    key = f"{request.headers['sec-websocket-key']}{_KEY}".encode()
    accepted = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accepted}",
        "\r\n",
    )
    return "\r\n".join(lines).encode()


class WebSocket:
    """The server's end of a WebSocket.

    Parameters
    ----------
    reader : asyncio.StreamReader
    writer : asyncio.StreamWriter
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def _send(self, code: int, data: bytes) -> None:
        size = len(data)
        if size < _TWO_BYTES:
            head = struct.pack(">BB", _FINAL | code, size)
        elif size <= 0xFFFF:
            head = struct.pack(">BBH", _FINAL | code, _TWO_BYTES, size)
        else:
            head = struct.pack(">BBQ", _FINAL | code, _EIGHT_BYTES, size)
        self._writer.write(head + data)
        await self._writer.drain()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self._send(_BINARY, data)

    async def say(self, text: str) -> None:
        """Send text."""
        await self._send(_TEXT, text.encode())

    async def receive(self) -> bytes | str | None:
        """Give the next message; None at the end."""
        whole, kind = b"", 0
        while True:
            try:
                code, data = await self._frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            if code & 0xF == _CLOSE:
                await self._send(_CLOSE, data[:2])
                return None
            if code & 0xF == _PING:
                await self._send(_PONG, data)
                continue
            if code & 0xF == _PONG:
                continue
            kind = kind or code & 0xF
            whole += data
            if code & _FINAL:
                return whole.decode() if kind == _TEXT else whole

    async def _frame(self) -> tuple[int, bytes]:
        code, size = await self._reader.readexactly(2)
        length = size & 0x7F
        if length == _TWO_BYTES:
            (length,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif length == _EIGHT_BYTES:
            (length,) = struct.unpack(">Q", await self._reader.readexactly(8))
        mask = await self._reader.readexactly(4) if size & _MASKED else bytes(4)
        data = await self._reader.readexactly(length)
        repeated = (mask * (length // 4 + 1))[:length]
        number = int.from_bytes(data) ^ int.from_bytes(repeated)
        return code, number.to_bytes(length)
