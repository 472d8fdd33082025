"""Who visits a session: visitors' tokens are checked again and again, and cut off when revoked.

Jupyter Server asks who somebody is when a connection opens, and JupyterHub's answer is kept for
minutes. An access that was taken away must end sooner, also for connections that are open.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, Protocol

from tornado.websocket import WebSocketHandler

CHECK_EVERY = 2.0
"""Seconds after which a visitor's token is looked at again."""
_PATIENCE = 5.0
"""Seconds that the hub has to answer."""
_LONGEST_WAIT = 10.0
"""Seconds between two attempts while the hub does not answer."""
_AWAY_AFTER = 60.0
"""A visitor without a connection is here for so many seconds after her last request."""
_REASON = "Your access to this session has ended."
_POLICY_VIOLATION = 1008
"""The code of WebSocket for a connection that is not permitted any more."""


class HubAuth(Protocol):
    """What is used of ``jupyterhub.services.auth.HubOAuth``."""

    access_scopes: set[str]
    cache: Any

    def get_token(self, handler: Any) -> str | None:
        """Give the token that a request came with."""

    def check_scopes(self, required: set[str], model: dict[str, Any]) -> object:
        """Say which of the required scopes somebody holds."""

    def user_for_token(self, token: str, *, use_cache: bool, sync: bool) -> Awaitable[Any]:
        """Ask the hub whose token it is; None where it is none."""


@dataclass(eq=False)
class _Visit:
    """One token of a visitor, with the connections it was used for."""

    name: str
    person: bool
    token: str = field(repr=False)
    since: datetime
    checked: float
    seen: float
    handlers: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)
    looking: asyncio.Task[bool | None] | None = None

    def open(self) -> list[Any]:
        """Give what is not finished yet."""
        return [handler for handler in list(self.handlers) if _is_open(handler)]


def _is_open(handler: Any) -> bool:
    if isinstance(handler, WebSocketHandler):
        # Before the handshake there is no connection yet, and after it none any more.
        return handler.ws_connection is not None or not handler._finished  # noqa: SLF001 - tornado has no other word for it
    return not getattr(handler, "_finished", True)


def _ignored(_message: object) -> None:
    """Take a message of somebody who may not send any."""


def cut(handler: Any) -> None:
    """Close a connection now, without waiting for the other side to agree."""
    connection = getattr(handler, "ws_connection", None)
    if connection is not None:
        # Until the socket is gone, what still comes in must not reach a terminal or kernel.
        handler.on_message = _ignored
        handler.close(_POLICY_VIOLATION, _REASON)
        connection.stream.close()
        return
    stream = getattr(getattr(handler.request, "connection", None), "stream", None)
    if stream is not None:
        stream.close()


class Visitors:
    """Everybody but the owner who has come to the session.

    Parameters
    ----------
    hub : HubAuth
    owner : str
    log : logging.Logger
    changed : callable
        Called when somebody comes or goes.
    """

    def __init__(
        self, hub: HubAuth, owner: str, log: logging.Logger, changed: Callable[[], None]
    ) -> None:
        self._hub = hub
        self._owner = owner
        self._log = log
        self._changed = changed
        self._visits: dict[str, _Visit] = {}
        self._failures = 0
        self._next = 0.0
        """When the hub is asked again, while it does not answer."""

    def watch(self, provider: Any) -> None:
        """See everybody whom the server's identity provider lets in."""
        original = provider.get_user

        async def get_user(handler: Any) -> Any:
            token = self._hub.get_token(handler) or ""
            visit = self._visits.get(key_of(token)) if token else None
            if visit is not None and time.monotonic() - visit.checked > CHECK_EVERY:
                await self._check(visit)
            user = original(handler)
            if isawaitable(user):
                user = await user
            if token and user is not None:
                self._note(handler, user, token)
            elif token:
                # Who is refused now may be given access the next moment.
                self._unlearn(key_of(token))
            return user

        provider.get_user = get_user

    def here(self) -> list[dict[str, str]]:
        """Give the people who are here now, each once, and since when."""
        since: dict[str, datetime] = {}
        for visit in self._visits.values():
            if visit.person and self._is_here(visit):
                since[visit.name] = min(visit.since, since.get(visit.name, visit.since))
        return [
            {"name": name, "since": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
            for name, at in sorted(since.items())
        ]

    async def check(self) -> None:
        """Look at every visitor's token, and forget those who have gone by themselves."""
        for key, visit in list(self._visits.items()):
            if not self._is_here(visit):
                self._forget(key)
        await asyncio.gather(
            *(self._check(visit) for visit in list(self._visits.values()) if visit.open())
        )

    def _is_here(self, visit: _Visit) -> bool:
        return bool(visit.open()) or time.monotonic() - visit.seen < _AWAY_AFTER

    def _note(self, handler: Any, user: Any, token: str) -> None:
        model = getattr(user, "hub_user", None)
        if not isinstance(model, dict):
            return
        person = model.get("kind") == "user"
        name = str(model.get("name", ""))
        if person and name == self._owner:
            return
        now = time.monotonic()
        key = key_of(token)
        visit = self._visits.get(key)
        if visit is None:
            visit = _Visit(
                name=name,
                person=person,
                token=token,
                since=datetime.now(UTC),
                # Nobody was here with this token, so its answer came from the hub just now.
                checked=now,
                seen=now,
            )
            self._visits[key] = visit
            self._log.info("%s visits this session", name)
            self._changed()
        visit.seen = now
        visit.handlers.add(handler)

    def _forget(self, key: str) -> None:
        visit = self._visits.pop(key, None)
        self._unlearn(key)
        if visit is not None:
            self._changed()

    def _unlearn(self, key: str) -> None:
        """Forget what the hub once said of a token: it is asked again before anything else."""
        kept = getattr(self._hub.cache, "values", None)
        if isinstance(kept, dict):
            for name in [name for name in kept if str(name).endswith(f":{key}")]:
                self._hub.cache.pop(name, None)
        else:
            self._hub.cache.clear()

    async def _check(self, visit: _Visit) -> None:
        """Ask the hub about one visitor; no answer changes nothing."""
        now = time.monotonic()
        if now < self._next:
            return
        if visit.looking is None:
            visit.looking = asyncio.ensure_future(self._look(visit))
            visit.looking.add_done_callback(lambda _: setattr(visit, "looking", None))
        # Several requests wait for one answer; one that is given up must not take it from others.
        allowed = await asyncio.shield(visit.looking)
        if allowed is False:
            self._end(visit)

    async def _look(self, visit: _Visit) -> bool | None:
        """Say whether a token still opens this session; None where the hub does not say."""
        asked = time.monotonic()
        try:
            model = await asyncio.wait_for(
                self._hub.user_for_token(visit.token, use_cache=False, sync=False), _PATIENCE
            )
        except Exception as error:  # noqa: BLE001 - whatever went wrong, it is no refusal
            self._no_answer(error)
            return None
        if self._failures:
            self._log.info("The hub answers again; visitors are checked as before")
            self._failures = 0
        visit.checked = asked
        return model is not None and bool(self._hub.check_scopes(self._hub.access_scopes, model))

    def _no_answer(self, error: Exception) -> None:
        if not self._failures:
            self._log.warning(
                "The hub does not say whether visitors may still be here (%s);"
                " they stay until it does",
                type(error).__name__,
            )
        self._failures += 1
        wait = min(CHECK_EVERY * 2 ** min(self._failures - 1, 8), _LONGEST_WAIT)
        self._next = time.monotonic() + wait

    def _end(self, visit: _Visit) -> None:
        key = key_of(visit.token)
        if self._visits.get(key) is not visit:
            return
        connections = visit.open()
        self._forget(key)
        self._log.info(
            "%s may not visit this session any more; %d connections are closed",
            visit.name,
            len(connections),
        )
        for handler in connections:
            try:
                cut(handler)
            except Exception:  # noqa: BLE001 - the others must be closed all the same
                self._log.exception("A connection of %s could not be closed", visit.name)


def key_of(token: str) -> str:
    """Give what stands for a token, also in the names that HubAuth keeps answers under."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
