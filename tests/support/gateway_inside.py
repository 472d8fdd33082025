"""A gateway within the test's own process, before an application and a hub of a few lines.

For what the gateway does with bytes; who may come in is tested with a real hub and a process.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket
from yarl import URL

from canfar_spawner.core.gateway import GatewaySettings, Listening
from canfar_spawner.core.kinds import Transport
from canfar_spawner.gateway.server import Gateway
from canfar_spawner.gateway.settings import Settings

PREFIX = "/user/ada.b%40c/abcd1234/"
SCOPE = "access:servers!server=ada.b@c/abcd1234"
SECRET = "what-both-know"


class HubUser(web.RequestHandler):
    """Says whose token it is, as the hub does."""

    def get(self) -> None:
        stand_in: HubStandIn = self.settings["stand_in"]
        stand_in.asked += 1
        token = self.request.headers["Authorization"].removeprefix("token ")
        if stand_in.away:
            self.send_error(503)
        elif token in stand_in.people:
            name, scopes = stand_in.people[token]
            self.finish(json.dumps({"name": name, "kind": "user", "scopes": scopes}))
        else:
            self.send_error(403)


class HubTold(web.RequestHandler):
    """Takes activity and heartbeats."""

    def post(self, where: str) -> None:
        stand_in: HubStandIn = self.settings["stand_in"]
        stand_in.told.append((where, json.loads(self.request.body)))


@dataclass
class HubStandIn:
    """What a gateway asks a hub for."""

    people: dict[str, tuple[str, list[str]]] = field(
        default_factory=lambda: {
            "owners": ("ada.b@c", [SCOPE]),
            "visitors": ("ben", [SCOPE]),
            "strangers": ("cas", ["access:servers!server=cas/x"]),
        }
    )
    away: bool = False
    asked: int = 0
    told: list[tuple[str, Any]] = field(default_factory=list)

    def serve(self) -> tuple[HTTPServer, int]:
        """Begin to answer."""
        routes = [(r"/hub/api/user", HubUser), (r"/(.*)", HubTold)]
        server = HTTPServer(web.Application(routes, stand_in=self))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        return server, sockets[0].getsockname()[1]


@dataclass
class Inside:
    """A gateway and how it is spoken to."""

    gateway: Gateway
    hub: HubStandIn
    port: int
    client: aiohttp.ClientSession

    @property
    def origin(self) -> str:
        """What browsers call the place of the session's pages."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str = "") -> URL:
        """Give an address below the session's, as it is written."""
        return URL(f"{self.origin}{PREFIX}{path}", encoded=True)

    def as_(self, who: str = "owners", **headers: str) -> dict[str, str]:
        """Give the headers of a script that shows a token."""
        return {"Authorization": f"Bearer {who}", **headers}

    async def ask(
        self, path: str = "", method: str = "GET", who: str = "owners", **given: Any
    ) -> tuple[int, aiohttp.typedefs.LooseHeaders, bytes]:
        """Ask as a script."""
        headers = {**(self.as_(who) if who else {}), **given.pop("headers", {})}
        async with self.client.request(
            method, self.url(path), headers=headers, allow_redirects=False, **given
        ) as answer:
            return answer.status, answer.headers, await answer.read()


@contextlib.asynccontextmanager
async def inside(
    place: Path, application: list[Any] | None, *, unix: bool = True, **changes: Any
) -> AsyncIterator[Inside]:
    """Run a gateway before an application.

    Parameters
    ----------
    place : Path
        For sockets.
    application : list or None
        Routes of tornado's; None for nothing that listens.
    unix : bool
        Whether the application listens on a unix socket.
    **changes
        What of the gateway's settings differs.
    """
    async with contextlib.AsyncExitStack() as stack:
        hub = HubStandIn()
        hub_server, hub_port = hub.serve()
        stack.callback(hub_server.stop)
        sockets = (
            [bind_unix_socket(str(place / "app.sock"))] if unix else bind_sockets(0, "127.0.0.1")
        )
        listening = (
            Listening(socket=str(place / "app.sock"))
            if unix
            else Listening(port=sockets[0].getsockname()[1])
        )
        if application is None:
            for each in sockets:
                each.close()
        else:
            app = HTTPServer(web.Application(application), max_body_size=2**40)
            app.add_sockets(sockets)
            stack.callback(app.stop)
        told = {
            "session": "abcd1234",
            "owner": "ada.b@c",
            "title": "Stars",
            "kind_title": "Contributed",
            "listening": listening,
            "keeps_prefix": False,
            "ready_path": "/",
            "start": "/",
            "secret_header": None,
            "transport": Transport.HTTP,
            "pages": "",
            "rewrites": (),
            **changes,
        }
        api = f"http://127.0.0.1:{hub_port}/hub/api"
        environ = {
            "CANFAR_GATEWAY": GatewaySettings.model_validate(told).model_dump_json(),
            "CANFAR_GATEWAY_SECRET": SECRET,
            "CANFAR_SESSIONS_URL": f"http://127.0.0.1:{hub_port}/services/sessions",
            "JUPYTERHUB_ACTIVITY_INTERVAL": "0.05",
            "JUPYTERHUB_ACTIVITY_URL": f"{api}/users/ada/activity",
            "JUPYTERHUB_API_TOKEN": "its-own",
            "JUPYTERHUB_API_URL": api,
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ada-abcd1234",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([SCOPE]),
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
            "JUPYTERHUB_SERVER_NAME": "abcd1234",
            "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
            "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:1",
        }
        gateway = Gateway(Settings.take(environ), logging.getLogger("gateway-inside"))
        server = await gateway.listen("127.0.0.1", 0)
        stack.callback(server.close)
        client = await stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        )
        tasks = gateway.begin()
        try:
            yield Inside(gateway, hub, server.sockets[0].getsockname()[1], client)
        finally:
            for task in tasks:
                task.cancel()
            await gateway.close()
