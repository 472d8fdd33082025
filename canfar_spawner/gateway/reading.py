"""Requests as they are read from a client's bytes, in whatever pieces they come.

httptools reads what comes; it refuses whatever two programs might read in two ways.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import httptools
from tornado.httputil import HTTPHeaders, HTTPInputError

from canfar_spawner.gateway.request import Head, Heads, Request

if TYPE_CHECKING:
    from canfar_spawner.gateway.connection import Serving

LONGEST_HEADERS: Final = 64 * 1024


class Unreadable(Exception):
    """What has come is no request, or no body of one."""


class Message:
    """A request as it is read.

    Parameters
    ----------
    request : Request
    keep : bool
        Whether the connection may stay for another one.
    whole : bool
        Whether nothing more follows of it.
    """

    __slots__ = ("keep", "pieces", "request", "serving", "told", "wanted", "whole")

    def __init__(self, request: Request, *, keep: bool, whole: bool) -> None:
        self.request = request
        self.serving: Serving | None = None
        self.pieces: list[bytes] = []
        """What has come of its body and is not handed on."""
        self.keep = keep
        self.whole = whole
        self.wanted = False
        """Whether somebody takes its body."""
        self.told = False
        """Whether whoever takes it knows that there is no more."""


class Reader:
    """Reads one connection's requests.

    Parameters
    ----------
    heads : Heads
    make : callable
        Makes a request of method, target and headers.
    """

    def __init__(self, heads: Heads, make: Callable[[str, str, Head], Request]) -> None:
        self._heads = heads
        self._make = make
        self.waiting: deque[Message] = deque()
        """What has been read and nobody has begun to answer."""
        self.over = False
        """Whether nothing more is read."""
        self.rest: bytes | None = None
        """What came behind a request for another protocol."""
        self._reading: Message | None = None
        """Whose body has not come to its end."""
        self._parser: httptools.HttpRequestParser | None = None
        self._target = b""
        self._lines: list[tuple[bytes, bytes]] = []
        self._within = False
        """Whether headers have begun and not ended."""
        self._size = 0
        """How many bytes have come of them, or of what is between chunks."""
        self._had = False
        """Whether some of a body was in what was read last."""
        self._left = 0
        """Bytes of a body that need no parser."""

    @property
    def in_body(self) -> bool:
        """Whether a body has begun and not ended."""
        return self._reading is not None

    def close(self) -> None:
        """Let go of everything."""
        self.over = True
        self.rest = None
        self.waiting.clear()
        self._reading = None
        # It refers to what refers to it.
        self._parser = None

    def read(self, data: bytes) -> None:
        """Take what has come.

        Raises
        ------
        Unreadable
        """
        if self.over:
            return
        if self.rest is not None:
            self.rest += data
            return
        if not (self._reading or self._within):
            known = self._heads.again(data)
            if known is not None:
                self.waiting.append(Message(self._make(*known), keep=True, whole=True))
                return
        if self._left:
            data = self._pass(data)
        if data:
            self._feed(data)

    def _pass(self, data: bytes) -> bytes:
        """Take what belongs to a body of known length, and give what does not."""
        message = self._reading
        assert message is not None  # noqa: S101 - something is left of it
        piece = data if len(data) <= self._left else data[: self._left]
        self._left -= len(piece)
        message.pieces.append(piece)
        if not self._left:
            self._reading = None
            message.whole = True
        return data[len(piece) :]

    def _feed(self, data: bytes) -> None:
        body = self._reading is not None
        alone = not (body or self._within)
        before = len(self.waiting)
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._had = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as found:
            self._upgrade(data[found.args[0] :])
            return
        except httptools.HttpParserError:
            self.over = True
            raise Unreadable from None
        message = self._reading
        if message is not None:
            if message.request.length is not None:
                self._left = message.request.length - sum(map(len, message.pieces))
                self._parser = None
            else:
                # What stands between chunks, and behind them, is nobody's.
                self._size = 0 if self._had or not body else self._size + len(data)
                self._bound()
        elif self._within:
            # Where another one ends in the same piece, most of it is that one's.
            ended = body or len(self.waiting) > before
            self._size = 0 if ended else self._size + len(data)
            self._bound()
        elif alone and len(self.waiting) == before + 1 and data.endswith(b"\r\n\r\n"):
            only = self.waiting[-1]
            if only.keep and not only.request.has_body():
                self._heads.keep(data, only.request.head)

    def _bound(self) -> None:
        if self._size > LONGEST_HEADERS:
            self.over = True
            raise Unreadable

    def _upgrade(self, rest: bytes) -> None:
        """See what follows a request for another protocol: it is for whoever speaks it."""
        self._parser = None
        message = self.waiting[-1]
        request = message.request
        if request.is_websocket() and not request.has_body():
            self.rest = rest
            return
        # Nothing else is spoken here, and whether a body follows is not sure.
        self.over = True
        request.upgrades = message.keep = False
        if request.has_body():
            self.waiting.pop()
            raise Unreadable

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        self._target, self._lines, self._within = b"", [], True

    def on_url(self, piece: bytes) -> None:
        """Take a piece of the address."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what follows a body is nobody's."""
        if self._reading is None:
            self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Have a request, whose body may follow."""
        parser = self._parser
        assert parser is not None  # noqa: S101 - it calls
        lines = self._lines
        size = len(self._target) + sum(len(name) + len(value) for name, value in lines)
        if size > LONGEST_HEADERS:
            raise HTTPInputError
        headers = HTTPHeaders()
        for name, value in lines:
            headers.add(name.decode("latin1"), value.decode("latin1"))
        request = self._make(parser.get_method().decode(), self._target.decode(), Head(headers))
        request.old = parser.get_http_version() != "1.1"
        request.closes = request.upgrades = parser.should_upgrade()
        request.chunked = "Transfer-Encoding" in headers
        if "Content-Length" in headers:
            request.length = int(headers["Content-Length"])
        message = Message(request, keep=parser.should_keep_alive(), whole=False)
        self.waiting.append(message)
        self._reading = message
        self._lines, self._size, self._within = [], 0, False

    def on_body(self, piece: bytes) -> None:
        """Take a piece of a body."""
        self._had = True
        if self._reading is not None:
            self._reading.pieces.append(piece)

    def on_message_complete(self) -> None:
        """See the end of a request."""
        if self._reading is not None:
            self._reading.whole = True
            self._reading = None
