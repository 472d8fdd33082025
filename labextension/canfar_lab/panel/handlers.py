"""The panel's questions about its session, answered with what whoever asks may know."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from canfar_lab.manager import Manager
from canfar_lab.panel import relay
from canfar_lab.panel.usage import Meter

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp
    from tornado.httpclient import HTTPResponse

API: Final = 1
"""Grows when what is answered changes its meaning; images are older or newer than their hub."""
_GIB: Final = 2**30
_AWAY: Final = "This part of the platform does not answer now."
_SIGNED_OUT: Final = "You were signed out. Reload the page to sign in."
_OWNERS: Final = "This session belongs to {owner}, who alone decides who may enter."
_NO_PLATFORM: Final = "No hub started this server, so there is nothing to tell of a session."
_PASSED_ON: Final = ("application/json", "application/problem+json")


@dataclass(frozen=True)
class Place:
    """Whose session this is, and where the rest of the platform is."""

    owner: str
    session: str
    manager: Manager
    hub: Any
    """By which the server knows people: ``HubOAuth``."""
    meter: Meter
    home: str
    """The hub's home page."""


def place(server: ServerApp) -> Place | None:
    """Read from the environment where a server is; None where no hub started it."""
    hub = getattr(server.identity_provider, "hub_auth", None)
    owner = os.environ.get("JUPYTERHUB_USER", "")
    if hub is None or not owner:
        return None
    memory = os.environ.get("CANFAR_MEMORY_GB", "0")
    return Place(
        owner=owner,
        session=os.environ.get("CANFAR_SESSION_ID", ""),
        manager=Manager(os.environ.get("CANFAR_SESSIONS_URL", "").rstrip("/")),
        hub=hub,
        meter=Meter(int(memory) * _GIB if memory.isdigit() else 0),
        home=f"{hub.hub_host}{hub.hub_prefix}home",
    )


class Panel(APIHandler):
    """Answers the panel; a visitor is told less, and may do nothing but leave."""

    auth_resource = "canfar"

    def initialize(self, where: Place | None) -> None:  # noqa: D102 - tornado's
        self.where = where

    @property
    def place(self) -> Place:
        """Where this is; refuses where no hub is."""
        if self.where is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND, reason=_NO_PLATFORM)
        return self.where

    @property
    def visits(self) -> bool:
        """Whether somebody other than the owner asks."""
        model = getattr(self.current_user, "hub_user", None) or {}
        return not (model.get("kind") == "user" and model.get("name") == self.place.owner)

    def tell(self, status: int, body: object) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(body))

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer that something is not done, and why."""
        self.tell(status, {"status": status, "code": code, "message": message})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write what Jupyter Server refuses in the same shape."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        said = getattr(error, "log_message", None) or getattr(error, "reason", None)
        words = said if status_code < 500 and said else HTTPStatus(status_code).phrase
        self.refuse(status_code, "failed" if status_code >= 500 else "refused", str(words))


class Relay(Panel):
    """Passes a question on to the session manager, with the token of whoever asks."""

    def initialize(self, where: Place | None, path: str) -> None:  # type: ignore[override]  # noqa: D102 - tornado's
        super().initialize(where)
        self.path_asked = path

    async def _ask(self) -> HTTPResponse | None:
        """Ask the manager; None where it does not answer."""
        here = self.place
        target = relay.target(
            str(self.request.method),
            self.path_asked,
            owner=here.owner,
            session=here.session,
            share=self.get_query_argument("share", ""),
            user=self.get_query_argument("user", ""),
        )
        if target is None:
            raise web.HTTPError(HTTPStatus.METHOD_NOT_ALLOWED)
        body = self.request.body or None
        headers = {
            # Otherwise a refusal is a text, as the public client wants it.
            "Accept": "application/problem+json, application/json, text/plain",
        }
        for name in ("Accept-Language", *(("Content-Type",) if body else ())):
            if name in self.request.headers:
                headers[name] = self.request.headers[name]
        return await here.manager.ask(
            target,
            here.hub.get_token(self),
            method=str(self.request.method),
            headers=headers,
            body=body,
        )

    async def _pass_on(self) -> None:
        if self.visits and self.path_asked in relay.ASKED_OF_OWNER_ALONE:
            self.refuse(403, "not_yours", _OWNERS.format(owner=self.place.owner))
            return
        answer = await self._ask()
        if answer is None or answer.code in {502, 504, 599}:
            self.refuse(503, "away", _AWAY)
        elif answer.code == HTTPStatus.UNAUTHORIZED:
            # Not 401: JupyterLab would take that for the loss of its own server.
            self.refuse(403, "signed_out", _SIGNED_OUT)
        else:
            self._write(answer)

    def _write(self, answer: HTTPResponse) -> None:
        media = answer.headers.get("Content-Type", "").partition(";")[0]
        body = answer.body or b""
        if media in _PASSED_ON:
            self.set_status(answer.code)
            self.set_header("Cache-Control", "no-store")
            self.finish(body)
        elif answer.code < HTTPStatus.BAD_REQUEST:
            text = body.decode("utf-8", "replace").strip()
            self.tell(HTTPStatus.OK, {"status": answer.code, "message": text})
        else:
            self.refuse(answer.code, "failed", _AWAY)

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Pass it on."""
        await self._pass_on()

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Pass it on."""
        await self._pass_on()

    @web.authenticated
    @authorized
    async def patch(self) -> None:
        """Pass it on."""
        await self._pass_on()

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """Pass it on."""
        await self._pass_on()


class Whereabouts(Panel):
    """What the session itself knows: who asks, whose it is, what it uses now."""

    @web.authenticated
    @authorized
    def get(self) -> None:
        """Tell it."""
        here = self.place
        self.tell(
            HTTPStatus.OK,
            {
                "api": API,
                "person": str(self.current_user.username),
                "owner": here.owner,
                "visitor": self.visits,
                "session": here.session,
                "home": here.home,
                "usage": here.meter.read(),
            },
        )


def add_routes(server: ServerApp, where: Place | None) -> None:
    """Answer the panel, below ``canfar/``."""
    base = url_path_join(server.web_app.settings["base_url"], "canfar")
    server.web_app.add_handlers(  # type: ignore[no-untyped-call]
        ".*$",
        [
            (f"{base}/here", Whereabouts, {"where": where}),
            *((f"{base}/{path}", Relay, {"where": where, "path": path}) for path in relay.PATHS),
        ],
    )
