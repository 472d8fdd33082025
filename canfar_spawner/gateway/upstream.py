"""The application: connections to it, and what passes between it and a client, piece by piece."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from canfar_spawner.core.gateway import Listening
from canfar_spawner.gateway.channel import Answer, Channel
from canfar_spawner.gateway.rewriting import Rewriting

_CONNECT: Final = 10.0
_KEPT: Final = 4.0
"""Seconds that an idle connection is kept: many applications close theirs after five."""


_Made = TypeVar("_Made", bound=asyncio.Protocol)


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
        return await self.connect(lambda: Channel(self._free))

    async def connect(self, make: Callable[[], _Made]) -> _Made:
        """Open a connection, and give what was made to have it.

        Raises
        ------
        Unreachable
        """
        loop = asyncio.get_running_loop()
        path, port = self._listening.socket, self._listening.port
        try:
            async with asyncio.timeout(_CONNECT):
                if path is not None:
                    _, made = await loop.create_unix_connection(make, path)
                else:
                    _, made = await loop.create_connection(make, "127.0.0.1", port or 0)
        except (OSError, TimeoutError) as error:
            raise Unreachable from error
        return made

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
            channel = await self.open()
        except Unreachable:
            return False
        channel.drop()
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
