"""The hub's lists of who may enter which session, kept as sharing wants them.

The hub holds one share for every person. One that is missing is made, one that nothing explains
is taken away; where the hub does not answer, it is tried again until it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from canfar_spawner.core.errors import PlatformError, SessionError
from canfar_spawner.core.names import SessionId
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.shares import HubShares

_AGAIN_AFTER: Final = timedelta(seconds=3)

Sessions = Callable[[], Iterable[SessionRecord]]
Wanted = Callable[[SessionId], frozenset[str]]
Stray = Callable[[str, SessionId, str], None]


class Doors:
    """What the hub holds of shares, session by session.

    Parameters
    ----------
    hub : HubShares
    sessions : callable
        Gives the living sessions.
    wanted : callable
        Says who may enter a session now.
    stray : callable
        Told of whomever the hub let into somebody's session without having been asked to here, once
        that has been taken back.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        hub: HubShares,
        *,
        sessions: Sessions,
        wanted: Wanted,
        stray: Stray,
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._hub = hub
        self._sessions = sessions
        self._wanted = wanted
        self._stray = stray
        self._clock = clock
        self._log = log
        self._held: dict[tuple[str, SessionId], frozenset[str]] = {}
        """Whom the hub lets in, where that is known; who was refused is not asked for again."""
        self._ours: dict[tuple[str, SessionId], set[str]] = {}
        """Whom the hub was asked to let in, until it has let them go."""
        self._due: dict[tuple[str, SessionId], datetime] = {}
        """Whose list differs from what is wanted, and when it is tried again."""
        self._locks: dict[SessionId, asyncio.Lock] = {}

    def know(self, owner: str, session: SessionId, names: Iterable[str]) -> None:
        """Hear whom an earlier manager has asked the hub to let in."""
        self._ours.setdefault((owner, session), set()).update(names)

    def lock(self, session: SessionId) -> asyncio.Lock:
        """Give what is held while a session's shares are changed."""
        return self._locks.setdefault(session, asyncio.Lock())

    async def apply(self, owner: str, session: SessionId) -> dict[str, SessionError]:
        """Bring the hub's list of one session to what is wanted; its lock is held.

        Returns
        -------
        dict
            Whom the hub does not take, and why.

        Raises
        ------
        PlatformError
            The hub does not answer.
        """
        key = (owner, session)
        if not any(record.id == session for record in self._sessions()):
            await self._hub.unshare_all(owner, session)
            for kept in (self._held, self._due, self._ours):
                kept.pop(key, None)
            self._locks.pop(session, None)
            return {}
        wanted = self._wanted(session)
        self.know(owner, session, wanted)
        ours = self._ours[key]
        # Known again once all is done: a change whose answer is lost may have been made or not.
        held = self._held.pop(key, None)
        if held is None:
            held = await self._hub.shared_with(owner, session)
        for name in sorted(held - wanted):
            await self._hub.unshare(owner, session, name)
            if name not in ours:
                self._stray(owner, session, name)
        refused: dict[str, SessionError] = {}
        for name in sorted(wanted - held):
            try:
                await self._hub.share(owner, session, name)
            except PlatformError:
                raise
            except SessionError as error:
                self._log.warning("The hub does not let %s into %s: %s", name, session, error)
                refused[name] = error
        ours &= wanted
        self._held[key] = wanted
        self._due.pop(key, None)
        return refused

    async def attempt(self, owner: str, session: SessionId) -> bool:
        """Do as `apply` does, and again later where the hub does not answer; its lock is held."""
        key = (owner, session)
        try:
            await self.apply(owner, session)
        except SessionError as error:
            if key not in self._due:
                self._log.warning("The shares of %s/%s wait for the hub: %s", *key, error)
            self.again(owner, session)
            return False
        return True

    def again(self, owner: str, session: SessionId) -> None:
        """See to a session's list a little later."""
        self._due[owner, session] = self._clock() + _AGAIN_AFTER

    async def settle(self) -> None:
        """Try again what has waited for the hub."""
        for (owner, session), when in list(self._due.items()):
            if when <= self._clock():
                async with self.lock(session):
                    await self.attempt(owner, session)

    def tidy(self) -> None:
        """Forget the lists of sessions that have ended."""
        living = {record.id for record in self._sessions()}
        kept: tuple[dict[tuple[str, SessionId], Any], ...] = (self._held, self._ours)
        for each in kept:
            for key in [key for key in each if key[1] not in living]:
                del each[key]

    def unread(self, record: SessionRecord) -> bool:
        """Say whether it is not known whom the hub lets into a session."""
        return (record.owner, record.id) not in self._held

    async def read_again(self, session: SessionId) -> bool:
        """Do as `compare` does, and again later where the hub does not answer."""
        for record in self._sessions():
            if record.id == session and record.interactive:
                async with self.lock(session):
                    self._held.pop((record.owner, session), None)
                    return await self.attempt(record.owner, session)
        return True

    async def compare(self, record: SessionRecord) -> None:
        """Ask the hub whom it lets into a session, and put right what differs.

        Raises
        ------
        PlatformError
            The hub does not answer.
        """
        key = (record.owner, record.id)
        async with self.lock(record.id):
            self._held[key] = await self._hub.shared_with(record.owner, record.id)
            await self.apply(record.owner, record.id)
