"""Whether the share that lets a visitor in opens the owner's storage to her; the session manager knows.

It is asked with the visitor's own token, and what it says counts for a moment: what the owner takes
back is closed within seconds. Without its word nothing is open.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from canfar_lab.manager import Manager
from canfar_lab.storage.errors import Refused
from canfar_lab.visitors import key_of

COUNTS_FOR: Final = 2.0
"""Seconds for which the manager's word counts: as long as that of the hub on a visitor's token."""


@dataclass
class _Asked:
    """One question to the manager, and when it was put."""

    at: float
    answer: asyncio.Future[bool]


class Guests:
    """Asks the session manager what visitors may see.

    Parameters
    ----------
    manager : Manager
    session : str
        The session that this server is.
    token_of : callable
        Gives the token that a request came with.
    """

    def __init__(
        self, manager: Manager, session: str, token_of: Callable[[Any], str | None]
    ) -> None:
        self._manager = manager
        self._path = f"session/{quote(session, safe='')}"
        self._token_of = token_of
        self._asked: dict[str, _Asked] = {}

    async def may_read(self, handler: Any) -> bool:
        """Say whether whoever calls was let in by a share that opens storage.

        Raises
        ------
        Refused
            The manager does not say.
        """
        token = self._token_of(handler) or ""
        if not self._manager.address or not token:
            return False
        now = time.monotonic()
        key = key_of(token)
        for old in [name for name, one in self._asked.items() if now - one.at > COUNTS_FOR]:
            del self._asked[old]
        asked = self._asked.get(key)
        if asked is None:
            asked = _Asked(now, asyncio.ensure_future(self._ask(token)))
            self._asked[key] = asked
        # Several requests wait for one answer; one that is given up must not take it from others.
        return await asyncio.shield(asked.answer)

    async def _ask(self, token: str) -> bool:
        answer = await self._manager.ask(self._path, token, headers={"Accept": "application/json"})
        if answer is None or answer.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Refused(
                "away",
                "Whether this storage is open to you is not known now: that part of the platform"
                " does not answer. Try again in a moment.",
                503,
            )
        if answer.code != HTTPStatus.OK:
            return False
        try:
            told = json.loads(answer.body)
        except (ValueError, RecursionError):
            return False
        return isinstance(told, dict) and told.get("visitStorage") is True
