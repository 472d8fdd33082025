"""What the hub says of tokens, remembered for a few seconds."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from canfar_spawner.gateway.settings import Settings

KNOWN_FOR: Final = 5.0
"""Seconds after which the hub is asked about a token again."""
_KEPT_FOR: Final = 600.0
"""Seconds for which an answer is of use while the hub is away."""
_PATIENCE: Final = 5.0
_AGAIN_AFTER: Final = 1.0
"""Seconds between two questions about one token that the hub did not answer."""
_MOST: Final = 2000
_AT_ONCE: Final = 8
"""Questions to the hub at one time: whoever guesses tokens waits for himself."""


class HubAway(Exception):
    """The hub does not say whose token it is."""


@dataclass
class Answer:
    """What the hub said of a token."""

    model: dict[str, Any] | None
    at: float
    tried: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether it counts without another question."""
        return time.monotonic() < max(self.at + KNOWN_FOR, self.tried + _AGAIN_AFTER)


class _Answers:
    """Answers by token, as `canfar_lab.visitors` forgets them."""

    def __init__(self) -> None:
        self.values: OrderedDict[str, Answer] = OrderedDict()

    def pop(self, name: str, default: Answer | None = None) -> Answer | None:
        return self.values.pop(name, default)

    def clear(self) -> None:
        self.values.clear()


def key_of(token: str) -> str:
    """Give what stands for a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class Tokens:
    """The hub's word on tokens.

    Parameters
    ----------
    settings : Settings
    log : logging.Logger
    """

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        from jupyterhub.services.auth import HubOAuth

        self.hub: Any = HubOAuth(
            api_token=settings.token,
            api_url=settings.hub_api,
            base_url=settings.prefix,
            hub_host=settings.hub_host,
            hub_prefix=settings.hub_prefix,
            oauth_client_id=settings.client_id,
            oauth_redirect_uri=settings.callback,
            access_scopes=set(settings.access_scopes),
            cookie_options=dict(settings.cookie_options),
            cookie_host_prefix_enabled=settings.host_cookies,
        )
        self.access_scopes: set[str] = set(settings.access_scopes)
        self.cache = _Answers()
        self._log = log
        self._asking: dict[str, asyncio.Task[dict[str, Any] | None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._away = False

    def get_token(self, handler: Any) -> str | None:
        """Give the token that a request came with."""
        token: str | None = handler.token
        return token

    def check_scopes(self, required: set[str], model: dict[str, Any]) -> object:
        """Say which of the required scopes somebody holds."""
        return self.hub.check_scopes(required, model)

    def opens(self, model: dict[str, Any]) -> bool:
        """Say whether somebody may come into this session."""
        return bool(self.check_scopes(self.access_scopes, model))

    def known(self, token: str) -> Answer | None:
        """Give what the hub said of a token, as long as it need not be asked again."""
        found = self.cache.values.get(f"token::{key_of(token)}")
        if found is None or not found.fresh:
            return None
        return found

    async def user_for_token(
        self, token: str, *, use_cache: bool = True, sync: bool = False
    ) -> dict[str, Any] | None:
        """Say whose token it is; None where it is none.

        Raises
        ------
        HubAway
            The hub did not say, and has not said lately.
        """
        del sync
        key = f"token::{key_of(token)}"
        now = time.monotonic()
        known = self.cache.values.get(key) if use_cache else None
        if known is not None and known.fresh:
            return known.model
        try:
            return await self._asked(key, token)
        except HubAway:
            # A session outlives its hub: who was in stays in.
            if known is None or known.model is None or now - known.at > _KEPT_FOR:
                raise
            known.tried = time.monotonic()
            return known.model

    async def _asked(self, key: str, token: str) -> dict[str, Any] | None:
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.ensure_future(self._ask(key, token))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        # Several requests wait for one answer; one that is given up must not take it from others.
        return await asyncio.shield(asking)

    async def _ask(self, key: str, token: str) -> dict[str, Any] | None:
        async with self._room:
            asked = time.monotonic()
            try:
                model = await asyncio.wait_for(
                    self.hub.user_for_token(token, use_cache=False, sync=False), _PATIENCE
                )
            except Exception as error:  # noqa: BLE001 - whatever went wrong, it is no answer
                if not self._away:
                    self._away = True
                    # The exception's words may quote the request, and with it what it carries.
                    self._log.warning("The hub does not say who is who (%s)", type(error).__name__)
                raise HubAway from None
        if self._away:
            self._away = False
            self._log.info("The hub says again who is who")
        self.cache.values[key] = Answer(model, asked)
        self.cache.values.move_to_end(key)
        while len(self.cache.values) > _MOST:
            self.cache.values.popitem(last=False)
        return dict(model) if model is not None else None
