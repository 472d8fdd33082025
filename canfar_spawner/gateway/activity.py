"""When the session was last used, and telling hub and session manager of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from canfar_spawner.gateway.request import Request
from canfar_spawner.gateway.settings import Settings

_POLL_WITHIN: Final = 120.0
"""Seconds within which the same address, asked for again, is a page's own doing."""
_MOST_ADDRESSES: Final = 256
_AGAINST_CACHES: Final = re.compile(r"[?&][0-9]{13}\Z")
"""The time, which JupyterLab puts behind every address that it asks for."""
_BEAT_EVERY: Final = 20.0
_BEAT_AGAIN: Final = 1.0
_PATIENCE: Final = 10.0


class Activity:
    """Knows when somebody last did something.

    Parameters
    ----------
    clock : callable
        Gives the time in UTC.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.last: datetime | None = None
        """None until something was done since this gateway began."""
        self._seen: OrderedDict[int, float] = OrderedDict()
        """When addresses were asked for last, by what is short enough to keep of them."""

    def used(self) -> None:
        """Note that somebody does something now."""
        self.last = self._clock()

    def asked(self, request: Request) -> None:
        """Note a request, unless a page that nobody looks at may make it again and again."""
        if request.method in ("HEAD", "OPTIONS"):
            return
        if request.method == "GET":
            now = time.monotonic()
            address = hash(_AGAINST_CACHES.sub("", request.target))
            before = self._seen.pop(address, None)
            self._seen[address] = now
            if len(self._seen) > _MOST_ADDRESSES:
                self._seen.popitem(last=False)
            if before is not None and now - before < _POLL_WITHIN:
                return
        self.used()


class Telling:
    """Tells the hub and the session manager.

    Parameters
    ----------
    settings : Settings
    activity : Activity
    visitors : callable
        Gives who is here.
    log : logging.Logger
    """

    def __init__(
        self,
        settings: Settings,
        activity: Activity,
        visitors: Callable[[], list[dict[str, str]]],
        log: logging.Logger,
    ) -> None:
        self._settings = settings
        self._activity = activity
        self._visitors = visitors
        self._log = log
        self._soon = asyncio.Event()
        self._silent: set[str] = set()
        self._session: aiohttp.ClientSession | None = None

    def hurry(self) -> None:
        """Tell soon: somebody came or went."""
        self._soon.set()

    async def beat(self) -> None:
        """Tell the session manager, several times a minute."""
        while self._settings.manager:
            self._soon.clear()
            report: dict[str, Any] = {"visitors": self._visitors()}
            if self._activity.last is not None:
                report["activity"] = _written(self._activity.last)
            await self._tell("session manager", f"{self._settings.manager}/v1/heartbeat", report)
            await asyncio.sleep(_BEAT_AGAIN)
            try:
                await asyncio.wait_for(self._soon.wait(), _BEAT_EVERY - _BEAT_AGAIN)
            except TimeoutError:
                continue

    async def report(self) -> None:
        """Tell the hub, every few minutes, if there is anything to tell."""
        told: datetime | None = None
        while self._settings.activity_url:
            await asyncio.sleep(self._settings.activity_every)
            last = self._activity.last
            if last is None or last == told:
                continue
            at = _written(last)
            report = {
                "servers": {self._settings.server_name: {"last_activity": at}},
                "last_activity": at,
            }
            if await self._tell("hub", self._settings.activity_url, report):
                told = last

    async def _tell(self, whom: str, address: str, report: dict[str, Any]) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE))
        headers = {
            "Authorization": f"Bearer {self._settings.token}",
            "Content-Type": "application/json",
        }
        try:
            async with self._session.post(
                address, data=json.dumps(report), headers=headers
            ) as answer:
                problem = "" if answer.status < 400 else str(answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # The exception's words may quote the request, and with it what it carries.
            problem = type(error).__name__
        if problem and whom not in self._silent:
            self._silent.add(whom)
            self._log.warning("The %s was not told of this session (%s)", whom, problem)
        elif not problem and whom in self._silent:
            self._silent.discard(whom)
            self._log.info("The %s is told of this session again", whom)
        return not problem

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()


def _written(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
