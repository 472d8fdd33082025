"""Whether the share that lets a visitor in opens the owner's storage to her; the session manager knows.

It is asked with the visitor's own token, and what it says counts for a moment: what the owner takes
back is closed within seconds. Without its word nothing is open.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from canfar_lab.storage.errors import Refused

COUNTS_FOR: Final = 2.0
"""Seconds for which the manager's word counts: as long as that of the hub on a visitor's token."""
_PATIENCE: Final = 10.0


@dataclass
class _Asked:
    """One question to the manager, and when it was put."""

    at: float
    answer: asyncio.Future[bool]


class Guests:
    """Asks the session manager what visitors may see.

    Parameters
    ----------
    manager : str
        Where it is, without a slash at the end; empty: nowhere.
    session : str
        The session that this server is.
    token_of : callable
        Gives the token that a request came with.
    """

    def __init__(self, manager: str, session: str, token_of: Callable[[Any], str | None]) -> None:
        self._address = f"{manager}/v1/session/{quote(session, safe='')}" if manager else ""
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
        if not self._address or not token:
            return False
        now = time.monotonic()
        key = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        for old in [name for name, one in self._asked.items() if now - one.at > COUNTS_FOR]:
            del self._asked[old]
        asked = self._asked.get(key)
        if asked is None:
            asked = _Asked(now, asyncio.ensure_future(self._ask(token)))
            self._asked[key] = asked
        # Several requests wait for one answer; one that is given up must not take it from others.
        return await asyncio.shield(asked.answer)

    async def _ask(self, token: str) -> bool:
        request = HTTPRequest(
            self._address,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            follow_redirects=False,
            request_timeout=_PATIENCE,
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (OSError, HTTPClientError):
            answer = None
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
