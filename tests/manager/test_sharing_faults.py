"""Who may enter whose session where hub, database or policy are not as they should be."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
from tests.core.world import BEN
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
    following = await site.next_manager()
    following.hub.lists["ada", session.id] |= {"eve"}
    site.clock.go(HOUR)
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
    following = await site.next_manager()
    assert {one.name for one in following.sharing.entrants(session.id)} == {"ben", "eve"}
    await following.links.accept(code, "sam")
    site.clock.go(HOUR)
    await following.sharing.look()
    assert following.guests(session) == {"eve", "sam"}
    await following.sharing.compare()
    assert Deed.UNKNOWN not in {deed for deed, _, _ in await following.deeds(session)}


@pytest.fixture
async def lost(site: Site, session: SessionRecord, tmp_path: Path) -> AsyncIterator[Site]:
    """Give what follows a manager whose database is lost: it begins before anything is adopted."""
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    (tmp_path / "new").mkdir()
    parts = Parts(tmp_path / "new", clock=site.clock, backend=site.parts.backend)
    await parts.open()
    following = Site(parts, site.hub)
    await following.sharing.load()
    await following.sharing.look()
    await following.sharing.compare()
    assert following.guests(session) == {"ben"}
    parts.clock.go(5)
    await parts.registry.add(session)
    yield following
    await parts.close()


async def test_a_lost_database_leaves_nobody_in_unexplained(
    lost: Site, session: SessionRecord
) -> None:
    lost.clock.go(30)
    await lost.sharing.compare()
    assert lost.guests(session) == set()
    assert await lost.deeds(session) == [(Deed.UNKNOWN, "sessions", "ben")]


@pytest.mark.parametrize("whom", ["", "ben"])
async def test_a_lost_database_keeps_nobody_in_whom_the_owner_takes_out(
    lost: Site, session: SessionRecord, whom: str
) -> None:
    """Her page shows nobody; what she asks for is done at the hub all the same."""

    async def take_out() -> bool:
        if whom:
            return await lost.sharing.remove(session.id, whom, by="ada")
        return await lost.sharing.revoke_all(session.id, by="ada")

    lost.hub.away = True
    assert not await take_out()
    assert lost.guests(session) == {"ben"}
    lost.hub.away = False
    lost.clock.go(5)
    await lost.sharing.look()
    assert lost.guests(session) == set()
    assert await lost.deeds(session) == [(Deed.UNKNOWN, "sessions", "ben")]
    lost.hub.lists["ada", session.id] = {"ben"}
    assert await take_out()
    assert lost.guests(session) == set()


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
    assert site.hub.calls == 2, "each was asked about once, and nobody shared it"
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    site.hub.calls = 0
    site.clock.go(30)
    await site.sharing.compare()
    assert site.hub.calls == 1


# Two things at once, and a hub that fails.


@pytest.mark.parametrize("others", [0, 1])
async def test_a_link_revoked_while_the_hub_fails_to_let_in_stays_revoked(
    site: Site, session: SessionRecord, others: int
) -> None:
    share, code = await site.links.make(session, Terms(by="ada"), people=3)
    for _ in range(others):
        await site.links.make(session, Terms(by="ada"))
    joined, revoked = await site.while_asked(
        site.links.accept(code, "ben"),
        site.sharing.revoke(session.id, share.id, by="ada"),
        fails=True,
    )
    assert isinstance(joined, HubAway)
    assert revoked is False
    assert len(site.sharing.shares(session.id)) == others
    with pytest.raises(NotAllowed, match="opens nothing"):
        await site.links.accept(code, "ben")
    await site.sharing.revoke_all(session.id, by="ada")
    await site.nobody_is_in(session)


@pytest.mark.parametrize("others", [0, 1])
async def test_a_share_revoked_while_the_hub_fails_to_extend_it_stays_revoked(
    site: Site, session: SessionRecord, others: int
) -> None:
    group = await site.sharing.with_group(session, "demo", Terms(by="ada"))
    await site.sharing.remove(session.id, "sam", by="ada")
    for _ in range(others):
        await site.links.make(session, Terms(by="ada"))
    # Whom she has removed comes in again with this: that is what the hub is asked for.
    extended, revoked = await site.while_asked(
        site.sharing.with_group(session, "demo", Terms(by="ada")),
        site.sharing.revoke(session.id, group.id, by="ada"),
        fails=True,
    )
    assert isinstance(extended, HubAway)
    assert revoked is False
    assert len(site.sharing.shares(session.id)) == others
    await site.sharing.revoke_all(session.id, by="ada")
    await site.nobody_is_in(session)


async def test_a_share_that_the_hub_fails_to_extend_is_as_it_was(
    site: Site, session: SessionRecord
) -> None:
    await site.sharing.with_group(session, "demo", Terms(by="ada", until=session.ends - HOUR))
    await site.sharing.remove(session.id, "sam", by="ada")
    before = site.sharing.shares(session.id)
    site.hub.away = True
    with pytest.raises(HubAway):
        await site.sharing.with_group(session, "demo", Terms(by="ada"))
    site.hub.away = False
    assert site.sharing.shares(session.id) == before
    await site.sharing.look()
    following = await site.next_manager()
    assert following.sharing.shares(session.id) == before


async def test_who_was_let_in_by_an_answer_that_was_lost_is_out_again(
    site: Site, session: SessionRecord
) -> None:
    site.hub.loses = True
    with pytest.raises(HubAway):
        await site.sharing.with_person(session, "ben", Terms(by="ada"))
    assert site.guests(session) == {"ben"}
    site.hub.loses = False
    await site.nobody_is_in(session)


async def test_who_was_taken_out_by_an_answer_that_was_lost_comes_in_again(
    site: Site, session: SessionRecord
) -> None:
    share = await site.sharing.with_person(session, "ben", Terms(by="ada"))
    site.hub.loses = True
    assert not await site.sharing.revoke(session.id, share.id, by="ada")
    site.hub.loses = False
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    assert site.guests(session) == {"ben"}


async def test_what_is_revoked_at_a_slow_hub_is_over_for_the_next_manager(
    site: Site, session: SessionRecord
) -> None:
    share = await site.sharing.with_person(session, "ben", Terms(by="ada"))
    async with site.waiting(site.sharing.revoke(session.id, share.id, by="ada")) as revoked:
        await site.sharing.look()
        assert await SharingBook(site.parts.store).load([session.id]) == ()
        assert site.guests(session) == {"ben"}
    assert await revoked
    assert site.guests(session) == set()


async def test_a_session_that_ends_while_it_is_shared_is_no_failure(
    site: Site, session: SessionRecord
) -> None:
    await site.sharing.with_person(session, "eve", Terms(by="ada"))
    async with site.waiting(site.sharing.with_person(session, "ben", Terms(by="ada"))) as shared:
        await site.end(session)
        await site.sharing.compare()
    await shared
    await site.sharing.look()
    await site.nobody_is_in(session)
