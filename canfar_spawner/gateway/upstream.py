"""The application: connections to it, and what passes between it and a client, piece by piece."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.iostream import IOStream
from yarl import URL

from canfar_spawner.core.gateway import Listening
from canfar_spawner.gateway.request import Request
from canfar_spawner.gateway.rewriting import Rewriting

_CONNECT: Final = 10.0
_KEPT: Final = 4.0
"""Seconds that an idle connection is kept: many applications close theirs after five."""
_PIECE: Final = 256 * 1024
"""Bytes of a body that are had at one time."""
_LONGEST_HEADERS: Final = 64 * 1024
_LARGEST_CHANGED: Final = 1024 * 1024
"""Bytes of a body that is changed; a longer one passes as it is."""


_LEAST_STATUS: Final = 200
"""What is below is not an answer yet."""


class Unreachable(Exception):
    """The application does not answer."""


class Body:
    """A request's body on its way: at most one piece of it waits here."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._taken = asyncio.Event()
        self._closed = False

    async def put(self, piece: bytes) -> None:
        """Hand over a piece, and wait until the next one is wanted."""
        if not self._closed:
            self._taken.clear()
            self._pieces.put_nowait(piece)
            await self._taken.wait()

    def end(self) -> None:
        """Say that there is no more."""
        self._pieces.put_nowait(None)

    def close(self) -> None:
        """Take no more; whoever waits goes on."""
        self._closed = True
        self._taken.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece
            self._taken.set()


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
        self._base = f"http://{name_of(listening)}"
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connections that are kept."""
        if self._session is None:
            path = self._listening.socket
            connector = (
                aiohttp.UnixConnector(path, limit=0, keepalive_timeout=_KEPT)
                if path is not None
                else aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
                read_bufsize=_PIECE,
                max_line_size=_LONGEST_HEADERS,
                max_field_size=_LONGEST_HEADERS,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()

    async def connect(self) -> IOStream:
        """Open a connection of its own.

        Raises
        ------
        Unreachable
        """
        path, port = self._listening.socket, self._listening.port
        kind = socket.AF_INET if path is None else socket.AF_UNIX
        stream = IOStream(socket.socket(kind, socket.SOCK_STREAM), read_chunk_size=_PIECE)
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

    def url(self, path: str, query: str) -> URL:
        """Give the address of a page of the application, its characters as they came."""
        return URL(f"{self._base}{path}{'?' + query if query else ''}", encoded=True)

    async def answers(self, path: str) -> bool:
        """Say whether the application answers below 500."""
        headers = [("Host", name_of(self._listening)), ("Accept", "*/*")]
        if self.rewriting.secret_header is not None:
            headers.append(self.rewriting.secret_header)
        try:
            async with self.session.get(
                self.url(path, ""),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_CONNECT),
            ) as found:
                return found.status < 500
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return False

    async def listens(self) -> bool:
        """Say whether somebody takes connections there."""
        try:
            stream = await self.connect()
        except Unreachable:
            return False
        stream.close()
        return True

    async def exchange(
        self, request: Request, rest: str, body: Body | None, *, keeps_authorization: bool
    ) -> None:
        """Send a request on, and its answer back, as both sides keep up with it.

        Parameters
        ----------
        request : Request
        rest : str
            The path below the session's address.
        body : Body or None
        keeps_authorization : bool
            Whether the header Authorization is the application's business.

        Raises
        ------
        Unreachable
            There is no answer, and none has begun on the client's side.
        """
        path = self.rewriting.path(rest)
        changed = self.rewriting.changes_body(path) and request.method == "GET"
        headers = self.rewriting.request_headers(
            request.headers.get_all(),
            remote_ip=request.remote_ip,
            scheme=request.scheme,
            keeps_authorization=keeps_authorization,
        )
        if changed:
            headers = [pair for pair in headers if pair[0].lower() != "accept-encoding"]
        try:
            answer = await self.session.request(
                request.method,
                self.url(path, request.query),
                headers=headers,
                data=body,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise Unreachable from error
        async with answer:
            if answer.status < _LEAST_STATUS:
                # Another protocol, for which nobody has asked.
                answer.close()
                raise Unreachable
            await self._answer(request, answer, changed=changed)

    async def _answer(
        self, request: Request, answer: aiohttp.ClientResponse, *, changed: bool
    ) -> None:
        connection = request.connection
        headers = HTTPHeaders()
        raw = (
            (name.decode("latin1"), value.decode("latin1")) for name, value in answer.raw_headers
        )
        for name, value in self.rewriting.answer_headers(raw, host=request.host):
            headers.add(name, value)
        start = ResponseStartLine("HTTP/1.1", answer.status, answer.reason or "")
        if changed and (answer.content_length or 0) <= _LARGEST_CHANGED:
            content = self.rewriting.body(await answer.read())
            headers["Content-Length"] = str(len(content))
            await connection.write_headers(start, headers, content)
            connection.finish()
            return
        empty = request.method == "HEAD" or answer.status in (204, 304)
        try:
            # What has come already goes out with the headers, at one stroke.
            first = None if empty else answer.content.read_nowait()
        except aiohttp.ClientError as error:
            raise Unreachable from error
        sent = connection.write_headers(start, headers, first)
        if not empty:
            async for piece in answer.content.iter_any():
                await sent
                sent = connection.write(piece)
        await sent
        connection.finish()


def name_of(listening: Listening) -> str:
    """Give host and port by which the application may call itself."""
    return f"127.0.0.1:{listening.port}" if listening.port is not None else "localhost"
