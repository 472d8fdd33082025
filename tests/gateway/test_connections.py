"""Connections to clients and to the application: how they are kept, ended and shared."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from pathlib import Path

import pytest

from canfar_spawner.gateway.channel import Answer, Channel
from canfar_spawner.gateway.connection import AHEAD
from canfar_spawner.gateway.rewriting import Rewriting
from tests.gateway.raw import OK, Reader, Writer, before, client, until
from tests.support.gateway_inside import PREFIX


def target(head: bytes) -> str:
    return head.split(b" ")[1].decode()


async def says_target(head: bytes, _: Reader, writer: Writer) -> bool:
    said = target(head).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
    return True


async def test_what_is_asked_at_once_is_answered_in_turn(tmp_path: Path) -> None:
    """Also where the gateway answers by itself, and where a body is between."""
    bodies = []

    async def serve(head: bytes, reader: Reader, writer: Writer) -> bool:
        if head.startswith(b"POST"):
            # As it came: five bytes, or a last chunk of nothing.
            bodies.append(await reader.readexactly(5))
        return await says_target(head, reader, writer)

    async with before(tmp_path, serve) as found, client(found) as one:
        for number in range(50):
            one.ask("GET", f"{number}")
            one.ask("GET", "oauth_callback")
            one.ask("POST", f"{number}", "Content-Length: 5")
            one.writer.write(b"abcde")
            one.ask("POST", f"{number}", "Transfer-Encoding: chunked")
            one.writer.write(b"0\r\n\r\n")
        for number in range(50):
            assert await one.answer() == f"/{number}".encode()
            assert b"Signing in did not work" in await one.answer()
            assert await one.answer() == f"/{number}".encode()
            assert await one.answer() == f"/{number}".encode()
    assert bodies == [b"abcde", b"0\r\n\r\n"] * 50


async def test_whoever_does_not_take_answers_gets_no_more_of_them(tmp_path: Path) -> None:
    asked = []
    size = 1 << 20

    async def serve(head: bytes, _: Reader, writer: Writer) -> bool:
        asked.append(target(head))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        await writer.drain()
        return True

    async with before(tmp_path, serve) as found, client(found, receive=4096) as one:
        for number in range(100):
            one.ask("GET", str(number))
        before_that = -1
        while before_that != len(asked):
            before_that = len(asked)
            await asyncio.sleep(0.3)
        assert 0 < len(asked) < 100
        for _ in range(100):
            assert len(await one.answer()) == size
        assert len(asked) == 100


async def test_the_gateways_own_answers_wait_too(tmp_path: Path) -> None:
    async with before(tmp_path, says_target) as found, client(found, receive=4096) as one:
        for _ in range(30_000):
            one.ask("GET", "oauth_callback")
        await until(lambda: any(each._slow for each in found.gateway._connections))
        (connection,) = (each for each in found.gateway._connections if each._slow)
        # It would go on meanwhile.
        await asyncio.sleep(1)
        assert connection._transport.get_write_buffer_size() < 2 * AHEAD
        for _ in range(30_000):
            await one.answer()


async def test_a_connection_whose_client_was_slow_is_used_again() -> None:
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    free: list[Channel] = []
    _, channel = await loop.create_connection(lambda: Channel(free.append), sock=here)
    with there:
        for _ in range(2):
            told: list[object] = []
            channel.ask(Told(told), b"GET / HTTP/1.1\r\n\r\n", head=False, body=False, framed=False)
            # It is said to be slow when all has come already.
            channel.slow(slow=True)
            channel.data_received(OK)
            assert told == [(200, b"ok", True)]
        assert free == [channel, channel]
        there.send(b"not asked for")
        await until(lambda: not channel.usable)


class Told:
    """Wants an answer, and keeps it."""

    def __init__(self, told: list[object]) -> None:
        self.told = told

    def answer_begins(self, answer: Answer, first: bytes, *, whole: bool) -> None:
        self.told.append((answer.status, first, whole))

    def answer_piece(self, piece: bytes) -> None:
        self.told.append(piece)

    def answer_ends(self) -> None:
        self.told.append("end")

    def answer_fails(self) -> None:
        self.told.append("fails")

    def application_slow(self, *, slow: bool) -> None:
        self.told.append(slow)


async def test_a_body_is_sent_when_the_gateway_says_so(tmp_path: Path) -> None:
    async def serve(head: bytes, reader: Reader, writer: Writer) -> bool:
        assert b"expect" not in head.lower()
        body = await reader.readexactly(3)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)
        return True

    async with before(tmp_path, serve) as found:
        async with client(found) as one:
            one.ask("POST", "x", "Content-Length: 3", "Expect: 100-continue")
            assert (await one.head()).startswith(b"HTTP/1.1 100 ")
            one.writer.write(b"abc")
            assert await one.answer() == b"abc"
        async with client(found) as one:
            one.writer.write(f"POST {PREFIX}x HTTP/1.1\r\nHost: h\r\n".encode())
            one.writer.write(b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            assert (await one.head()).startswith(b"HTTP/1.1 401 ")


async def test_an_old_client_gets_what_it_understands(tmp_path: Path) -> None:
    async def serve(head: bytes, _: Reader, writer: Writer) -> bool:
        if target(head) == "/known":
            writer.write(OK)
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"3\r\ndef\r\n0\r\n\r\n")
        return True

    async with before(tmp_path, serve) as found, client(found) as one:
        one.ask("GET", "known", "Connection: keep-alive", version="1.0")
        head = await one.head()
        assert b"connection: keep-alive" in head.lower()
        assert await one.reader.readexactly(2) == b"ok"
        one.ask("GET", "unknown", "Connection: keep-alive", version="1.0")
        head = (await one.head()).lower()
        assert b"chunked" not in head
        assert b"connection: close" in head
        assert await one.reader.read() == b"abcdef"


async def test_a_connection_that_was_closed_meanwhile_is_nobodys_fault(tmp_path: Path) -> None:
    """What is safe is asked once more; what is not gets a connection of its own."""
    asked: list[tuple[str, int]] = []
    connections: list[Writer] = []

    async def serve(head: bytes, reader: Reader, writer: Writer) -> bool:
        if writer not in connections:
            connections.append(writer)
        elif target(head) != "/again":
            # It was about to close this one when the request came.
            asked.append(("lost", connections.index(writer)))
            return False
        asked.append((target(head), connections.index(writer)))
        if head.startswith(b"POST"):
            await reader.readexactly(1)
        writer.write(OK)
        return True

    async with before(tmp_path, serve) as found:
        for path in ("a", "again", "b"):
            assert (await found.ask(path))[0] == 200
        assert (await found.ask("c", "POST", data=b"x"))[0] == 200
        async with client(found) as one:
            one.ask("DELETE", "d")
            assert await one.answer() == b"ok"
    assert asked == [("/a", 0), ("/again", 0), ("lost", 0), ("/b", 1), ("/c", 2), ("/d", 3)]


async def test_an_answer_before_the_end_of_a_body_is_seen(tmp_path: Path) -> None:
    async def serve(_: bytes, reader: Reader, writer: Writer) -> bool:
        await reader.readexactly(1)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await reader.read()
        return False

    async with before(tmp_path, serve) as found, client(found) as one:
        one.ask("POST", "x", f"Content-Length: {1 << 30}")
        one.writer.write(bytes(1 << 20))
        assert (await one.head()).startswith(b"HTTP/1.1 413 ")
        assert await one.reader.readexactly(2) == b"no"
        # It is still sending when it is told that the connection ends.
        one.writer.write(bytes(1 << 20))
        assert await one.reader.read() == b""


async def test_a_client_that_hangs_up_in_a_body_that_nobody_takes_is_noticed(
    tmp_path: Path,
) -> None:
    over = asyncio.Event()

    async def serve(_: bytes, __: Reader, writer: Writer) -> bool:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        return False

    async with before(tmp_path, serve) as found:
        async with client(found) as one:
            one.ask("POST", "x", f"Content-Length: {1 << 30}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while True:
                        one.writer.write(bytes(1 << 20))
                        await one.writer.drain()
            # It is killed, and what it has not sent is lost.
            linger = struct.pack("ii", 1, 0)
            one.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            one.writer.transport.abort()
        connections = found.gateway._connections
        await until(lambda: all(each._current is None for each in connections))
        over.set()


@pytest.mark.parametrize("known", [True, False])
async def test_a_short_answer_says_how_long_it_is(tmp_path: Path, *, known: bool) -> None:
    async def serve(_: bytes, __: Reader, writer: Writer) -> bool:
        writer.write(
            OK
            if known
            else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )
        return True

    async with before(tmp_path, serve) as found, client(found) as one:
        for _ in range(3):
            one.ask("GET", "x")
            assert await one.answer() == b"ok"
        one.ask("GET", "x", "Connection: close")
        assert b"connection: close" in (await one.head()).lower()
        assert await one.reader.read() == b"ok"


@pytest.mark.parametrize("begin", [b"3;", b"0\r\nX: "], ids=["words", "trailer"])
async def test_an_answer_that_only_goes_on_beside_its_body_ends(
    tmp_path: Path, begin: bytes
) -> None:
    async def serve(_: bytes, __: Reader, writer: Writer) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + begin)
        await writer.drain()
        while not writer.transport.is_closing():
            writer.write(b"x" * 10_000)
            await writer.drain()
        return False

    async with before(tmp_path, serve) as found, client(found) as one:
        one.ask("GET", "x")
        assert b"chunked" in await one.head()
        assert not (await one.reader.read()).endswith(b"0\r\n\r\n")


async def test_chunks_come_in_whatever_pieces(tmp_path: Path) -> None:
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for size in (200_000, 3, 100_000):
        said += b"%x;a=b\r\n" % size + b"x" * size + b"\r\n"
    said += b"0\r\nX: y\r\n\r\n"
    cuts = [0, 10, 200_070, 200_071, 200_072, 200_073, 200_075, 200_080, 300_090, len(said)]
    cuts += range(len(said) - 20, len(said))

    async def serve(_: bytes, __: Reader, writer: Writer) -> bool:
        for begin, end in itertools.pairwise(sorted(cuts)):
            writer.write(said[begin:end])
            await writer.drain()
            await asyncio.sleep(0.002)
        return True

    async with before(tmp_path, serve) as found:
        for _ in range(2):
            assert (await found.ask("x"))[2] == b"x" * 300_003


async def test_what_ends_with_the_connection_ends_the_answer(tmp_path: Path) -> None:
    async def serve(_: bytes, __: Reader, writer: Writer) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nas long")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b" as it goes")
        return False

    async with before(tmp_path, serve) as found:
        status, headers, body = await found.ask("x")
        assert (status, body) == (200, b"as long as it goes")
        assert dict(headers)["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize("keeps", [False, True], ids=["stripped", "kept"])
async def test_an_answer_leads_up_from_where_it_was_asked_for(
    tmp_path: Path, *, keeps: bool
) -> None:
    async def serve(_: bytes, __: Reader, writer: Writer) -> bool:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: ../login\r\nContent-Length: 0\r\n\r\n")
        return True

    async with before(tmp_path, serve, keeps_prefix=keeps) as found:
        status, headers, _ = await found.ask("a/b?next=/c/d/e")
        assert (status, dict(headers)["Location"]) == (302, f"{PREFIX}login")


async def test_a_fault_of_the_gateways_own_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    async with before(tmp_path, says_target) as found, client(found) as one:
        with monkeypatch.context() as patch:
            patch.setattr(Rewriting, "answer_headers", broken)
            one.ask("GET", "x")
            assert await one.reader.read() == b""
        assert (await found.ask("y"))[2] == b"/y"
