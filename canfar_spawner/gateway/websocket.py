"""WebSockets: the handshake is looked at, and after it bytes pass as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tornado.iostream import IOStream, StreamClosedError

from canfar_spawner.gateway.request import Request, refuse
from canfar_spawner.gateway.rewriting import Rewriting
from canfar_spawner.gateway.stream import unmask, until_one_ends
from canfar_spawner.gateway.upstream import Unreachable, Upstream

_PIECE: Final = 256 * 1024
_LONGEST_HANDSHAKE: Final = 64 * 1024
_HANDSHAKE_WITHIN: Final = 60.0
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
        self._head = bytearray()
        self._skip = 0

    def feed(self, piece: bytes) -> bool:
        """Take a piece, and say whether a frame with data begins in it."""
        found = False
        at = 0
        size = len(piece)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
                continue
            head = self._head
            if not head and size - at >= 14:
                head = bytearray(piece[at : at + 14])
                taken = 14
            else:
                taken = min(14 - len(head), size - at)
                head += piece[at : at + taken]
            had = len(head) - taken
            need, length = _measure(head)
            looked = length if self._beats and need == _HEAD and length <= _SHORT else 0
            if need + looked > len(head):
                self._head = head
                return found
            self._head = bytearray()
            # Of a frame that is looked into, some content may have come with an earlier piece.
            begun = max(0, had - need)
            at += max(0, need - had)
            self._skip = length - begun
            found = found or (
                head[0] & 0x0F in _DATA
                and length > _BEAT
                and not (looked and self._is_beat(head[: need + length], need))
            )
        return found

    def _is_beat(self, frame: bytes | bytearray, need: int) -> bool:
        if frame[0] != _TEXT or not frame[1] & 0x80:
            return False
        mask, content = frame[need - 4 : need], frame[need:]
        return unmask(bytes(content), bytes(mask), 0) in self._beats


def _measure(head: bytes | bytearray) -> tuple[int, int]:
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
    taken: Callable[[IOStream], None],
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
    taken : callable
        Told the client's connection once it is the gateway's own.
    used : callable
        Called when somebody does something.
    """
    rewriting = upstream.rewriting
    try:
        there = await upstream.connect()
    except Unreachable:
        refuse(request, 502, "The application does not answer.")
        return
    try:
        async with asyncio.timeout(_HANDSHAKE_WITHIN):
            await there.write(_handshake(request, rest, rewriting, keeps_authorization))
            head = await there.read_until(b"\r\n\r\n", max_bytes=_LONGEST_HANDSHAKE)
    except (StreamClosedError, TimeoutError, OSError):
        there.close()
        refuse(request, 502, "The application does not answer.")
        return
    except asyncio.CancelledError:
        there.close()
        raise
    first, _, lines = head.decode("latin1").partition("\r\n")
    status = first.split(" ")[1] if first.count(" ") else ""
    if status != "101":
        there.close()
        known = status.isdigit() and 400 <= int(status) < 600
        refuse(request, int(status) if known else 502, "The application takes no WebSocket here.")
        return
    pairs = [
        (name.strip(), value.strip())
        for name, colon, value in (line.partition(":") for line in lines.split("\r\n"))
        if colon
    ]
    answer = [first, "Upgrade: websocket", "Connection: Upgrade"]
    answer += [
        f"{name}: {value}" for name, value in rewriting.answer_headers(pairs, host=request.host)
    ]
    here: IOStream = request.connection.detach()
    here.set_nodelay(True)
    taken(here)
    watch = FrameWatch(rewriting.beats)

    def look(piece: bytes) -> None:
        if watch.feed(piece):
            used()

    try:
        await here.write(("\r\n".join(answer) + "\r\n\r\n").encode("latin1"))
        await both_ways(here, there, look)
    except StreamClosedError:
        pass
    finally:
        here.close()
        there.close()


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


async def both_ways(here: IOStream, there: IOStream, look: Callable[[bytes], None]) -> None:
    """Pass bytes both ways until one side goes; each side waits for the other to take them."""

    async def pass_on(
        source: IOStream, sink: IOStream, look: Callable[[bytes], None] | None
    ) -> None:
        while True:
            piece = await source.read_bytes(_PIECE, partial=True)
            if look is not None:
                look(piece)
            await sink.write(piece)

    await until_one_ends(pass_on(here, there, look), pass_on(there, here, None))
