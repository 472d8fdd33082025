"""Whether the application is there yet."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from canfar_spawner.core.gateway import GatewaySettings
from canfar_spawner.core.kinds import Transport
from canfar_spawner.gateway.upstream import Upstream

_FIRST: Final = 0.05
_LONGEST: Final = 1.0
"""Seconds between two looks, at first and at most."""
_LATE: Final = 120.0
"""Seconds after which a start is called slow."""


class Readiness:
    """Looks for the application until it answers; from then on it is ready.

    Parameters
    ----------
    session : GatewaySettings
    upstream : Upstream
    log : logging.Logger
    """

    def __init__(self, session: GatewaySettings, upstream: Upstream, log: logging.Logger) -> None:
        self._session = session
        self._upstream = upstream
        self._log = log
        self._begun = time.monotonic()
        self.ready = False

    @property
    def late(self) -> bool:
        """Whether it has taken longer than starts do."""
        return not self.ready and time.monotonic() - self._begun > _LATE

    async def wait(self) -> None:
        """Wait until the application answers."""
        pause = _FIRST
        while not await self._look():
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST)
        self.ready = True
        self._log.info("The application answers after %.1f s", time.monotonic() - self._begun)

    async def _look(self) -> bool:
        if self._session.transport is Transport.STREAM:
            return await self._upstream.listens()
        path = self._session.ready_path.lstrip("/")
        return await self._upstream.answers(self._upstream.rewriting.path(path))
