"""Whose token it is: asked of the hub, and remembered for a few seconds."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from canfar_spawner.manager.hubapi import Caller, HubClient

__all__ = ["Caller", "Callers", "bearer"]

KEPT_FOR: Final = 5.0
"""Seconds: a token that is withdrawn serves no longer than that."""
_MOST: Final = 10_000
_SCHEMES: Final = ("bearer", "token")


def bearer(header: str) -> str:
    """Give the token of an ``Authorization`` header, empty where there is none."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() in _SCHEMES else ""


class Callers:
    """Knows whoever presents a token.

    Parameters
    ----------
    hub : HubClient
    monotonic : callable
        Gives seconds that only ever grow.
    """

    def __init__(self, hub: HubClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._monotonic = monotonic
        # By digest: no token is kept here that serves nobody.
        self._known: OrderedDict[bytes, tuple[float, Caller | None]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def of(self, token: str) -> Caller | None:
        """Find out whose token it is; None where it is nobody's.

        Raises
        ------
        HubAway
            The hub does not answer, and has not in the last seconds.
        """
        if not token:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and self._monotonic() - known[0] < KEPT_FOR:
            return known[1]
        task = self._asked.get(digest)
        if task is None:
            # Thirty-two calls of one client at once are one question.
            task = asyncio.ensure_future(self._ask(digest, token))
            self._asked[digest] = task
            task.add_done_callback(lambda _: self._asked.pop(digest, None))
        return await asyncio.shield(task)

    async def _ask(self, digest: bytes, token: str) -> Caller | None:
        # The time before the question: what is withdrawn while it is answered is not known longer.
        asked = self._monotonic()
        caller = await self._hub.whoami(token)
        self._known.pop(digest, None)
        self._known[digest] = asked, caller
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return caller
