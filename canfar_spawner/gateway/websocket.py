"""WebSockets: the handshake is looked at, and after it bytes pass as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from typing_extensions import override

from canfar_spawner.gateway.connection import AHEAD, cut_off
from canfar_spawner.gateway.request import Request, refuse
from canfar_spawner.gateway.rewriting import Rewriting
from canfar_spawner.gateway.stream import unmask
from canfar_spawner.gateway.upstream import Unreachable, Upstream

_AGREED: Final = "HTTP/1.1 101 Switching Protocols"
_LONGEST_HANDSHAKE: Final = 64 * 1024
_HANDSHAKE_WITHIN: Final = 60.0
_DELIVERED_WITHIN: Final = 60.0
"""Seconds in which one side takes what the other said before its end."""
_DATA: Final = frozenset({0, 1, 2})
"""Opcodes of frames that carry what somebody does: continued, text, binary."""
_TEXT: Final = 0x81
"""First byte of a frame that is a whole text."""
_HEAD: Final = 6
"""Bytes of a short frame's head, with its mask."""
_SHORT: Final = 8
"""Bytes of content that fit behind the head of a short frame in what is kept of it."""
_BEAT: Final = 1
"""Bytes of a frame that is no more than a sign of life, as Socket.IO's."""


class FrameWatch:
    """Sees in what a browser sends whether it carries data, without putting frames together.

    Parameters
    ----------
    beats : frozenset of bytes
        Texts by which a page says no more than that it is there.
    """

    __slots__ = ("_beats", "_head", "_skip")

    def __init__(self, beats: frozenset[bytes] = frozenset()) -> None:
        self._beats = beats
        self._head = b""
        """What has come of a frame as long as it does not tell enough."""
        self._skip = 0
        """Bytes of a frame that are still to come and tell nothing."""

    def feed(self, piece: bytes) -> bool:
        """Take a piece, and say whether a frame with data begins in it."""
        found = False
        size = len(piece)
        # Where the next frame begins.
        at = self._skip
        while at < size:
            had = len(self._head)
            head = self._head + piece[at : at + 14 - had] if had else piece[at : at + 14]
            need, length = _measure(head)
            looked = length if self._beats and need == _HEAD and length <= _SHORT else 0
            if need + looked > len(head):
                self._head = head
                at = size
                break
            if had:
                self._head = b""
            at += need + length - had
            found = found or (
                length > _BEAT
                and head[0] & 0x0F in _DATA
                and not (looked and self._is_beat(head[: need + length], need))
            )
        self._skip = at - size
        return found

    def _is_beat(self, frame: bytes, need: int) -> bool:
        if frame[0] != _TEXT or not frame[1] & 0x80:
            return False
        mask, content = frame[need - 4 : need], frame[need:]
        return unmask(content, mask, 0) in self._beats


def _measure(head: bytes) -> tuple[int, int]:
    """Give the length of a frame's head and of its content, as far as its first bytes tell."""
    if len(head) < 2:
        return 2, 0
    masked = 4 if head[1] & 0x80 else 0
    short = head[1] & 0x7F
    if short < 126:
        return 2 + masked, short
    wide = 2 if short == 126 else 8
    need = 2 + wide
    if len(head) < need:
        return need + masked, 0
    return need + masked, int.from_bytes(head[2:need], "big")


async def relay(
    request: Request,
    rest: str,
    upstream: Upstream,
    *,
    keeps_authorization: bool,
    used: Callable[[], None],
) -> None:
    """Connect a browser and the application until one of them goes.

    Parameters
    ----------
    request : Request
    rest : str
        The path below the session's address.
    upstream : Upstream
    keeps_authorization : bool
    used : callable
        Called when somebody does something.
    """
    rewriting = upstream.rewriting
    words = _handshake(request, rest, rewriting, keeps_authorization)
    try:
        there, head, late = await _answered(upstream, words)
    except Unreachable:
        refuse(request, 502, "The application does not answer.")
        return
    try:
        first, _, lines = head.decode("latin1").partition("\r\n")
        status = first.split(" ")[1] if first.count(" ") else ""
        if status != "101":
            known = status.isdigit() and 400 <= int(status) < 600
            sentence = "The application takes no WebSocket here."
            refuse(request, int(status) if known else 502, sentence)
            return
        pairs = [
            (name.strip(), value.strip())
            for name, colon, value in (line.partition(":") for line in lines.split("\r\n"))
            if colon
        ]
        # In the application's own a lone line feed would carry a header past what is kept back.
        answer = [_AGREED, "Upgrade: websocket", "Connection: Upgrade"]
        kept = rewriting.answer_headers(pairs, host=request.host, path=rewriting.path(rest))
        answer += [f"{name}: {value}" for name, value in kept]
        watch = FrameWatch(rewriting.beats)

        def look(piece: bytes) -> None:
            if watch.feed(piece):
                used()

        here, early = request.connection.detach()
        here.write(("\r\n".join(answer) + "\r\n\r\n").encode("latin1"))
        await both_ways(here, there, look, early=early, late=late)
    finally:
        cut_off(there)


def _handshake(
    request: Request,
    rest: str,
    rewriting: Rewriting,
    keeps_authorization: bool,  # noqa: FBT001 - passed on
) -> bytes:
    headers = rewriting.request_headers(
        request.headers.get_all(),
        remote_ip=request.remote_ip,
        scheme=request.scheme,
        keeps_authorization=keeps_authorization,
    )
    path = rewriting.path(rest)
    target = f"{path}?{request.query}" if request.query else path
    lines = [f"GET {target} HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")


class _Handshake(asyncio.Protocol):
    """Asks for a WebSocket, and takes the head of the answer and what has come behind it.

    Parameters
    ----------
    words : bytes
    """

    def __init__(self, words: bytes) -> None:
        self._words = words
        self._had = b""
        self.transport: asyncio.Transport
        self.answered: asyncio.Future[tuple[bytes, bytes] | None] = (
            asyncio.get_running_loop().create_future()
        )

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.transport = transport
        transport.write(self._words)

    @override
    def data_received(self, data: bytes) -> None:
        self._had += data
        head, found, rest = self._had.partition(b"\r\n\r\n")
        if len(head) > _LONGEST_HANDSHAKE:
            self.transport.abort()
        elif found and not self.answered.done():
            # What follows is for whoever takes over.
            self.transport.pause_reading()
            self.answered.set_result((head, rest))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_result(None)


async def _answered(upstream: Upstream, words: bytes) -> tuple[asyncio.Transport, bytes, bytes]:
    """Give a connection, not read from, the head of its answer and what has come behind it."""
    asked = await upstream.connect(lambda: _Handshake(words))
    try:
        async with asyncio.timeout(_HANDSHAKE_WITHIN):
            answer = await asked.answered
    except TimeoutError:
        answer = None
        cut_off(asked.transport)
    except asyncio.CancelledError:
        cut_off(asked.transport)
        raise
    if answer is None:
        raise Unreachable
    return asked.transport, *answer


class _Side(asyncio.Protocol):
    """One side of what passes: whatever comes goes to the other.

    Parameters
    ----------
    own : asyncio.Transport
    other : asyncio.Transport
    ended : asyncio.Event
        Set at the end of one of them.
    """

    def __init__(
        self, own: asyncio.Transport, other: asyncio.Transport, ended: asyncio.Event
    ) -> None:
        self._other = other
        self._ended = ended
        self.lost = asyncio.Event()
        own.set_protocol(self)
        own.set_write_buffer_limits(AHEAD)

    @override
    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    @override
    def pause_writing(self) -> None:
        self._other.pause_reading()

    @override
    def resume_writing(self) -> None:
        self._other.resume_reading()

    @override
    def eof_received(self) -> None:
        # asyncio closes this one; both still get what waits for them, and are not read from.
        self._other.close()
        self._ended.set()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and not self._ended.is_set():
            # It was cut off here: what waits of it is not delivered any more.
            self._other.abort()
        else:
            self._other.close()
        self._ended.set()
        self.lost.set()


class _Browser(_Side):
    """The side that is looked at."""

    def __init__(
        self,
        own: asyncio.Transport,
        other: asyncio.Transport,
        ended: asyncio.Event,
        look: Callable[[bytes], None],
    ) -> None:
        super().__init__(own, other, ended)
        self._look = look

    @override
    def data_received(self, data: bytes) -> None:
        self._look(data)
        self._other.write(data)


async def both_ways(
    here: asyncio.Transport,
    there: asyncio.Transport,
    look: Callable[[bytes], None],
    *,
    early: bytes = b"",
    late: bytes = b"",
) -> None:
    """Pass bytes both ways until one side goes; each side waits for the other to take them.

    Parameters
    ----------
    here : asyncio.Transport
    there : asyncio.Transport
    look : callable
        Shown what comes from here.
    early : bytes
        What has come from here already.
    late : bytes
        What has come from there already.
    """
    ended = asyncio.Event()
    browser, application = _Browser(here, there, ended, look), _Side(there, here, ended)
    try:
        # What has come already may be as much as the other side takes: then nothing is read again.
        here.resume_reading()
        there.resume_reading()
        browser.data_received(early)
        application.data_received(late)
        await ended.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELIVERED_WITHIN):
                await browser.lost.wait()
                await application.lost.wait()
    finally:
        cut_off(here)
        cut_off(there)
