"""Requests as fast as a proxy takes them: what `bench/gateway.py` measures with."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import time
from dataclasses import dataclass, field

_FRAME = b"\x82\xc0" + bytes(4) + b"y" * 64
_ECHO = b"\x82\x40" + b"y" * 64
_WITHIN = 120.0


@dataclass(frozen=True)
class Target:
    """A proxy, or none: where it is and what it must be told."""

    title: str
    port: int
    prefix: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    host: str = ""
    """What it believes it is called."""

    def request(self, method: str, path: str, *more: str) -> bytes:
        """Give the bytes of a request."""
        lines = [
            f"{method} {self.prefix}{path} HTTP/1.1",
            f"Host: {self.host or f'127.0.0.1:{self.port}'}",
            *(f"{name}: {value}" for name, value in self.headers),
            *more,
        ]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class _Client(asyncio.Protocol):
    """One connection on which the next request follows the last answer."""

    request: bytes
    until: float
    most: int
    times: list[float] = field(default_factory=list)
    handshake: bytes = b""
    echo: bytes = b""

    def __post_init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.pending = b""
        self.upgraded = not self.handshake

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.transport = transport
        if self.upgraded:
            self._next()
        else:
            transport.write(self.handshake)

    def _next(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """See whether the answer is whole, and ask again."""
        self.pending += data
        if not self.upgraded:
            if b"\r\n\r\n" not in self.pending:
                return
            if not self.pending.startswith(b"HTTP/1.1 101"):
                self._end(RuntimeError(self.pending[:2000].decode("latin-1")))
                return
            self.pending, self.upgraded = b"", True
            self._next()
            return
        whole = self.pending == self.echo if self.echo else self._whole()
        if not whole:
            return
        now = time.perf_counter()
        self.times.append(now - self.begun)
        self.pending = b""
        if now >= self.until or len(self.times) >= self.most:
            self._end(None)
        else:
            self._next()

    def _whole(self) -> bool:
        head, found, body = self.pending.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(RuntimeError(self.pending[:2000].decode("latin-1")))
            return False
        if b"chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        return len(body) >= 100

    def _end(self, error: Exception | None) -> None:
        self.transport.close()
        if not self.done.done():
            if error:
                self.done.set_exception(error)
            else:
                self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, where a connection ends by itself."""
        self._end(exc or ConnectionResetError("hung up"))


async def _run(target: Target, count: int, seconds: float, most: int, *, ws: bool) -> list[float]:
    loop = asyncio.get_running_loop()
    key = base64.b64encode(os.urandom(16)).decode()
    handshake = target.request(
        "GET",
        "socket",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    )
    until = time.perf_counter() + seconds

    def client() -> _Client:
        if ws:
            return _Client(_FRAME, until, most, handshake=handshake, echo=_ECHO)
        return _Client(target.request("GET", "small"), until, most)

    opened = [await loop.create_connection(client, "127.0.0.1", target.port) for _ in range(count)]
    try:
        async with asyncio.timeout(_WITHIN):
            await asyncio.gather(*(each.done for _, each in opened))
    except TimeoutError:
        had = b" ".join(each.pending[:500] for _, each in opened)
        raise RuntimeError(f"{target.title} fell silent after {had!r}") from None
    return [took for _, each in opened for took in each.times]


def rate(target: Target, *, clients: int, seconds: float, ws: bool = False) -> float:
    """Give the requests, or echoes, per second that so many clients get."""
    begun = time.perf_counter()
    times = asyncio.run(_run(target, clients, seconds, 1 << 60, ws=ws))
    return len(times) / (time.perf_counter() - begun)


def latencies(target: Target, count: int, *, ws: bool = False) -> list[float]:
    """Give the times of so many requests, or echoes, one after the other, sorted.

    Where they take very long there are fewer.
    """
    return sorted(asyncio.run(_run(target, 1, _WITHIN / 6, count, ws=ws)))


def _connect(target: Target) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", target.port), timeout=_WITHIN)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return opened


def download(target: Target, size: int) -> float:
    """Give the MB/s of one body that comes."""
    room = bytearray(1 << 20)
    with _connect(target) as opened:
        begun = time.perf_counter()
        opened.sendall(target.request("GET", f"bytes/{size}"))
        taken = 0
        # The headers, and the sizes of chunks, are too small to matter.
        while taken < size:
            got = opened.recv_into(room)
            if not got or (taken == 0 and not room.startswith(b"HTTP/1.1 200")):
                said = bytes(room[:2000]).decode("latin-1")
                raise RuntimeError(f"{target.title}, after {taken} bytes: {said}")
            taken += got
        return size / (time.perf_counter() - begun) / 1e6


def upload(target: Target, size: int) -> float:
    """Give the MB/s of one body that goes, until it is answered."""
    piece = bytes(1 << 20)
    with _connect(target) as opened:
        begun = time.perf_counter()
        opened.sendall(target.request("POST", "sink", f"Content-Length: {size}"))
        for _ in range(size >> 20):
            opened.sendall(piece)
        answer = opened.recv(1 << 16)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer[:2000].decode("latin-1"))
        return size / (time.perf_counter() - begun) / 1e6
