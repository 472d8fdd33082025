"""Every request: who may make it, and what answers it."""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from typing import Final

from canfar_spawner.core.kinds import Transport
from canfar_spawner.gateway import stream
from canfar_spawner.gateway.activity import Activity, Telling
from canfar_spawner.gateway.auth import CALLBACK, Entrance, Guest, Refused
from canfar_spawner.gateway.connection import Connection
from canfar_spawner.gateway.pages import HUB_AWAY, Pages
from canfar_spawner.gateway.passing import Passing
from canfar_spawner.gateway.readiness import Readiness
from canfar_spawner.gateway.request import Heads, Request, redirect, refuse
from canfar_spawner.gateway.rewriting import Rewriting, secret_header
from canfar_spawner.gateway.settings import Settings
from canfar_spawner.gateway.tokens import HubAway, Tokens
from canfar_spawner.gateway.upstream import Upstream, name_of
from canfar_spawner.gateway.visitors import Door
from canfar_spawner.gateway.websocket import relay

NOTHING: Final = "There is nothing at this address."
_ECHOING: Final = frozenset({"TRACE", "CONNECT"})
"""Methods that would show what the gateway alone tells the application, or lead past it."""
PROBE: Final = "api"
"""Where the hub asks whether the session answers."""
_QUEUE: Final = 1024
"""Connections that may wait to be taken."""
_COUNTED: Final = re.compile(r"redirects=[0-9]+")
"""What the hub adds to a session's address to which it sends a browser back: it counts."""


class Gateway:
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
        self._heads = Heads()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self.telling = Telling(settings, self.activity, self.door.visitors.here, log)

    def _moved(self) -> None:
        self.telling.hurry()

    def connection(self) -> Connection:
        """Take a client's connection."""
        found = Connection(self._exchange, self._heads)
        self._connections.add(found)
        return found

    def _exchange(self, request: Request) -> Exchange:
        return Exchange(self, request)

    async def listen(self, address: str, port: int) -> asyncio.Server:
        """Begin to take connections."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(self.connection, address, port, backlog=_QUEUE)

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
        for connection in list(self._connections):
            connection.abort()
        self.upstream.close()
        await self.telling.close()


class Exchange:
    """One request and its answer.

    Parameters
    ----------
    gateway : Gateway
    request : Request
    """

    def __init__(self, gateway: Gateway, request: Request) -> None:
        self._gateway = gateway
        self.request = request
        self.token = ""
        self.known = False
        self._finished = False
        """Whether it is over, for whoever looks for what visitors have open."""
        self._task: asyncio.Task[None] | None = None
        self._passing: Passing | None = None

    # What the connection calls.

    def serve(self) -> None:
        """Answer: at once where everything is known, and as soon as it is otherwise."""
        try:
            if self._at_once():
                self._finished = self._passing is None
            else:
                self._task = asyncio.ensure_future(self._run())
        except Exception:
            self._gateway.log.exception("A request could not be answered")
            self.request.connection.abort()

    def body_piece(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self._passing is not None:
            self._passing.body_piece(piece)

    def body_ends(self) -> None:
        """See that there is no more of the body."""
        if self._passing is not None:
            self._passing.body_ends()

    def client_slow(self, *, slow: bool) -> None:
        """See that the client takes nothing more for now, or something again."""
        if self._passing is not None:
            self._passing.client_slow(slow=slow)

    def client_gone(self) -> None:
        """See that nobody waits for the answer any more."""
        self._finished = True
        if self._task is not None:
            self._task.cancel()
        if self._passing is not None:
            self._passing.drop()

    # What answers.

    def _at_once(self) -> bool:
        """Pass the owner's request on, if nobody needs to be asked."""
        gateway = self._gateway
        rest = self.request.below(gateway.settings.prefix)
        if rest is None or rest in (PROBE, CALLBACK) or self.request.upgrades:
            return False
        guest = gateway.door.owner(self)
        if guest is None:
            return False
        self._for_guest(guest, rest)
        return True

    async def _run(self) -> None:
        try:
            await self._answer()
        except asyncio.CancelledError:
            self.request.connection.abort()
        except Exception:
            self._gateway.log.exception("A request could not be answered")
            self.request.connection.abort()
        finally:
            if self._passing is None:
                self._finished = True

    async def _answer(self) -> None:
        gateway, request = self._gateway, self.request
        prefix = gateway.settings.prefix
        rest = request.below(prefix)
        # Whatever the gateway answers by itself ends a connection on which more is to come.
        request.closes = request.closes or request.connection.unread
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
        # Before the start page: CARTA's page opens its connection at the session's very address.
        if request.is_websocket() and gateway.readiness.ready:
            await self._websocket(guest, rest)
        else:
            self._for_guest(guest, rest)

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

    def _for_guest(self, guest: Guest, rest: str) -> None:
        gateway, request = self._gateway, self.request
        if not gateway.readiness.ready:
            gateway.pages.wait(request, late=gateway.readiness.late)
            return
        session = gateway.settings.session
        opens = rest == "" and request.method == "GET" and _asks_nothing(request.query)
        if opens and session.start != "/":
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
        self._passing = Passing(request, gateway.upstream, gateway.pages, self._passed)
        self._passing.begin(rest, keeps_authorization=guest.keeps_authorization)

    def _passed(self) -> None:
        self._finished = True
        self._passing = None

    async def _websocket(self, guest: Guest, rest: str) -> None:
        gateway = self._gateway
        used = gateway.activity.used
        if gateway.settings.session.transport is not Transport.STREAM:
            await relay(
                self.request,
                rest,
                gateway.upstream,
                keeps_authorization=guest.keeps_authorization,
                used=used,
            )
        elif rest == stream.ADDRESS:
            await stream.show(self.request, gateway.upstream, used=used)
        else:
            refuse(self.request, 404, NOTHING)


def _asks_nothing(query: str) -> bool:
    """Say whether a query is empty but for what the hub counts by."""
    return not query or _COUNTED.fullmatch(query) is not None
