"""The application: connections to it, and what passes between it and a client, piece by piece."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, Final

from tornado.iostream import IOStream

from canfar_spawner.core.gateway import Listening
from canfar_spawner.gateway.channel import Answer, Channel
from canfar_spawner.gateway.connection import PIECE
from canfar_spawner.gateway.rewriting import Rewriting

_CONNECT: Final = 10.0
_KEPT: Final = 4.0
"""Seconds that an idle connection is kept: many applications close theirs after five."""


class Unreachable(Exception):
    """The application does not answer."""


class Upstream:
    """How the application is reached.

    Parameters
    ----------
    listening : Listening
    rewriting : Rewriting
    """

    def __init__(self, listening: Listening, rewriting: Rewriting) -> None:
        self._listening = listening
        self.rewriting = rewriting
        self._idle: deque[Channel] = deque()
        self._sweeping: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Let go of all connections that are not in use."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        while self._idle:
            self._idle.pop().drop()

    def kept(self) -> Channel | None:
        """Give a connection that has been used before, if there is one."""
        oldest = asyncio.get_running_loop().time() - _KEPT
        while self._idle:
            channel = self._idle.pop()
            if channel.usable and channel.idle_since > oldest:
                return channel
            channel.drop()
        return None

    async def open(self) -> Channel:
        """Open a connection for requests.

        Raises
        ------
        Unreachable
        """
        loop = asyncio.get_running_loop()
        path, port = self._listening.socket, self._listening.port
        try:
            async with asyncio.timeout(_CONNECT):
                if path is not None:
                    _, channel = await loop.create_unix_connection(self._channel, path)
                else:
                    _, channel = await loop.create_connection(self._channel, "127.0.0.1", port or 0)
        except (OSError, TimeoutError) as error:
            raise Unreachable from error
        return channel

    def _channel(self) -> Channel:
        return Channel(self._free)

    def _free(self, channel: Channel) -> None:
        loop = asyncio.get_running_loop()
        channel.idle_since = loop.time()
        self._idle.append(channel)
        if self._sweeping is None:
            self._sweeping = loop.call_later(_KEPT, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _KEPT
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().drop()
        self._sweeping = loop.call_later(_KEPT, self._sweep) if self._idle else None

    async def connect(self) -> IOStream:
        """Open a connection of its own, for bytes.

        Raises
        ------
        Unreachable
        """
        path, port = self._listening.socket, self._listening.port
        kind = socket.AF_INET if path is None else socket.AF_UNIX
        stream = IOStream(socket.socket(kind, socket.SOCK_STREAM), read_chunk_size=PIECE)
        address: Any = ("127.0.0.1", port) if path is None else path
        try:
            async with asyncio.timeout(_CONNECT):
                await stream.connect(address)
        except (OSError, TimeoutError) as error:
            stream.close()
            raise Unreachable from error
        if path is None:
            stream.set_nodelay(True)
        return stream

    async def answers(self, path: str) -> bool:
        """Say whether the application answers below 500."""
        headers = [("Host", name_of(self._listening)), ("Accept", "*/*")]
        if self.rewriting.secret_header is not None:
            headers.append(self.rewriting.secret_header)
        look = _Look()
        try:
            channel = await self.open()
        except Unreachable:
            return False
        try:
            async with asyncio.timeout(_CONNECT):
                channel.ask(look, words("GET", path, headers), head=False, body=False, framed=False)
                return await look.status < 500
        except (TimeoutError, UnicodeEncodeError):
            return False
        finally:
            channel.drop()

    async def listens(self) -> bool:
        """Say whether somebody takes connections there."""
        try:
            stream = await self.connect()
        except Unreachable:
            return False
        stream.close()
        return True


class _Look:
    """Wants to know the status of an answer alone."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def answer_begins(self, answer: Answer, first: bytes, *, whole: bool) -> None:
        del first, whole
        self._tell(answer.status)

    def answer_piece(self, piece: bytes) -> None:
        del piece

    def answer_ends(self) -> None:
        pass

    def answer_fails(self) -> None:
        self._tell(599)

    def application_slow(self, *, slow: bool) -> None:
        del slow

    def _tell(self, status: int) -> None:
        if not self.status.done():
            self.status.set_result(status)


def words(method: str, target: str, headers: list[tuple[str, str]]) -> bytes:
    """Give the bytes of a request's first line and headers."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")


def name_of(listening: Listening) -> str:
    """Give host and port by which the application may call itself."""
    return f"127.0.0.1:{listening.port}" if listening.port is not None else "localhost"
