"""The part of the platform that works beside a Jupyter server: visitors and heartbeats."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

from canfar_lab import heartbeat
from canfar_lab.panel import handlers as panel
from canfar_lab.storage.areas import from_environment
from canfar_lab.storage.extension import add_routes
from canfar_lab.storage.guests import Guests
from canfar_lab.storage.usage import quotas
from canfar_lab.visitors import CHECK_EVERY, Visitors

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

_BEAT_EVERY = 20.0
_BEAT_AGAIN = 1.0
"""The least time between two heartbeats, when visitors come and go."""
_PATIENCE = 10.0
_QUOTAS_EVERY = 60.0


def begin(server: ServerApp) -> None:
    """Answer for files; watch visitors and tell the session manager, if a hub started this server."""
    where = panel.place(server)
    panel.add_routes(server, where)
    add_routes(server)
    if where is None:
        server.log.debug("No hub started this server; there are no visitors to watch")
        return
    guests = Guests(where.manager, where.session, where.hub.get_token)
    server.web_app.settings["canfar_guests"] = guests
    Companion(server, where.hub, where.owner).begin()


class Companion:
    """What runs beside the server for as long as it does.

    Parameters
    ----------
    server : ServerApp
    hub : HubOAuth
        By which the server knows people.
    owner : str
    """

    def __init__(self, server: ServerApp, hub: Any, owner: str) -> None:
        self._server = server
        self._log = server.log
        self.visitors = Visitors(hub, owner, server.log, self._hurry)
        manager = os.environ.get("CANFAR_SESSIONS_URL", "").rstrip("/")
        self._address = f"{manager}/v1/heartbeat" if manager else ""
        self._token = os.environ.get("JUPYTERHUB_API_TOKEN", "")
        self._scratch = os.environ.get("CANFAR_SCRATCH", "")
        self._areas = from_environment(os.environ)
        self._quotas: asyncio.Future[list[dict[str, Any]]] | None = None
        self._quotas_asked = float("-inf")
        self._soon = asyncio.Event()
        self._failed = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Begin, as soon as the server's loop runs."""
        self.visitors.watch(self._server.identity_provider)
        self._server.io_loop.add_callback(self._run)

    def _run(self) -> None:
        self._tasks.append(asyncio.ensure_future(self._check()))
        if self._address:
            self._tasks.append(asyncio.ensure_future(self._beat()))

    def _hurry(self) -> None:
        self._soon.set()

    async def _check(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                await self.visitors.check()
            except Exception:  # noqa: BLE001 - the next look may succeed
                self._log.exception("Visitors could not be checked")
            await asyncio.sleep(max(0.2, CHECK_EVERY - (time.monotonic() - begun)))

    async def _beat(self) -> None:
        while True:
            self._soon.clear()
            try:
                await self._tell(await self._report())
            except Exception as error:  # noqa: BLE001 - the next heartbeat may arrive
                self._not_told(error)
            await asyncio.sleep(_BEAT_AGAIN)
            try:
                await asyncio.wait_for(self._soon.wait(), _BEAT_EVERY - _BEAT_AGAIN)
            except TimeoutError:
                continue

    async def _report(self) -> dict[str, object]:
        settings = self._server.web_app.settings
        shells = heartbeat.shells(settings.get("terminal_manager"))
        loop = asyncio.get_running_loop()
        busy, found = await loop.run_in_executor(
            None, lambda: (heartbeat.busy_shells(shells), heartbeat.scratch(self._scratch))
        )
        report: dict[str, object] = {
            "activity": heartbeat.activity(self._server.web_app.last_activity()),  # type: ignore[no-untyped-call]
            "busy_kernels": heartbeat.busy_kernels(self._server.kernel_manager),
            "terminals_busy": busy,
            "visitors": self.visitors.here(),
        }
        if found is not None:
            report["scratch"] = found
        storage = self._filled()
        if storage:
            report["storage"] = storage
        return report

    def _filled(self) -> list[dict[str, Any]]:
        """Give how full storage was when it was asked last; a file system that hangs delays nothing."""
        asked = self._quotas
        if asked is not None and not asked.done():
            return []
        told = [] if asked is None or asked.cancelled() or asked.exception() else asked.result()
        if time.monotonic() - self._quotas_asked > _QUOTAS_EVERY:
            self._quotas_asked = time.monotonic()
            loop = asyncio.get_running_loop()
            self._quotas = loop.run_in_executor(None, quotas, self._areas)
        return told

    async def _tell(self, report: dict[str, object]) -> None:
        from tornado.httpclient import AsyncHTTPClient, HTTPRequest

        request = HTTPRequest(
            self._address,
            method="POST",
            body=json.dumps(report),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
            },
            request_timeout=_PATIENCE,
        )
        await AsyncHTTPClient().fetch(request)
        if self._failed:
            self._failed = False
            self._log.info("The session manager takes heartbeats again")

    def _not_told(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            # The exception's words may quote the request, and with it what it carries.
            self._log.warning(
                "The session manager did not take a heartbeat (%s); it is tried again",
                getattr(error, "code", None) or type(error).__name__,
            )
