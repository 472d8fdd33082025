"""A socket shown as a WebSocket, byte by byte: early frames, control frames, waiting and cutting off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from canfar_spawner.core.kinds import Transport
from canfar_spawner.gateway import stream
from canfar_spawner.gateway.stream import frame
from tests.gateway.raw import Client, Reader, Writer, client, until
from tests.support.gateway_inside import Inside, inside
from tests.support.hub import DEADLINE

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
PIECE = bytes(range(256)) * 256
MANY = 256
"""Pieces: more than all buffers on the way hold."""


def masked(opcode: int, content: bytes) -> bytes:
    """Give a frame of a browser's whose mask changes nothing."""
    plain = frame(opcode, content)
    head = len(plain) - len(content)
    return bytes((plain[0], plain[1] | 0x80)) + plain[2:head] + bytes(4) + content


class Watched(stream._Stream):
    """A connection that a test finds again."""

    made: list[Watched]

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.made.append(self)

    async def write(self, piece: bytes) -> None:
        self.written += len(piece)
        await super().write(piece)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """Give the connections of what is shown: to the application, and to the browser."""
    monkeypatch.setattr(Watched, "made", [], raising=False)
    monkeypatch.setattr(stream, "_Stream", Watched)
    return Watched.made


@contextlib.asynccontextmanager
async def shown(
    place: Path, application: Callable[[Reader, Writer], Awaitable[None]]
) -> AsyncIterator[tuple[Inside, Client]]:
    """Have a browser that shakes hands with a gateway before such an application."""

    async def connected(reader: Reader, writer: Writer) -> None:
        with contextlib.suppress(OSError):
            await application(reader, writer)
        writer.close()

    path = str(place / "vnc.sock")
    server = await asyncio.start_unix_server(connected, path)
    told = {"listening": {"socket": path}, "transport": Transport.STREAM}
    async with server, inside(place, None, **told) as found, client(found, receive=4096) as one:
        await until(lambda: found.gateway.readiness.ready)
        one.shake("stream")
        async with asyncio.timeout(DEADLINE):
            yield found, one


async def echo(reader: Reader, writer: Writer) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)


async def test_frames_with_the_handshake_and_between_are_taken(tmp_path: Path) -> None:
    async with shown(tmp_path, echo) as (found, one):
        one.writer.write(masked(PING, b"there?") + masked(BINARY, b"\x04key"))
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await one.head()
        for wanted in (frame(PONG, b"there?"), frame(BINARY, b"\x04key")):
            assert await one.reader.readexactly(len(wanted)) == wanted
        assert found.gateway.activity.last is not None
        one.writer.write(masked(CLOSE, b"\x03\xe8"))
        assert await one.reader.read() == frame(CLOSE, b"\x03\xe9")


@pytest.mark.parametrize(
    "broken",
    [frame(BINARY, b"bare"), b"\xc2\x80", b"\x09\x80", b"\x89\xfe"],
    ids=["no mask", "an extension", "a control frame in pieces", "a long control frame"],
)
async def test_who_breaks_the_protocol_is_told(tmp_path: Path, broken: bytes) -> None:
    async with shown(tmp_path, echo) as (_, one):
        await one.head()
        one.writer.write(broken)
        assert await one.reader.read() == frame(CLOSE, b"\x03\xea")


async def test_a_browser_that_takes_nothing_is_waited_for(
    tmp_path: Path, made: list[Watched]
) -> None:
    async def application(_: Reader, writer: Writer) -> None:
        for _number in range(MANY):
            writer.write(PIECE)
        await writer.drain()

    async with shown(tmp_path, application) as (_, one):
        await until(lambda: len(made) > 1)
        there, here = made
        await until(lambda: not there.writer.transport.is_reading())
        assert here.writer.transport.get_write_buffer_size() < 2 * len(PIECE)
        assert here.written < MANY * len(PIECE)
        await one.head()
        left = MANY * len(PIECE)
        while left:
            first, size = await one.reader.readexactly(2)
            assert first == 0x80 | BINARY
            if size > 125:
                wide = await one.reader.readexactly(2 if size == 126 else 8)
                size = int.from_bytes(wide, "big")
            at = -left % len(PIECE)
            assert await one.reader.readexactly(size) == (PIECE * 3)[at : at + size]
            left -= size
        assert await one.reader.read() == frame(CLOSE, b"\x03\xe9")


async def test_an_application_that_takes_nothing_is_waited_for_and_gets_no_more_than_it_may(
    tmp_path: Path, made: list[Watched]
) -> None:
    """What the gateway has of somebody who is cut off stays there."""
    takes = asyncio.Event()
    taken = []

    async def application(reader: Reader, writer: Writer) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await takes.wait()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        taken.append(len(await reader.read()))

    async with shown(tmp_path, application) as (found, one):
        await one.head()
        there, here = made
        for _ in range(MANY):
            one.writer.write(masked(BINARY, PIECE))
        await until(lambda: not here.writer.transport.is_reading())
        assert there.writer.transport.get_write_buffer_size() <= len(PIECE)
        written = there.written
        assert written < MANY * len(PIECE)
        for connection in found.gateway._connections:
            connection.abort()
        takes.set()
        await until(lambda: any(taken))
        assert sum(taken) == written == there.written
