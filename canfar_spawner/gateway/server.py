"""Every request: who may make it, and what answers it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from typing_extensions import override

from canfar_spawner.core.kinds import Transport
from canfar_spawner.gateway import stream
from canfar_spawner.gateway.activity import Activity, Telling
from canfar_spawner.gateway.auth import CALLBACK, Entrance, Guest, Refused
from canfar_spawner.gateway.pages import HUB_AWAY, SILENT, Pages
from canfar_spawner.gateway.readiness import Readiness
from canfar_spawner.gateway.request import Request, redirect, refuse
from canfar_spawner.gateway.rewriting import Rewriting, secret_header
from canfar_spawner.gateway.settings import Settings
from canfar_spawner.gateway.tokens import HubAway, Tokens
from canfar_spawner.gateway.upstream import Body, Unreachable, Upstream, name_of
from canfar_spawner.gateway.visitors import Door
from canfar_spawner.gateway.websocket import relay

NOTHING: Final = "There is nothing at this address."
_ECHOING: Final = frozenset({"TRACE", "CONNECT"})
"""Methods that would show what the gateway alone tells the application, or lead past it."""
PROBE: Final = "api"
"""Where the hub asks whether the session answers."""


class Gateway(HTTPServerConnectionDelegate):
    """One session's gateway.

    Parameters
    ----------
    settings : Settings
    log : logging.Logger
    """

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        self.settings = settings
        self.log = log
        session = settings.session
        header = secret_header(session.secret_header, settings.secret)
        rewriting = Rewriting(
            prefix=settings.prefix,
            keeps_prefix=session.keeps_prefix,
            secret_header=header,
            application=name_of(session.listening),
            rewrites=session.rewrites,
            beats=frozenset(beat.encode() for beat in session.beats),
        )
        tokens = Tokens(settings, log)
        self.entrance = Entrance(settings, tokens, header)
        self.upstream = Upstream(session.listening, rewriting)
        self.pages = Pages(settings, log)
        self.readiness = Readiness(session, self.upstream, log)
        self.activity = Activity()
        self.door = Door(self.entrance, tokens, session.owner, log, self._moved)
        self.telling = Telling(settings, self.activity, self.door.visitors.here, log)

    def _moved(self) -> None:
        self.telling.hurry()

    @override
    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        return Exchange(self, request_conn)

    def begin(self) -> list[asyncio.Task[None]]:
        """Begin what goes on beside the requests."""
        return [
            asyncio.ensure_future(each)
            for each in (
                self.readiness.wait(),
                self.door.watch(),
                self.telling.beat(),
                self.telling.report(),
            )
        ]

    async def close(self) -> None:
        """Let go of all connections."""
        await self.upstream.close()
        await self.telling.close()


class Exchange(HTTPMessageDelegate):
    """One request and its answer.

    Parameters
    ----------
    gateway : Gateway
    connection : HTTPConnection
    """

    def __init__(self, gateway: Gateway, connection: HTTPConnection) -> None:
        self._gateway = gateway
        self._connection: Any = connection
        self.request: Request
        self.token = ""
        self.known = False
        self._body: Body | None = None
        self._task: asyncio.Task[None] | None = None
        self._early = False
        """Whether it is answered before all of it has been read."""
        self._finished = False

    # What tornado calls.

    @override
    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)  # noqa: S101 - tornado's types say either
        self.request = Request(start_line, headers, self._connection)
        # A connection can be had for a WebSocket, and a body be left unread, at this moment alone;
        # whatever is answered now ends the connection.
        self._early = self.request.has_body() or self.request.is_websocket()
        self.request.closes = self._early
        return self._run() if self._early else None

    @override
    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._body.put(chunk) if self._body is not None else None

    @override
    def finish(self) -> None:
        if self._body is not None:
            self._body.end()
        elif not self._early:
            self._task = asyncio.ensure_future(self._run())
            self._connection.set_close_callback(self.on_connection_close)

    @override
    def on_connection_close(self) -> None:
        self._finished = True
        if self._body is not None:
            self._body.close()
        if self._task is not None:
            self._task.cancel()

    # What answers.

    async def _run(self) -> None:
        try:
            await self._answer()
        except (StreamClosedError, asyncio.CancelledError):
            self._connection.close()
        except Exception:
            self._gateway.log.exception("A request could not be answered")
            self._connection.close()
        finally:
            if self._task is None or not self._early:
                self._finished = True

    async def _answer(self) -> None:
        gateway, request = self._gateway, self.request
        prefix = gateway.settings.prefix
        rest = request.below(prefix)
        if rest is None:
            if f"{request.path}/" == prefix:
                redirect(request, prefix + (f"?{request.query}" if request.query else ""))
            else:
                refuse(request, 404, NOTHING)
            return
        if rest == PROBE and not gateway.readiness.ready:
            refuse(request, 503, "The session is starting.", {"Retry-After": "1"})
            return
        if rest == CALLBACK and request.method == "GET":
            await self._signed_in()
            return
        try:
            guest = await gateway.door.enter(self)
        except Refused as refused:
            self._turned_away(refused)
            return
        except HubAway:
            gateway.pages.tell(request, 503, HUB_AWAY, {"Retry-After": "2"})
            return
        await self._for_guest(guest, rest)

    def _turned_away(self, refused: Refused) -> None:
        request = self.request
        if refused.status == 401 and request.wants_page() and not request.is_websocket():
            redirect(request, *self._gateway.entrance.login(request))
            return
        headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
        self._gateway.pages.tell(request, refused.status, refused.sentence, headers)

    async def _signed_in(self) -> None:
        try:
            redirect(self.request, *await self._gateway.entrance.callback(self.request))
        except Refused as refused:
            self._gateway.pages.tell(self.request, refused.status, refused.sentence)

    async def _for_guest(self, guest: Guest, rest: str) -> None:
        gateway, request = self._gateway, self.request
        if not gateway.readiness.ready:
            gateway.pages.wait(request, late=gateway.readiness.late)
            return
        session = gateway.settings.session
        # Before the start page: CARTA's page opens its connection at the session's very address.
        if request.is_websocket():
            await self._websocket(guest, rest)
            return
        if rest == "" and not request.query and request.method == "GET" and session.start != "/":
            gateway.activity.used()
            redirect(request, gateway.settings.prefix + session.start.lstrip("/"))
            return
        if gateway.pages.serve(request, rest, guest.name):
            return
        if session.transport is Transport.STREAM:
            gateway.pages.tell(request, 404, NOTHING)
            return
        if request.method in _ECHOING:
            gateway.pages.tell(request, 405, "This method is not passed on.")
            return
        gateway.activity.asked(request)
        if not self._early:
            await self._pass_on(guest, rest)
            return
        self._body = Body()
        self._task = asyncio.ensure_future(self._pass_on(guest, rest))
        self._connection.set_close_callback(self.on_connection_close)
        # While a body waits for the application, nobody else looks whether the client is there.
        self._connection.stream.set_close_callback(self.on_connection_close)

    async def _websocket(self, guest: Guest, rest: str) -> None:
        gateway = self._gateway
        streams = gateway.settings.session.transport is Transport.STREAM
        if streams and rest != stream.ADDRESS:
            refuse(self.request, 404, NOTHING)
            return
        # The connection is tornado's until the application has agreed, and nobody's afterwards.
        agreed = asyncio.Event()

        def taken(connection: IOStream) -> None:
            # Where visitors are cut off, it is looked for here.
            self.request.connection = SimpleNamespace(stream=connection)
            agreed.set()

        async def until_over() -> None:
            used = gateway.activity.used
            try:
                if streams:
                    await stream.show(self.request, gateway.upstream, taken=taken, used=used)
                else:
                    await relay(
                        self.request,
                        rest,
                        gateway.upstream,
                        keeps_authorization=guest.keeps_authorization,
                        taken=taken,
                        used=used,
                    )
            except StreamClosedError:
                pass
            except Exception:
                gateway.log.exception("A WebSocket broke")
            finally:
                self._finished = True
                agreed.set()

        self._task = asyncio.ensure_future(until_over())
        await agreed.wait()

    async def _pass_on(self, guest: Guest, rest: str) -> None:
        request = self.request
        try:
            await self._gateway.upstream.exchange(
                request, rest, self._body, keeps_authorization=guest.keeps_authorization
            )
        except Unreachable:
            self._gateway.pages.tell(request, 502, SILENT)
        except (StreamClosedError, asyncio.CancelledError):
            self._connection.close()
        except (aiohttp.ClientError, OSError, TimeoutError):
            # The application broke off in the middle: so does the answer.
            self._connection.close()
        except Exception:
            self._gateway.log.exception("A request could not be passed on")
            self._connection.close()
        finally:
            self._finished = True
            if self._body is not None:
                self._body.close()
