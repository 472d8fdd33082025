"""A connection to the application: requests one after the other, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import httptools
from typing_extensions import override

from canfar_spawner.gateway.connection import AHEAD
from canfar_spawner.gateway.reading import LONGEST_HEADERS

_LEAST_STATUS: Final = 200
"""What is below is not an answer yet."""
_SWITCHING: Final = 101
_WITHOUT_BODY: Final = frozenset({204, 304})


class Asking(Protocol):
    """Whoever wants an answer of the application."""

    def answer_begins(self, answer: Answer, first: bytes, *, whole: bool) -> None:
        """Take status, headers and what has come of the body with them; if whole, it is the end."""

    def answer_piece(self, piece: bytes) -> None:
        """Take a piece of the body."""

    def answer_ends(self) -> None:
        """See that there is no more of it."""

    def answer_fails(self) -> None:
        """See that there is no answer, or no more of it though it is not whole."""

    def application_slow(self, *, slow: bool) -> None:
        """See that the application takes nothing more for now, or something again."""


class Answer:
    """What an answer begins with."""

    __slots__ = ("headers", "length", "reason", "status", "without_body")

    def __init__(
        self, status: int, reason: str, headers: list[tuple[str, str]], *, head: bool
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.without_body = head or status in _WITHOUT_BODY
        self.length: int | None = None
        """Bytes of the body as the application tells them, None where it does not."""


class Channel(asyncio.Protocol):
    """A connection to the application, on which one request follows the answer to another.

    Parameters
    ----------
    free : callable
        Told when it may be used again.
    """

    def __init__(self, free: Callable[[Channel], None]) -> None:
        self._free = free
        self._transport: asyncio.Transport
        self._asking: Asking | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._head = False
        """Whether only headers are asked for."""
        self._framed = False
        """Whether a request's body goes in chunks."""
        self._sent = True
        """Whether all of the request has gone."""
        self._status = 0
        """Of the answer whose headers are whole."""
        self._answer: Answer
        self._begun = False
        self._whole = False
        self._keeps = False
        self._until_closed = False
        self._left: int | None = None
        """Bytes that are still to come and need no parser."""
        self._size = 0
        """How many bytes have come of headers, or of what is between chunks."""
        self._reason = b""
        self._lines: list[tuple[str, str]] = []
        self._pieces: list[bytes] = []
        self.answered = False
        """Whether anything has come since it was asked."""
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether it may be asked."""
        return not self._transport.is_closing()

    # Asking.

    def ask(self, asking: Asking, words: bytes, *, head: bool, body: bool, framed: bool) -> None:
        """Send a request.

        Parameters
        ----------
        asking : Asking
        words : bytes
            First line and headers.
        head : bool
            The answer has no body whatever it says.
        body : bool
            A body follows.
        framed : bool
            It goes in chunks.
        """
        self._asking = asking
        self._parser = httptools.HttpResponseParser(self)
        self._head, self._framed, self._sent = head, framed, not body
        self._status = self._size = 0
        self._begun = self._whole = self.answered = False
        self._keeps = self._until_closed = False
        self._left = None
        self._lines, self._pieces, self._reason = [], [], b""
        self._transport.write(words)

    def send(self, piece: bytes) -> None:
        """Send a piece of the request's body."""
        if piece:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._framed else piece)

    def end(self) -> None:
        """Say that there is no more of it."""
        if self._framed:
            self._transport.write(b"0\r\n\r\n")
        self._sent = True

    def slow(self, *, slow: bool) -> None:
        """Take nothing more for now, or go on."""
        if self._transport.is_closing():
            return
        if slow:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def drop(self) -> None:
        """Let go of it: nobody wants the answer."""
        self._asking = None
        self._parser = None
        self._transport.abort()

    # What asyncio calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        transport.set_write_buffer_limits(AHEAD)

    @override
    def pause_writing(self) -> None:
        if self._asking is not None:
            self._asking.application_slow(slow=True)

    @override
    def resume_writing(self) -> None:
        if self._asking is not None:
            self._asking.application_slow(slow=False)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._parser = None
        asking, self._asking = self._asking, None
        if asking is None:
            return
        if self._begun and self._until_closed and exc is None:
            asking.answer_ends()
        else:
            asking.answer_fails()

    @override
    def data_received(self, data: bytes) -> None:
        asking = self._asking
        if asking is None:
            # Nobody has asked for it.
            self._transport.abort()
            return
        self.answered = True
        if self._left is not None:
            self._pass(asking, data)
            return
        self._size += len(data)
        assert self._parser is not None  # noqa: S101 - it was asked
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._whole:
                self._fail()
                return
            # More than was announced is nobody's answer.
            self._transport.abort()
        self._hand_on(asking)

    def _pass(self, asking: Asking, data: bytes) -> None:
        """Hand on a body of known length."""
        assert self._left is not None  # noqa: S101 - it is known
        more = len(data) - self._left
        if more > 0:
            self._transport.abort()
            data = data[: self._left]
        self._left -= len(data)
        asking.answer_piece(data)
        if not self._left and self._asking is asking:
            self._done(asking)

    def _hand_on(self, asking: Asking) -> None:
        if not self._status:
            if self._size > LONGEST_HEADERS:
                self._fail()
            return
        pieces, self._pieces = self._pieces, []
        first = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._begun:
            if first:
                self._size = 0
                asking.answer_piece(first)
            elif self._size > LONGEST_HEADERS and not self._whole:
                # What stands between chunks, and behind them, is nobody's.
                self._fail()
                return
        else:
            answer = self._answer
            self._begun = True
            self._size = 0
            if answer.without_body:
                self._whole = True
            elif answer.length is not None and not self._whole:
                self._left = answer.length - len(first)
                self._parser = None
            asking.answer_begins(answer, first, whole=self._whole)
            if self._whole:
                self._let_go()
            return
        if self._whole and self._asking is asking:
            self._done(asking)

    def _done(self, asking: Asking) -> None:
        """See the end of an answer."""
        asking.answer_ends()
        self._let_go()

    def _let_go(self) -> None:
        """Be there for somebody else; whoever asked knows already that it was all."""
        keep = self._keeps and self._sent and not self._transport.is_closing()
        self._asking = None
        self._parser = None
        if keep:
            # Its last client may have been slow.
            self._transport.resume_reading()
            self._free(self)
        else:
            self._transport.abort()

    def _fail(self) -> None:
        asking, self._asking = self._asking, None
        self._parser = None
        self._transport.abort()
        if asking is not None:
            asking.answer_fails()

    # What the parser calls.

    def on_status(self, piece: bytes) -> None:
        """Take a piece of the status's words."""
        self._reason += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what follows a body is nobody's."""
        if not self._status:
            self._lines.append((name.decode("latin1"), value.decode("latin1")))

    def on_headers_complete(self) -> None:
        """See the end of the headers, of this answer or of a promise of one."""
        parser = self._parser
        assert parser is not None  # noqa: S101 - it calls
        if self._status:
            # Another answer, which nobody has asked for.
            raise ValueError
        status = parser.get_status_code()
        if status == _SWITCHING:
            raise ValueError
        if status < _LEAST_STATUS:
            self._lines, self._reason = [], b""
            return
        lines = self._lines
        if sum(len(name) + len(value) for name, value in lines) > LONGEST_HEADERS:
            raise ValueError
        answer = Answer(status, self._reason.decode("latin1"), lines, head=self._head)
        coding = ""
        for name, value in lines:
            low = name.lower()
            if low == "content-length":
                answer.length = int(value)
            elif low == "transfer-encoding":
                coding = value.strip().lower()
        if coding not in ("", "chunked", "identity"):
            raise ValueError
        self._answer = answer
        self._until_closed = answer.length is None and coding != "chunked"
        # What a client sees of an answer to HEAD, the parser takes for the beginning of one.
        self._keeps = parser.should_keep_alive() and not self._head
        self._status = status

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if not self._whole and not self._head:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """See the end of an answer, or of a promise of one."""
        self._whole = bool(self._status)
