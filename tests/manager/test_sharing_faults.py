"""Who may enter whose session where hub, database or policy are not as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from canfar_spawner.core.errors import (
    NotAllowed,
    Unavailable,
)
from canfar_spawner.core.sharing import SharingPolicy
from canfar_spawner.manager.hubapi import HubAway
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.shares import Deed, Terms
from canfar_spawner.manager.sharing_book import SharingBook
from tests.core.world import ADA, BEN, EVE, STAFF
from tests.manager.guests import HOUR, Site, session, site
from tests.manager.parts import Parts

__all__ = ["session", "site"]


async def test_a_hub_that_is_away_refuses_a_share_and_remembers_a_revocation(
    site: Site, session: SessionRecord
) -> None:
    share = await site.sharing.with_person(session, "ben", Terms(by="ada"))
    site.hub.away = True
    with pytest.raises(HubAway):
        await site.sharing.with_person(session, "eve", Terms(by="ada"))
    assert [one.whom for one in site.sharing.shares(session.id)] == ["ben"]
    assert not await site.sharing.revoke(session.id, share.id, by="ada")
    assert site.sharing.entrants(session.id) == ()
    await site.sharing.look()
    assert site.guests(session) == {"ben"}
    site.hub.away = False
    site.clock.go(5)
    await site.sharing.look()
    assert site.guests(session) == set()


async def test_what_nobody_shared_is_taken_back(
    site: Site, session: SessionRecord, caplog: pytest.LogCaptureFixture
) -> None:
    site.hub.lists["ada", session.id] = {"eve"}
    await site.sharing.compare()
    assert site.guests(session) == set()
    assert (Deed.UNKNOWN, "sessions", "eve") in await site.deeds(session)
    assert f"let eve into ada/{session.id}" in caplog.text


async def test_a_stray_is_told_whatever_has_the_list_looked_at(
    site: Site, session: SessionRecord
) -> None:
    """The next manager's first look at the hub's list may be for a share that ends."""
    await site.sharing.with_person(session, "ben", Terms(by="ada", until=site.clock() + HOUR))
    await site.parts.close()
    parts = site.parts = site.parts.again()
    await parts.open((ADA, BEN, EVE, STAFF))
    following = Site(parts, site.hub)
    await following.sharing.load()
    following.hub.lists["ada", session.id] |= {"eve"}
    parts.clock.go(HOUR)
    await following.sharing.look()
    assert following.guests(session) == set()
    strays = {whom for deed, _, whom in await following.deeds(session) if deed is Deed.UNKNOWN}
    assert strays == {"eve"}


async def test_as_long_as_shares_cannot_be_read_nobody_is_a_stray(
    site: Site, session: SessionRecord
) -> None:
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    following = Site(site.parts, site.hub)
    await following.sharing.look()
    await following.sharing.compare()
    assert site.guests(session) == {"ben"}
    await following.sharing.load()
    await following.sharing.look()
    await following.sharing.compare()
    assert site.guests(session) == {"ben"}


async def test_a_share_that_the_hub_has_lost_is_made_again(
    site: Site, session: SessionRecord
) -> None:
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    site.hub.lists.clear()
    site.clock.go(30)
    await site.sharing.compare()
    assert site.guests(session) == {"ben"}


async def test_the_next_manager_goes_on(site: Site, session: SessionRecord) -> None:
    await site.sharing.with_person(session, "ben", Terms(by="ada", until=site.clock() + HOUR))
    await site.sharing.with_person(session, "eve", Terms(by="ada"))
    _, code = await site.links.make(session, Terms(by="ada"))
    await site.parts.close()
    parts = site.parts = site.parts.again()
    await parts.open((ADA, BEN, EVE, STAFF))
    following = Site(parts, site.hub)
    await following.sharing.load()
    assert {one.name for one in following.sharing.entrants(session.id)} == {"ben", "eve"}
    await following.links.accept(code, "sam")
    parts.clock.go(HOUR)
    await following.sharing.look()
    assert following.guests(session) == {"eve", "sam"}
    await following.sharing.compare()
    assert Deed.UNKNOWN not in {deed for deed, _, _ in await following.deeds(session)}


async def test_a_lost_database_leaves_nobody_in_unexplained(
    site: Site, session: SessionRecord, tmp_path: Path
) -> None:
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    (tmp_path / "new").mkdir()
    parts = Parts(tmp_path / "new", clock=site.clock, backend=site.parts.backend)
    await parts.open()
    try:
        await parts.registry.add(session)
        following = Site(parts, site.hub)
        await following.sharing.load()
        await following.sharing.look()
        await following.sharing.compare()
        assert following.guests(session) == set()
        assert await following.deeds(session) == [(Deed.UNKNOWN, "sessions", "ben")]
    finally:
        await parts.close()


async def test_a_database_that_is_away_keeps_nobody_in(
    site: Site, session: SessionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = await site.sharing.with_person(session, "ben", Terms(by="ada"))

    async def away(*_: object) -> None:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(site.parts.store, "run", away)
        with pytest.raises(Unavailable):
            await site.sharing.with_person(session, "eve", Terms(by="ada"))
        assert site.guests(session) == {"ben"}
        assert await site.sharing.revoke(session.id, share.id, by="ada")
        assert site.guests(session) == set()
    await site.sharing.look()
    assert (Deed.REVOKED, "ada", "ben") in await site.deeds(session)
    assert await SharingBook(site.parts.store).load([session.id]) == ()


async def test_a_site_that_forbids_sharing_lets_nobody_in_from_then_on(
    site: Site, session: SessionRecord
) -> None:
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    _, code = await site.links.make(session, Terms(by="ada"))
    await site.sharing.compare()
    site.policy = SharingPolicy(allowed=False)
    await site.sharing.compare()
    assert site.guests(session) == set()
    assert site.sharing.off()
    with pytest.raises(NotAllowed):
        site.links.look(code)
    with pytest.raises(NotAllowed, match="cannot be shared"):
        await site.sharing.with_person(session, "eve", Terms(by="ada"))
    site.policy = SharingPolicy()
    await site.sharing.compare()
    assert site.guests(session) == {"ben"}


async def test_unshared_sessions_are_asked_about_rarely(site: Site, session: SessionRecord) -> None:
    await site.parts.launch(BEN)
    await site.sharing.compare()
    assert site.hub.calls == 2
    site.clock.go(30)
    await site.sharing.compare()
    assert site.hub.calls == 2
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    site.hub.calls = 0
    site.clock.go(30)
    await site.sharing.compare()
    assert site.hub.calls == 1
