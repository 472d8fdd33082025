"""A request on its way to the application, and the answer on its way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from canfar_spawner.gateway.channel import Answer, Channel
from canfar_spawner.gateway.connection import SINK, Connection
from canfar_spawner.gateway.pages import SILENT, Pages
from canfar_spawner.gateway.request import SAFE, Request
from canfar_spawner.gateway.upstream import Unreachable, Upstream

_LARGEST_CHANGED: Final = 1024 * 1024
"""Bytes of a body that is changed; a longer one passes as it is."""
_NO_CONTENT: Final = 204


class Passing:
    """Passes one request on, and what comes back, as both sides keep up with it.

    Parameters
    ----------
    request : Request
    upstream : Upstream
    pages : Pages
    over : callable
        Told when nothing passes any more.
    """

    def __init__(
        self,
        request: Request,
        upstream: Upstream,
        pages: Pages,
        over: Callable[[], None],
    ) -> None:
        self._request = request
        self._connection: Connection = request.connection
        self._upstream = upstream
        self._pages = pages
        self._over = over
        self._channel: Channel | None = None
        self._opening: asyncio.Task[None] | None = None
        self._path = ""
        """What the application is asked for."""
        self._words = b""
        self._kept = False
        """Whether the connection has been used before, and may have been closed meanwhile."""
        self._begun = False
        self._collected: tuple[Answer, bytearray] | None = None
        """An answer whose body is changed when it is whole."""
        self._changes = False
        self._done = False

    def begin(self, rest: str, *, keeps_authorization: bool) -> None:
        """Begin.

        Parameters
        ----------
        rest : str
            The path below the session's address.
        keeps_authorization : bool
            Whether the header Authorization is the application's business.
        """
        request = self._request
        path = self._path = self._upstream.rewriting.path(rest)
        self._changes = request.method == "GET" and self._upstream.rewriting.changes_body(path)
        target = f"{path}?{request.query}" if request.query else path
        framing = b""
        if request.chunked:
            framing = b"\r\nTransfer-Encoding: chunked"
        elif request.length is not None:
            framing = b"\r\nContent-Length: %d" % request.length
        self._words = b"".join(
            (
                f"{request.method} {target} HTTP/1.1".encode("latin1"),
                self._headers(keeps_authorization=keeps_authorization),
                framing,
                b"\r\n\r\n",
            )
        )
        # What may not be asked twice gets a connection that nobody has closed yet.
        if not request.has_body() and request.method in SAFE:
            channel = self._upstream.kept()
            if channel is not None:
                self._kept = True
                self._ask(channel)
                return
        self._open()

    def _headers(self, *, keeps_authorization: bool) -> bytes:
        request = self._request
        key = (request.remote_ip, keeps_authorization, self._changes)
        known = request.head.memory.get("sent")
        if known is not None and known[0] == key:
            found: bytes = known[1]
            return found
        dropped = {"content-length", "accept-encoding"} if self._changes else {"content-length"}
        pairs = self._upstream.rewriting.request_headers(
            request.headers.get_all(),
            remote_ip=request.remote_ip,
            scheme=request.scheme,
            keeps_authorization=keeps_authorization,
        )
        found = "".join(
            f"\r\n{name}: {value}" for name, value in pairs if name.lower() not in dropped
        ).encode("latin1")
        request.head.memory["sent"] = (key, found)
        return found

    def _open(self) -> None:
        self._opening = asyncio.ensure_future(self._opened())

    async def _opened(self) -> None:
        try:
            channel = await self._upstream.open()
        except Unreachable:
            self._silent()
            return
        self._ask(channel)

    def _ask(self, channel: Channel) -> None:
        request = self._request
        self._channel = channel
        body = request.has_body()
        channel.ask(
            self,
            self._words,
            head=request.method == "HEAD",
            body=body,
            framed=request.chunked,
        )
        if body:
            if "Expect" in request.headers and not request.old:
                self._connection.go_on()
            self._connection.take_body()

    # From the client.

    def body_piece(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self._channel is not None and not self._done:
            self._channel.send(piece)

    def body_ends(self) -> None:
        """See that there is no more of the body."""
        if self._channel is not None and not self._done:
            self._channel.end()

    def client_slow(self, *, slow: bool) -> None:
        """See that the client takes nothing more for now, or something again."""
        if self._channel is not None and not self._done:
            self._channel.slow(slow=slow)

    def drop(self) -> None:
        """Let go of it: the client has."""
        if self._done:
            return
        self._done = True
        if self._opening is not None:
            self._opening.cancel()
        if self._channel is not None:
            self._channel.drop()

    # From the application.

    def application_slow(self, *, slow: bool) -> None:
        """See that the application takes nothing more for now, or something again."""
        if slow:
            self._connection.hold(SINK)
        else:
            self._connection.release(SINK)

    def answer_begins(self, answer: Answer, first: bytes, *, whole: bool) -> None:
        """Take status, headers and what has come of the body with them."""
        self._begun = True
        if self._changes and not answer.without_body and (answer.length or 0) <= _LARGEST_CHANGED:
            self._collected = answer, bytearray(first)
        else:
            self._answer(answer, first, whole=whole)
        if whole:
            self.answer_ends()

    def _answer(self, answer: Answer, first: bytes, *, whole: bool) -> None:
        request = self._request
        length = answer.length
        if whole and length is None and not answer.without_body:
            length = len(first)
        kept = self._upstream.rewriting.answer_headers(
            answer.headers, host=request.host, path=self._path
        )
        headers = [pair for pair in kept if pair[0].lower() != "content-length"]
        if length is not None and answer.status != _NO_CONTENT:
            headers.append(("Content-Length", str(length)))
        unknown = length is None and not answer.without_body
        self._connection.begin(
            answer.status,
            answer.reason,
            headers,
            first,
            chunked=unknown and not request.old,
            closes=unknown and request.old,
        )

    def answer_piece(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self._collected is None:
            self._connection.write(piece)
            return
        answer, collected = self._collected
        collected += piece
        if len(collected) > _LARGEST_CHANGED:
            self._collected = None
            self._answer(answer, bytes(collected), whole=False)

    def answer_ends(self) -> None:
        """See that there is no more of it."""
        self._done = True
        if self._collected is not None:
            answer, collected = self._collected
            content = self._upstream.rewriting.body(bytes(collected))
            answer.length = len(content)
            self._answer(answer, content, whole=True)
        self._connection.finish()
        self._over()

    def answer_fails(self) -> None:
        """See that there is no answer, or no more of it though it is not whole."""
        if self._begun and self._collected is None:
            # The application broke off in the middle: so does the answer.
            self._done = True
            self._connection.abort()
            self._over()
            return
        channel, self._channel = self._channel, None
        if self._kept and channel is not None and not channel.answered:
            self._kept = False
            self._open()
            return
        self._silent()

    def _silent(self) -> None:
        self._done = True
        request = self._request
        request.closes = request.closes or self._connection.unread
        self._pages.tell(request, 502, SILENT)
        self._over()
