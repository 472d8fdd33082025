"""A client's connection: requests one after the other, and answers as they are taken."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from typing_extensions import override

from canfar_spawner.gateway.reading import Message, Reader, Unreadable
from canfar_spawner.gateway.request import Head, Heads, Request

AHEAD: Final = 512 * 1024
"""Bytes that may wait until one side takes them; asyncio reads half as many at one time."""
_IDLE: Final = 3600.0
_LINGER: Final = 2.0
"""Seconds for which a client may go on sending what nobody reads, so that it sees its answer."""
_LOOK_EVERY: Final = 2.0
"""Seconds between two looks whether a client that is not read from is still there."""
_QUEUE, SINK = 1, 2
"""Why nothing is read: requests wait for one before them, a body for whoever takes it."""


def cut_off(transport: asyncio.Transport) -> None:
    """End a connection at once, unless it is gone: asyncio's own word for it may fail then."""
    if transport.get_protocol() is not None:
        transport.abort()


class Serving(Protocol):
    """Whoever answers one request."""

    def serve(self) -> None:
        """Begin: the headers are there."""

    def body_piece(self, piece: bytes) -> None:
        """Take a piece of the body."""

    def body_ends(self) -> None:
        """See that there is no more of the body."""

    def client_slow(self, *, slow: bool) -> None:
        """See that the client takes nothing more for now, or something again."""

    def client_gone(self) -> None:
        """See that nobody waits for the answer any more."""


class Connection(asyncio.Protocol):
    """A client's connection.

    Requests are answered one after the other, however many come at once.

    Parameters
    ----------
    serve : callable
        Gives who answers a request.
    heads : Heads
    """

    def __init__(self, serve: Callable[[Request], Serving], heads: Heads) -> None:
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self.remote_ip = ""
        self._reader = Reader(heads, self._request)
        self._current: Message | None = None
        """What is being answered."""
        self._chunked = False
        """Whether the answer goes in chunks."""
        self._closes = False
        self._slow = False
        self._held = 0
        self._used = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None

    def _request(self, method: str, target: str, head: Head) -> Request:
        return Request(method, target, head, self)

    # What asyncio calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        transport.set_write_buffer_limits(AHEAD)
        peer = transport.get_extra_info("peername")
        self.remote_ip = peer[0] if peer else ""
        self._timer = self._loop.call_later(_IDLE, self._idle)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        current = self._end()
        if current is not None and current.serving is not None:
            current.serving.client_gone()

    def _end(self) -> Message | None:
        """Have nothing more to do with the connection, and give what was being answered."""
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()
        current, self._current = self._current, None
        self._reader.close()
        return current

    @override
    def pause_writing(self) -> None:
        self._tell_slow(slow=True)

    @override
    def resume_writing(self) -> None:
        self._tell_slow(slow=False)

    def _tell_slow(self, *, slow: bool) -> None:
        self._slow = slow
        if self._current is not None and self._current.serving is not None:
            self._current.serving.client_slow(slow=slow)
        elif not slow:
            self._work()

    @override
    def data_received(self, data: bytes) -> None:
        self._used = self._loop.time()
        try:
            self._reader.read(data)
        except Unreadable:
            self._unreadable()
        self._work()

    def _idle(self) -> None:
        """Close what nobody has used for long."""
        left = _IDLE if self._current else self._used + _IDLE - self._loop.time()
        if left <= 0:
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(left, self._idle)

    # Serving.

    def _work(self) -> None:
        """Hand on what has come, and begin with the next one if nothing is being answered."""
        waiting = self._reader.waiting
        # A client that does not take its answers gets no more of them.
        if self._current is None and waiting and not self._slow:
            self._begin(waiting.popleft())
        else:
            self._deliver()
        if waiting or self._reader.rest:
            self.hold(_QUEUE)
        else:
            self.release(_QUEUE)

    def _unreadable(self) -> None:
        """End with what cannot be understood, after what could."""
        if self._reader.in_body:
            self._transport.abort()
        elif self._current is None and not self._reader.waiting:
            body = b"This request cannot be understood.\n"
            self._transport.write(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            self._linger()

    def _begin(self, message: Message) -> None:
        self._current = message
        self._closes = not message.keep
        serving = message.serving = self._serve(message.request)
        serving.serve()
        self._deliver()

    def _deliver(self) -> None:
        message = self._current
        if message is None or message.told or not message.request.has_body():
            return
        if not message.wanted:
            self.hold(SINK)
            return
        serving = message.serving
        assert serving is not None  # noqa: S101 - it is the current one
        pieces, message.pieces = message.pieces, []
        for piece in pieces:
            if self._current is message:
                serving.body_piece(piece)
        if message.whole and self._current is message:
            message.told = True
            serving.body_ends()

    def take_body(self) -> None:
        """Hand the body on, from now on, to whoever serves the request."""
        if self._current is not None:
            self._current.wanted = True
            self.release(SINK)
            self._deliver()

    @property
    def unread(self) -> bool:
        """Whether more follows of what is being answered."""
        return self._current is not None and not self._current.whole

    def hold(self, why: int) -> None:
        """Read nothing more for a reason."""
        if not self._held and not self._reader.over:
            self._transport.pause_reading()
            if self._look is None:
                self._look = self._loop.call_later(_LOOK_EVERY, self._look_for_client)
        self._held |= why

    def release(self, why: int) -> None:
        """Read on, as far as that reason goes."""
        if self._held & why:
            self._held &= ~why
            if not self._held and not self._transport.is_closing():
                self._transport.resume_reading()

    def _look_for_client(self) -> None:
        """See whether a client has gone that nobody reads from."""
        self._look = None
        if not self._held or self._transport.is_closing():
            return
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        if poll.poll(0):
            self._transport.abort()
        else:
            self._look = self._loop.call_later(_LOOK_EVERY, self._look_for_client)

    # Answering.

    def begin(
        self,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]],
        first: bytes = b"",
        *,
        chunked: bool = False,
        closes: bool = False,
    ) -> None:
        """Send the headers of an answer, and what there is of its body.

        Parameters
        ----------
        status : int
        reason : str
        headers : iterable
        first : bytes
        chunked : bool
            The body's length is not known.
        closes : bool
            The connection ends with this answer.
        """
        lines = [f"HTTP/1.1 {status} {reason}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self._chunked = chunked
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        if closes:
            self._closes = True
        if self._closes:
            lines.append("Connection: close")
        elif self._current is not None and self._current.request.old:
            lines.append("Connection: keep-alive")
        lines.append("\r\n")
        head = "\r\n".join(lines).encode("latin1")
        self._transport.write(head + self._framed(first) if first else head)

    def write(self, piece: bytes) -> None:
        """Send a piece of an answer's body."""
        if piece:
            self._transport.write(self._framed(piece))

    def _framed(self, piece: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece

    def go_on(self) -> None:
        """Have a client send the body that it asks about."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def finish(self) -> None:
        """End an answer."""
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
            self._chunked = False
        message, self._current = self._current, None
        self._used = self._loop.time()
        if message is None or not message.whole:
            self._linger()
        elif self._closes or (self._reader.over and not self._reader.waiting):
            self._transport.close()
        elif self._reader.waiting:
            # One at a time: others have connections too.
            self._loop.call_soon(self._work)
        self.release(SINK)

    def _linger(self) -> None:
        """End a connection whose client may still be sending."""
        self._reader.close()
        self.release(_QUEUE | SINK)
        if not self._transport.is_closing():
            with contextlib.suppress(OSError):
                self._transport.write_eof()
            self._lingered()

    def _lingered(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # It takes its answer still, or only now has all of it.
        taking = self._transport.get_write_buffer_size() > 0
        end = self._lingered if taking else self._transport.abort
        self._timer = self._loop.call_later(_LINGER, end)

    def abort(self) -> None:
        """End the connection at once, in the middle of whatever it is."""
        cut_off(self._transport)

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Give the connection away, which may be held, and what has come of another protocol."""
        rest = self._reader.rest or b""
        self._end()
        return self._transport, rest

    @property
    def stream(self) -> Connection:
        """What `canfar_lab.visitors.cut` closes."""
        return self

    close = abort
