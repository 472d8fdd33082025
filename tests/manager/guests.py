"""Sharing over a real database and a clock of the test's, before lists that stand for the hub's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.core.errors import (
    Invalid,
)
from canfar_spawner.core.names import SessionId
from canfar_spawner.core.sharing import SharingPolicy
from canfar_spawner.manager.hubapi import HubAway
from canfar_spawner.manager.links import Links
from canfar_spawner.manager.people import KnownPeople
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.sharing import Sharing
from canfar_spawner.manager.sharing_book import SharingBook
from tests.core.world import ADA, BEN, EVE, STAFF
from tests.manager.parts import Parts

LOG = logging.getLogger("tests.sharing")
HOUR = timedelta(hours=1)


@dataclass
class GuestLists:
    """The hub's shares, as a table; it can be away or slow, and it can refuse somebody."""

    lists: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    away: bool = False
    refuses: set[str] = field(default_factory=set)
    loses: bool = False
    """It lets in and out whom it is told to, and the answer does not arrive."""
    calls: int = 0
    slow: bool = False
    """Whoever asks now is answered once `answers` is set."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody waits for an answer."""
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def _list(self, owner: str, session: str) -> set[str]:
        self.calls += 1
        if self.slow:
            self.asked.set()
            await self.answers.wait()
        if self.away:
            raise HubAway("connection refused")
        return self.lists.setdefault((owner, session), set())

    def _lose(self) -> None:
        if self.loses:
            raise HubAway("connection reset")

    async def share(self, owner: str, session: SessionId, user: str) -> None:
        found = await self._list(owner, session)
        if user in self.refuses:
            raise Invalid(f"No user {user}.")
        found.add(user)
        self._lose()

    async def unshare(self, owner: str, session: SessionId, user: str) -> None:
        (await self._list(owner, session)).discard(user)
        self._lose()

    async def unshare_all(self, owner: str, session: SessionId) -> None:
        (await self._list(owner, session)).clear()

    async def shared_with(self, owner: str, session: SessionId) -> frozenset[str]:
        return frozenset(await self._list(owner, session))


class Site:
    """Sharing with the parts it needs; `again` gives those of the next manager."""

    def __init__(self, parts: Parts, hub: GuestLists | None = None) -> None:
        self.parts = parts
        self.clock = parts.clock
        self.hub = hub or GuestLists()
        self.policy = SharingPolicy()
        self.sharing = Sharing(
            book=SharingBook(parts.store),
            hub=self.hub,
            people=KnownPeople(parts.identities),
            sessions=parts.registry.live,
            policy=lambda: self.policy,
            own_origins=True,
            clock=parts.clock,
            log=LOG,
        )
        self.links = Links(
            self.sharing,
            find=parts.registry.get,
            clock=parts.clock,
            page="http://hub.example.org/services/sessions/join",
        )
        parts.registry.subscribe(self.sharing.changed)

    def guests(self, record: SessionRecord) -> set[str]:
        """Give whom the hub lets in."""
        return set(self.hub.lists.get((record.owner, record.id), ()))

    async def while_asked(
        self, work: Coroutine[Any, Any, Any], *then: Coroutine[Any, Any, Any], fails: bool = False
    ) -> list[Any]:
        """Do something and, while it waits for the hub, something else; gives what came of each.

        Parameters
        ----------
        work, then : coroutine
        fails : bool
            The hub is away when it should answer, and back after that.
        """
        async with self.waiting(work) as first:
            tasks = [first, *(asyncio.ensure_future(each) for each in then)]
            # Each of them has gone on until it waits itself.
            await asyncio.sleep(0)
            self.hub.away = fails
        found = await asyncio.gather(*tasks, return_exceptions=True)
        self.hub.away = False
        return found

    @asynccontextmanager
    async def waiting(self, work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Future[Any]]:
        """Begin something that the hub keeps waiting for as long as the block takes."""
        self.hub.slow = True
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(60):
            await self.hub.asked.wait()
        self.hub.slow = False
        try:
            yield task
        finally:
            self.hub.answers.set()

    async def nobody_is_in(self, record: SessionRecord) -> None:
        """See to it that nobody may enter: here, at the hub, and for the next manager."""
        assert self.sharing.shares(record.id) == ()
        self.clock.go(5)
        await self.sharing.look()
        assert self.guests(record) == set()
        following = await self.next_manager()
        assert following.sharing.shares(record.id) == ()
        await following.sharing.compare()
        assert following.guests(record) == set()

    async def next_manager(self) -> Site:
        """Give what the next manager makes of the database, before the same hub."""
        await self.parts.close()
        self.parts = self.parts.again()
        await self.parts.open((ADA, BEN, EVE, STAFF))
        following = Site(self.parts, self.hub)
        await following.sharing.load()
        return following

    async def deeds(self, record: SessionRecord) -> list[tuple[str, str, str]]:
        return [(line.deed, line.by, line.whom) for line in await self.sharing.audit(record.id)]

    async def end(self, record: SessionRecord) -> None:
        await self.parts.hub_tells_end(record)
        assert not self.parts.record(record.id).live


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    parts = Parts(tmp_path)
    await parts.open((ADA, BEN, EVE, STAFF))
    made = Site(parts)
    await made.sharing.load()
    yield made
    await made.parts.close()


@pytest.fixture
async def session(site: Site) -> SessionRecord:
    return await site.parts.launch(ADA)
