"""Who is in the session: asked of the hub at every request, and cut off when it says no."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from canfar_lab.visitors import (
    CHECK_EVERY,
    Visitors,
    cut,
)

from canfar_spawner.gateway.auth import CLOSED, SIGN_IN, Entrance, Guest, Refused
from canfar_spawner.gateway.request import Request
from canfar_spawner.gateway.tokens import HubAway, Tokens

_REST: Final = 0.2
_OWNER_EVERY: Final = 15.0
"""Seconds after which the owner's open connections are looked at: she has nobody to lock out."""


class Visit(Protocol):
    """What is asked for, for as long as it is open; see `canfar_lab.visitors`."""

    request: Request
    token: str
    known: bool
    """Whether the hub knows the token, though it does not open this session."""
    _finished: bool


@dataclass
class _User:
    hub_user: dict[str, Any]


class Door:
    """Lets in whom the hub lets in, and closes what is open when it does so no more.

    Parameters
    ----------
    entrance : Entrance
    tokens : Tokens
    owner : str
    log : logging.Logger
    changed : callable
        Called when somebody comes or goes.
    """

    def __init__(
        self,
        entrance: Entrance,
        tokens: Tokens,
        owner: str,
        log: logging.Logger,
        changed: Callable[[], None],
    ) -> None:
        self._entrance = entrance
        self._tokens = tokens
        self._owner = owner
        self._log = log
        self._owners: dict[str, weakref.WeakSet[Visit]] = {}
        """What the owner has open, by token."""
        self.visitors = Visitors(tokens, owner, log, changed)
        self.visitors.watch(self)

    async def enter(self, visit: Visit) -> Guest:
        """Say who asks.

        Raises
        ------
        Refused
            Nobody whom the hub lets in.
        HubAway
            The hub does not say.
        """
        shown, cookie = self._entrance.credentials(visit.request)
        known = False
        # Applications have tokens of their own, which the hub does not know and need not be asked
        # about again and again: so the cookie comes first.
        for token in (cookie, shown):
            if not token:
                continue
            visit.token = token
            visit.known = False
            user = await self.get_user(visit)
            if user is not None:
                by_cookie = token is cookie
                return Guest(
                    name=str(user.hub_user.get("name", "")),
                    by_cookie=by_cookie,
                    keeps_authorization=by_cookie
                    and not (shown and await self._tokens.user_for_token(shown)),
                )
            known = known or visit.known
        raise CLOSED if known else SIGN_IN

    def owner(self, visit: Visit) -> Guest | None:
        """Say that it is the owner, if that is known without asking anybody.

        Who does not come in, and why, is for `enter` to say.
        """
        request = visit.request
        memory = request.head.memory
        # Of a GET or HEAD with the very same headers, the same is true.
        token = memory.get("token") if request.method in ("GET", "HEAD") else None
        if token is None:
            try:
                shown, cookie = self._entrance.credentials(request)
            except Refused:
                return None
            token = "" if shown and cookie else cookie or shown
            memory["token"], memory["by cookie"] = token, bool(cookie)
        answer = self._tokens.known(token) if token else None
        if answer is None or answer.model is None or not self._is_owner(answer.model):
            return None
        if not self._tokens.opens(answer.model):
            return None
        visit.token = token
        visit.known = True
        self._note(visit)
        by_cookie: bool = memory["by cookie"]
        return Guest(name=self._owner, by_cookie=by_cookie, keeps_authorization=by_cookie)

    def _is_owner(self, model: dict[str, Any]) -> bool:
        return model.get("kind") == "user" and model.get("name") == self._owner

    def _note(self, visit: Visit) -> None:
        """Keep in mind what the owner has open."""
        opened = self._owners.get(visit.token)
        if opened is None:
            opened = self._owners[visit.token] = weakref.WeakSet()
        opened.add(visit)

    async def get_user(self, visit: Visit) -> _User | None:
        """Ask the hub about a visit's token; `Visitors` looks on."""
        model = await self._tokens.user_for_token(visit.token)
        if model is None:
            return None
        visit.known = True
        if not self._tokens.opens(model):
            return None
        if self._is_owner(model):
            self._note(visit)
        return _User(model)

    async def watch(self) -> None:
        """Look at everybody's token again and again."""
        looked = time.monotonic()
        while True:
            begun = time.monotonic()
            try:
                await self.visitors.check()
                if begun - looked > _OWNER_EVERY:
                    looked = begun
                    await self._check_owner()
            except Exception:  # noqa: BLE001 - the next look may succeed
                self._log.exception("Visitors could not be checked")
            await asyncio.sleep(max(_REST, CHECK_EVERY - (time.monotonic() - begun)))

    async def _check_owner(self) -> None:
        """Close what the owner has open by a token that is no more: she signed out, or revoked it."""
        for token, visits in list(self._owners.items()):
            opened = [visit for visit in list(visits) if not visit._finished]  # noqa: SLF001 - as `Visitors` reads it
            if not opened:
                del self._owners[token]
                continue
            try:
                model = await self._tokens.user_for_token(token, use_cache=False)
            except HubAway:
                return
            if model is None or not self._tokens.opens(model):
                self._log.info("%d connections of the owner are closed", len(opened))
                for visit in opened:
                    cut(visit)
                self._owners.pop(token, None)
