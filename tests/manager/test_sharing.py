"""Who may enter whose session, until when: the rules, over a real database and a clock of ours.

That the hub and sessions do as is said here is shown on the real ones by tests/contract/sharing.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from canfar_spawner.core.errors import (
    Conflict,
    Invalid,
    LimitReached,
    NotAllowed,
)
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.shares import Deed, How, Share, Terms
from canfar_spawner.manager.sharing_book import SharingBook
from canfar_spawner.manager.sharing_words import happened
from canfar_spawner.manager.visitors import STALE_AFTER, Here
from tests.core.world import ADA, BEN, EVE
from tests.manager.guests import HOUR, Site, session, site

__all__ = ["session", "site"]


async def test_a_person_is_let_in_until_then(site: Site, session: SessionRecord) -> None:
    until = site.clock() + HOUR
    share = await site.sharing.with_person(session, "ben", Terms(by="ada", until=until))
    assert (share.how, share.whom, share.until) == (How.PERSON, "ben", until)
    assert site.guests(session) == {"ben"}
    (entrant,) = site.sharing.entrants(session.id)
    assert (entrant.name, entrant.until, entrant.shares) == ("ben", until, (share.id,))
    assert site.sharing.shared_with("ben") == ((session, until),)
    assert site.sharing.shared_with("eve") == ()
    site.clock.go(HOUR)
    assert site.sharing.entrants(session.id) == ()
    await site.sharing.look()
    assert site.guests(session) == set()
    assert site.sharing.shares(session.id) == ()
    assert await site.deeds(session) == [
        (Deed.SHARED, "ada", "ben"),
        (Deed.EXPIRED, "sessions", "ben"),
    ]


@pytest.mark.parametrize(
    ("name", "word"),
    [("ada", "owner's already"), ("bob", "Nobody called bob"), ("", "Nobody"), ("b\nn", "Nobody")],
)
async def test_whom_one_cannot_share_with(
    site: Site, session: SessionRecord, name: str, word: str
) -> None:
    with pytest.raises(Invalid, match=word) as told:
        await site.sharing.with_person(session, name, Terms(by="ada"))
    assert told.value.field == "user"
    assert site.hub.calls == 0


async def test_whom_the_hub_does_not_take_is_not_shared_with(
    site: Site, session: SessionRecord
) -> None:
    site.hub.refuses = {"ben"}
    with pytest.raises(Invalid, match="No user ben"):
        await site.sharing.with_person(session, "ben", Terms(by="ada"))
    assert site.sharing.shares(session.id) == ()


async def test_sharing_once_more_changes_until_when(site: Site, session: SessionRecord) -> None:
    first = await site.sharing.with_person(session, "ben", Terms(by="ada"))
    assert first.until == session.ends
    second = await site.sharing.with_person(
        session, "ben", Terms(by="ada", until=site.clock() + HOUR)
    )
    assert second.id == first.id
    assert [share.until for share in site.sharing.shares(session.id)] == [site.clock() + HOUR]


async def test_storage_is_open_to_whom_any_share_opens_it(
    site: Site, session: SessionRecord
) -> None:
    with_storage = Terms(by="ada", storage=True)
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    assert [one.storage for one in site.sharing.entrants(session.id)] == [False]
    group = await site.sharing.with_group(session, "survey", with_storage)
    assert [one.storage for one in site.sharing.entrants(session.id)] == [True]
    await site.sharing.revoke(session.id, group.id, by="ada")
    assert [one.storage for one in site.sharing.entrants(session.id)] == [False]
    # Once more, with other terms.
    await site.sharing.with_person(session, "ben", with_storage)
    assert [one.storage for one in site.sharing.entrants(session.id)] == [True]
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    assert [one.storage for one in site.sharing.entrants(session.id)] == [False]
    _, code = await site.links.make(session, with_storage)
    await site.links.accept(code, "eve")
    let_in = {one.name: one.storage for one in site.sharing.entrants(session.id)}
    assert let_in == {"ben": False, "eve": True}
    told = [happened(line) for line in await site.sharing.audit(session.id)]
    assert "ada shared it with the group survey, with storage to read" in told
    assert "ada made a link, with storage to read" in told
    again = Site(site.parts, site.hub)
    await again.sharing.load()
    assert {one.name: one.storage for one in again.sharing.entrants(session.id)} == let_in


async def test_a_session_without_the_panel_has_no_storage_to_open(site: Site) -> None:
    desktop = await site.parts.launch(ADA, container="desktop")
    with pytest.raises(Invalid, match="JupyterLab's panel") as told:
        await site.sharing.with_person(desktop, "ben", Terms(by="ada", storage=True))
    assert told.value.field == "storage"
    assert site.sharing.shares(desktop.id) == ()


async def test_a_group_is_its_members_as_they_are(site: Site, session: SessionRecord) -> None:
    await site.sharing.with_group(session, "survey", Terms(by="ada"))
    assert site.guests(session) == {"ben"}
    joined = EVE.model_copy(update={"groups": BEN.groups})
    left = BEN.model_copy(update={"groups": ()})
    await site.parts.tell(identities=[joined, left])
    assert [one.name for one in site.sharing.entrants(session.id)] == ["eve"]
    site.clock.go(30)
    await site.sharing.compare()
    assert site.guests(session) == {"eve"}


async def test_only_ones_own_groups(site: Site, session: SessionRecord) -> None:
    with pytest.raises(NotAllowed, match="not in a group called staff") as told:
        await site.sharing.with_group(session, "staff", Terms(by="ada"))
    assert set(told.value.allowed) == {"ada", "demo", "survey"}


async def test_two_ways_in_are_closed_one_by_one(site: Site, session: SessionRecord) -> None:
    soon, later = site.clock() + HOUR, site.clock() + 2 * HOUR
    person = await site.sharing.with_person(session, "ben", Terms(by="ada", until=soon))
    group = await site.sharing.with_group(session, "survey", Terms(by="ada", until=later))
    (entrant,) = site.sharing.entrants(session.id)
    assert entrant.until == later
    assert set(entrant.shares) == {person.id, group.id}
    assert await site.sharing.revoke(session.id, group.id, by="ada")
    assert site.guests(session) == {"ben"}
    assert site.sharing.entrants(session.id)[0].until == soon
    assert await site.sharing.revoke(session.id, person.id, by="ada")
    assert site.guests(session) == set()
    assert await site.sharing.revoke(session.id, person.id, by="ada")


async def test_revoking_all_leaves_nobody(site: Site, session: SessionRecord) -> None:
    other = await site.parts.launch(ADA)
    await site.sharing.with_person(other, "ben", Terms(by="ada"))
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    await site.sharing.with_person(session, "eve", Terms(by="ada"))
    _, code = await site.links.make(session, Terms(by="ada"))
    assert await site.sharing.revoke_all(session.id, by="ada")
    assert site.guests(session) == set()
    assert site.sharing.shares(session.id) == ()
    assert site.guests(other) == {"ben"}
    with pytest.raises(NotAllowed):
        site.links.look(code)


async def test_who_leaves_is_out_and_the_group_stays(site: Site, session: SessionRecord) -> None:
    group = await site.sharing.with_group(session, "demo", Terms(by="ada"))
    await site.sharing.with_person(session, "sam", Terms(by="ada"))
    await site.parts.tell(identities=[BEN.model_copy(update={"groups": ADA.groups})])
    await site.sharing.remove(session.id, "sam", by="sam")
    assert site.guests(session) == {"ben"}
    assert [share.id for share in site.sharing.shares(session.id)] == [group.id]
    await site.sharing.remove(session.id, "ben", by="ada")
    assert site.guests(session) == set()
    deeds = await site.deeds(session)
    assert (Deed.LEFT, "sam", "sam") in deeds
    assert (Deed.REMOVED, "ada", "ben") in deeds
    await site.sharing.with_group(session, "demo", Terms(by="ada"))
    assert site.guests(session) == {"ben", "sam"}


async def test_everything_ends_with_the_session(site: Site, session: SessionRecord) -> None:
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    _, code = await site.links.make(session, Terms(by="ada"))
    await site.end(session)
    with pytest.raises(NotAllowed, match="opens nothing"):
        await site.links.accept(code, "eve")
    assert site.sharing.shared_with("ben") == ()
    await site.sharing.look()
    assert site.guests(session) == set()
    assert site.sharing.shares(session.id) == ()
    assert (Deed.ENDED, "sessions", "ben") in await site.deeds(session)
    past = await SharingBook(site.parts.store).past(session.id)
    assert [share.why for share in past] == [Deed.ENDED] * 2
    with pytest.raises(Conflict, match="has ended"):
        await site.sharing.with_person(site.parts.record(session.id), "ben", Terms(by="ada"))


async def test_a_batch_job_is_not_shared(site: Site) -> None:
    job = await site.parts.submit(ADA)
    with pytest.raises(NotAllowed, match="batch job"):
        await site.sharing.with_person(job, "ben", Terms(by="ada"))


async def test_a_session_has_so_many_shares(site: Site, session: SessionRecord) -> None:
    for _ in range(100):
        await site.links.make(session, Terms(by="ada"))
    with pytest.raises(LimitReached, match="at most 100"):
        await site.links.make(session, Terms(by="ada"))


# Links.


async def test_a_link_lets_one_person_in(site: Site, session: SessionRecord) -> None:
    until = site.clock() + 48 * HOUR
    share, code = await site.links.make(session, Terms(by="ada", until=until))
    assert share.link_until == site.clock() + 24 * HOUR
    assert len(code) >= 32
    assert code in site.links.url(code)
    shown = site.links.look(code)
    assert (shown.owner, shown.session, shown.until) == ("ada", session.id, until)
    assert site.guests(session) == set(), "a look lets nobody in"
    assert (await site.links.accept(code, "ben")).url == session.url
    assert site.guests(session) == {"ben"}
    await site.links.accept(code, "ben")
    with pytest.raises(NotAllowed, match="has been used"):
        await site.links.accept(code, "eve")
    site.clock.go(25 * HOUR)
    await site.sharing.look()
    assert site.guests(session) == {"ben"}, "the link is over, her access is not"
    with pytest.raises(NotAllowed, match="opens nothing"):
        await site.links.accept(code, "ben")
    site.clock.go(23 * HOUR)
    await site.sharing.look()
    assert site.guests(session) == set()
    assert (Deed.JOINED, "ben", "ben") in await site.deeds(session)


async def test_a_link_for_several_counts_them(site: Site, session: SessionRecord) -> None:
    _, code = await site.links.make(session, Terms(by="ada"), people=2)
    results = await asyncio.gather(
        *(site.links.accept(code, name) for name in ("ben", "eve", "sam")), return_exceptions=True
    )
    assert sum(isinstance(result, NotAllowed) for result in results) == 1
    assert len(site.guests(session)) == 2


@pytest.mark.parametrize("people", [0, -1, 51])
async def test_a_link_is_for_a_few(site: Site, session: SessionRecord, people: int) -> None:
    with pytest.raises(Invalid, match="1 to 50"):
        await site.links.make(session, Terms(by="ada"), people=people)


async def test_a_link_is_nothing_to_its_owner(site: Site, session: SessionRecord) -> None:
    _, code = await site.links.make(session, Terms(by="ada"))
    with pytest.raises(Conflict, match="yours"):
        await site.links.accept(code, "ada")


async def test_links_that_open_nothing_are_all_alike(site: Site, session: SessionRecord) -> None:
    expired, expired_code = await site.links.make(
        session, Terms(by="ada", until=site.clock() + HOUR)
    )
    revoked, revoked_code = await site.links.make(session, Terms(by="ada"))
    await site.sharing.revoke(session.id, revoked.id, by="ada")
    site.clock.go(HOUR)
    told = set()
    for code in (expired_code, revoked_code, "x" * 32, "", "ü" * 5000, expired.code, revoked.code):
        with pytest.raises(NotAllowed) as raised:
            site.links.look(code)
        told.add((raised.value.sentence, raised.value.code))
        with pytest.raises(NotAllowed) as raised:
            await site.links.accept(code, "ben")
        told.add((raised.value.sentence, raised.value.code))
    assert len(told) == 1


async def test_no_code_is_kept(site: Site, session: SessionRecord) -> None:
    _, code = await site.links.make(session, Terms(by="ada"))
    await site.links.accept(code, "ben")
    for file in site.parts.data.rglob("*"):
        if file.is_file():
            assert code.encode() not in file.read_bytes(), file


async def test_a_revoked_link_takes_away_what_it_gave(site: Site, session: SessionRecord) -> None:
    share, code = await site.links.make(session, Terms(by="ada"))
    await site.links.accept(code, "ben")
    await site.sharing.revoke(session.id, share.id, by="ada")
    assert site.guests(session) == set()


# What happens at once.


@pytest.mark.parametrize("first", ["join", "revoke"])
async def test_a_link_revoked_while_it_is_taken_up_is_over(
    site: Site, session: SessionRecord, first: str
) -> None:
    share, code = await site.links.make(session, Terms(by="ada"), people=3)
    both = [site.links.accept(code, "ben"), site.sharing.revoke(session.id, share.id, by="ada")]
    found = await asyncio.gather(
        *(both if first == "join" else reversed(both)), return_exceptions=True
    )
    assert True in found
    with pytest.raises(NotAllowed, match="opens nothing"):
        await site.links.accept(code, "eve")
    joined = {"ben"} if first == "join" else set()
    assert {whom for deed, _, whom in await site.deeds(session) if deed is Deed.JOINED} == joined
    (past,) = await SharingBook(site.parts.store).past(session.id)
    assert (past.why, set(past.joined)) == (Deed.REVOKED, joined)
    await site.nobody_is_in(session)


async def test_what_is_revoked_while_it_is_extended_stays_revoked(
    site: Site, session: SessionRecord
) -> None:
    share = await site.sharing.with_person(session, "sam", Terms(by="ada"))
    link, _ = await site.links.make(session, Terms(by="ada"))
    await asyncio.gather(
        site.sharing.with_person(session, "sam", Terms(by="ada")),
        site.sharing.revoke(session.id, share.id, by="ada"),
    )
    assert site.guests(session) == set()
    assert site.sharing.shares(session.id) == (link,)
    await site.sharing.with_person(session, "sam", Terms(by="ada"))
    await asyncio.gather(
        site.sharing.with_person(session, "sam", Terms(by="ada")),
        site.sharing.revoke_all(session.id, by="ada"),
    )
    await site.nobody_is_in(session)


async def test_who_is_shared_with_once_more_after_a_revocation_is_in(
    site: Site, session: SessionRecord
) -> None:
    """What was asked for last counts, also while the first waits for a slow hub."""
    first = await site.sharing.with_person(session, "sam", Terms(by="ada"))
    await site.while_asked(
        site.sharing.revoke(session.id, first.id, by="ada"),
        site.sharing.with_person(session, "sam", Terms(by="ada")),
    )
    (second,) = site.sharing.shares(session.id)
    assert second.id != first.id
    assert site.guests(session) == {"sam"}
    following = await site.next_manager()
    assert following.sharing.shares(session.id) == (second,)


async def test_what_is_extended_while_it_expires_goes_on(
    site: Site, session: SessionRecord
) -> None:
    until = site.clock() + HOUR
    share = await site.sharing.with_person(session, "sam", Terms(by="ada", until=until))
    await site.sharing.with_person(session, "ben", Terms(by="ada", until=until))
    site.clock.go(HOUR)
    await asyncio.gather(
        site.sharing.with_person(session, "sam", Terms(by="ada")), site.sharing.look()
    )
    (left,) = site.sharing.shares(session.id)
    assert (left.id, left.until) == (share.id, session.ends)
    assert site.guests(session) == {"sam"}
    expired = {whom for deed, _, whom in await site.deeds(session) if deed is Deed.EXPIRED}
    assert expired == {"ben"}
    following = await site.next_manager()
    assert following.sharing.shares(session.id) == (left,)


async def test_a_link_taken_up_while_its_time_ends_has_let_in(
    site: Site, session: SessionRecord
) -> None:
    until = site.clock() + 48 * HOUR
    _, code = await site.links.make(session, Terms(by="ada", until=until))
    site.clock.go(24 * HOUR - timedelta(seconds=1))

    async def a_second_later() -> None:
        site.clock.go(1)
        await site.sharing.look()

    await asyncio.gather(site.links.accept(code, "ben"), a_second_later())
    assert site.guests(session) == {"ben"}
    assert [share.joined for share in site.sharing.shares(session.id)] == [("ben",)]


async def test_who_is_shared_with_twice_at_once_has_one_share(
    site: Site, session: SessionRecord
) -> None:
    """Of two, the other would still let her in where one is revoked."""
    made = await asyncio.gather(
        *(site.sharing.with_person(session, "ben", Terms(by="ada")) for _ in range(2))
    )
    assert made[0].id == made[1].id
    assert await site.sharing.revoke(session.id, made[0].id, by="ada")
    await site.nobody_is_in(session)


async def test_who_is_removed_and_shared_with_at_once_is_in_for_the_next_manager_too(
    site: Site, session: SessionRecord
) -> None:
    """What is written of an earlier state comes late, and must not be what is kept."""
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    eve = await site.sharing.with_person(session, "eve", Terms(by="ada"))
    await site.while_asked(
        site.sharing.revoke(session.id, eve.id, by="ada"),
        site.sharing.remove(session.id, "ben", by="ada"),
        site.sharing.with_person(session, "ben", Terms(by="ada")),
    )
    assert site.guests(session) == {"ben"}
    await site.sharing.look()
    following = await site.next_manager()
    assert [share.whom for share in following.sharing.shares(session.id)] == ["ben"]


# Who is there.


async def test_who_is_here_now_is_told_by_the_session(site: Site, session: SessionRecord) -> None:
    await site.sharing.with_person(session, "ben", Terms(by="ada"))
    visits = site.sharing.visits
    since = site.clock()
    here = Here(name="ben", since=since)
    visits.tell(session.id, [here, Here(name="ada", since=since)], owner="ada")
    assert visits.here(session.id) == (here,)
    assert site.sharing.entrants(session.id)[0].here_since == since
    site.clock.go(20)
    visits.tell(session.id, [], owner="ada")
    assert visits.here(session.id) == ()
    visits.tell(session.id, [here], owner="ada")
    site.clock.go(STALE_AFTER + timedelta(seconds=1))
    assert visits.here(session.id) == (), "a session that is silent tells nothing"
    await site.sharing.look()
    deeds = [(deed, by) for deed, by, _ in await site.deeds(session)]
    assert deeds == [
        (Deed.SHARED, "ada"),
        (Deed.CAME, "ben"),
        (Deed.WENT, "ben"),
        (Deed.CAME, "ben"),
    ]


async def test_a_share_is_a_plain_value(site: Site, session: SessionRecord) -> None:
    share = await site.sharing.with_person(session, "ben", Terms(by="ada"))
    assert Share.model_validate_json(share.model_dump_json()) == share
