"""Sharing over a real database and a clock of the test's, before lists that stand for the hub's."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

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
    """The hub's shares, as a table; it can be away, and it can refuse somebody."""

    lists: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    away: bool = False
    refuses: set[str] = field(default_factory=set)
    calls: int = 0

    def _list(self, owner: str, session: str) -> set[str]:
        self.calls += 1
        if self.away:
            raise HubAway("connection refused")
        return self.lists.setdefault((owner, session), set())

    async def share(self, owner: str, session: SessionId, user: str) -> None:
        found = self._list(owner, session)
        if user in self.refuses:
            raise Invalid(f"No user {user}.")
        found.add(user)

    async def unshare(self, owner: str, session: SessionId, user: str) -> None:
        self._list(owner, session).discard(user)

    async def unshare_all(self, owner: str, session: SessionId) -> None:
        self._list(owner, session).clear()

    async def shared_with(self, owner: str, session: SessionId) -> frozenset[str]:
        return frozenset(self._list(owner, session))


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
