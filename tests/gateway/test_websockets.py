"""WebSockets as bytes: what waits for whom, what an end leaves, and what comes early."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from canfar_spawner.gateway import websocket
from canfar_spawner.gateway.connection import AHEAD
from tests.gateway.raw import OK, Reader, Writer, before, client, until
from tests.support.hub import DEADLINE

MUCH = os.urandom(16 * AHEAD)
"""More than all buffers on the way hold."""
SOME = MUCH[:AHEAD]
"""More than sockets hold, and no more than the gateway keeps."""
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
WAYS = pytest.mark.parametrize("way", ["from the browser", "from the application"])


@dataclass
class Between:
    """Two connections of a gateway's, and what is at their other ends."""

    here: asyncio.Transport
    there: asyncio.Transport
    browser: socket.socket
    application: socket.socket
    seen: list[bytes] = field(default_factory=list)
    """What was looked at."""
    passing: asyncio.Task[None] | None = None

    async def over(self) -> None:
        """Wait until nothing passes any more."""
        assert self.passing is not None
        async with asyncio.timeout(DEADLINE):
            await self.passing

    def turned(
        self, way: str
    ) -> tuple[socket.socket, asyncio.Transport, asyncio.Transport, socket.socket]:
        """Give who sends, and where it goes through to whom."""
        found = (self.browser, self.here, self.there, self.application)
        return found if way == "from the browser" else found[::-1]  # type: ignore[return-value]


@contextlib.asynccontextmanager
async def between(**early: bytes) -> AsyncIterator[Between]:
    loop = asyncio.get_running_loop()
    ends, transports = [], []
    for _ in range(2):
        near, far = socket.socketpair()
        far.settimeout(0)
        transport, _protocol = await loop.create_connection(asyncio.Protocol, sock=near)
        transport.pause_reading()
        ends.append(far)
        transports.append(transport)
    found = Between(*transports, *ends)
    found.passing = asyncio.ensure_future(
        websocket.both_ways(*transports, found.seen.append, **early)
    )
    # It begins.
    await asyncio.sleep(0)
    try:
        yield found
    finally:
        found.passing.cancel()
        await asyncio.gather(found.passing, return_exceptions=True)
        for end in ends:
            end.close()


async def read(end: socket.socket, size: int = 1 << 30) -> bytes:
    """Read so much, or as far as it goes."""
    loop = asyncio.get_running_loop()
    found = bytearray()
    async with asyncio.timeout(DEADLINE):
        while len(found) < size and (piece := await loop.sock_recv(end, 1 << 18)):
            found += piece
    return bytes(found)


async def send(end: socket.socket, content: bytes) -> None:
    async with asyncio.timeout(DEADLINE):
        await asyncio.get_running_loop().sock_sendall(end, content)


@WAYS
async def test_who_takes_nothing_is_waited_for_and_little_is_kept_meanwhile(way: str) -> None:
    async with between() as found:
        sender, source, sink, receiver = found.turned(way)
        assert source.is_reading()
        sending = asyncio.ensure_future(send(sender, MUCH))
        await until(lambda: not source.is_reading())
        assert not sending.done()
        assert sink.get_write_buffer_size() < 2 * AHEAD
        assert await read(receiver, len(MUCH)) == MUCH
        await sending
        assert source.is_reading()
        # The other way was open all the while.
        await send(receiver, b"back")
        assert await read(sender, 4) == b"back"
        assert b"".join(found.seen) == (MUCH if way == "from the browser" else b"back")


async def test_what_comes_early_is_waited_for_too() -> None:
    async with between(early=MUCH[: 2 * AHEAD], late=MUCH) as found:
        assert not found.here.is_reading()
        assert not found.there.is_reading()
        assert await read(found.application, 2 * AHEAD) == MUCH[: 2 * AHEAD]
        assert await read(found.browser, len(MUCH)) == MUCH
        await until(lambda: found.here.is_reading() and found.there.is_reading())


@WAYS
async def test_what_one_said_before_its_end_arrives(way: str) -> None:
    async with between() as found:
        sender, source, sink, receiver = found.turned(way)
        await send(sender, SOME)
        sender.close()
        await until(source.is_closing)
        assert sink.get_write_buffer_size() > 0
        assert await read(receiver) == SOME
        await found.over()


@WAYS
async def test_what_was_said_to_whoever_ends_arrives_where_it_still_listens(way: str) -> None:
    async with between() as found:
        sender, source, _, receiver = found.turned(way)
        await send(receiver, SOME)
        await until(lambda: source.get_write_buffer_size() > 0)
        sender.shutdown(socket.SHUT_WR)
        # The other side is told at once.
        assert await read(receiver) == b""
        assert await read(sender) == SOME
        await found.over()


async def test_of_who_is_cut_off_nothing_more_is_delivered() -> None:
    async with between() as found:
        await send(found.browser, SOME)
        await until(lambda: sum(map(len, found.seen)) == len(SOME))
        waiting = found.there.get_write_buffer_size()
        assert waiting > 0
        found.here.abort()
        await found.over()
        assert await read(found.browser) == b""
        assert await read(found.application) == SOME[:-waiting]


@WAYS
async def test_who_does_not_take_the_last_of_it_is_not_waited_for(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_DELIVERED_WITHIN", 0.01)
    async with between() as found:
        sender, source, sink, receiver = found.turned(way)
        await send(sender, SOME)
        await until(lambda: sink.get_write_buffer_size() > 0)
        sender.close()
        await found.over()
        assert source.is_closing()
        assert len(await read(receiver)) < len(SOME)


async def test_both_are_let_go_when_nobody_wants_it_any_more() -> None:
    async with between() as found:
        await send(found.application, SOME)
        await until(lambda: found.here.get_write_buffer_size() > 0)
        assert found.passing is not None
        found.passing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await found.over()
        assert len(await read(found.browser)) < len(SOME)
        assert await read(found.application) == b""


# With the handshake, through the whole gateway.


@pytest.mark.parametrize("unix", [True, False], ids=["socket", "port"])
async def test_what_comes_with_the_handshake_is_not_lost(tmp_path: Path, *, unix: bool) -> None:
    agree = asyncio.Event()
    sent = b"\x82\xff" + len(SOME).to_bytes(8, "big") + bytes(4) + SOME
    arrived = []

    async def serve(_: bytes, reader: Reader, writer: Writer) -> bool:
        await agree.wait()
        writer.write(AGREED + b"with it")
        arrived.append(await reader.readexactly(len(sent)))
        writer.write(b" and last")
        return False

    async with before(tmp_path, serve, unix=unix) as found, client(found) as one:
        one.shake("x")
        one.writer.write(sent)
        await until(lambda: any(each._held for each in found.gateway._connections))
        assert found.gateway.activity.last is None
        agree.set()
        assert (await one.head()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert await one.reader.read() == b"with it and last"
        assert arrived == [sent]
        assert found.gateway.activity.last is not None


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"", 502),
        (b"nonsense\r\n\r\n", 502),
        (OK, 502),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nno", 403),
        (b"x" * 100_000, 502),
        (b"HTTP/1.1 101 Yes\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 502),
    ],
    ids=["nothing", "nonsense", "an answer", "no", "no end", "too much"],
)
async def test_an_application_that_does_not_agree_is_let_go(
    tmp_path: Path, said: bytes, status: int
) -> None:
    rest = []

    async def serve(_: bytes, reader: Reader, writer: Writer) -> bool:
        writer.write(said)
        if not said:
            writer.write_eof()
        rest.append(await reader.read())
        return False

    async with before(tmp_path, serve) as found, client(found) as one:
        one.shake("x")
        assert (await one.head()).startswith(f"HTTP/1.1 {status} ".encode())
        await until(lambda: rest == [b""])


async def test_the_first_line_of_an_agreement_carries_nothing_else(tmp_path: Path) -> None:
    said = AGREED.replace(b"Protocols", b"Protocols\nSet-Cookie: jupyterhub-session-id=1; Path=/")

    async def serve(_: bytes, __: Reader, writer: Writer) -> bool:
        writer.write(said)
        return False

    async with before(tmp_path, serve) as found, client(found) as one:
        one.shake("x")
        head = await one.head()
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"Set-Cookie" not in head


async def test_an_application_that_says_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_HANDSHAKE_WITHIN", 0.05)
    rest = []

    async def serve(_: bytes, reader: Reader, __: Writer) -> bool:
        rest.append(await reader.read())
        return False

    async with before(tmp_path, serve) as found, client(found) as one:
        one.shake("x")
        assert (await one.head()).startswith(b"HTTP/1.1 502 ")
        await until(lambda: rest == [b""])


async def test_a_browser_that_goes_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    asked = asyncio.Event()
    rest = []

    async def serve(_: bytes, reader: Reader, __: Writer) -> bool:
        asked.set()
        rest.append(await reader.read())
        return False

    async with before(tmp_path, serve) as found:
        async with client(found) as one:
            one.shake("x")
            await asked.wait()
        await until(lambda: rest == [b""])
