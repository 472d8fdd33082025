"""When sessions end, under a clock that a test moves."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest

from canfar_spawner.core.errors import Invalid, NotAllowed, Unavailable
from canfar_spawner.core.lifetime import Lifetimes as SiteLifetimes
from canfar_spawner.core.status import Reason
from canfar_spawner.manager.hubapi import Caller
from canfar_spawner.manager.lifetimes import Scratch, scratch_words
from canfar_spawner.manager.records import SessionRecord
from tests.core.world import site
from tests.manager.parts import Parts
from tests.support.hub import ROOT

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def warned(answer: dict[str, object]) -> list[str]:
    news = answer["news"]
    assert isinstance(news, list)
    return [each["sentence"] for each in news if each["kind"] == "warned"]


async def both(parts: Parts) -> tuple[SessionRecord, SessionRecord]:
    """Give a session and a job."""
    return await parts.launch(), await parts.submit()


# The end.


async def test_a_session_ends_at_its_second_and_not_before(parts: Parts) -> None:
    session, job = await both(parts)
    for record in sorted((session, job), key=lambda each: each.ends):
        parts.clock.go(record.ends - parts.clock() - SECOND)
        await parts.tick()
        assert parts.record(record.id).ending is None
        parts.clock.go(SECOND)
        await parts.tick()
        assert parts.record(record.id).ending is Reason.EXPIRED
        assert parts.record(record.id).ending_by == "lifetimes"
    assert parts.backend.stopped == [session.launch, job.launch]


async def test_why_it_ended_is_what_it_was_told(parts: Parts) -> None:
    """The hub sees a session that was stopped; the record knows why."""
    session = await parts.launch()
    parts.clock.go(session.ends - parts.clock())
    await parts.tick()
    await parts.hub_tells_end(session, Reason.STOPPED)
    ended = parts.record(session.id)
    assert (ended.reason, ended.live) == (Reason.EXPIRED, False)
    await asyncio.gather(*parts.endings)
    (news,) = (await parts.tell())["news"]
    assert (news["kind"], news["reason"], news["by"]) == ("ended", "expired", "lifetimes")


async def test_what_ends_by_itself_at_its_deadline_has_expired_too(parts: Parts) -> None:
    """The supervisor of one machine keeps the promise as well; whichever comes first."""
    job = await parts.submit()
    parts.clock.go(job.ends - parts.clock())
    parts.backend.end(job.launch, Reason.EXPIRED, 143)
    await parts.observer.look()
    await parts.observer.settle()
    await parts.tick()
    ended = parts.record(job.id)
    assert (ended.reason, ended.live, ended.ended) == (Reason.EXPIRED, False, job.ends)


async def test_while_the_hub_is_away_it_is_tried_and_said(parts: Parts) -> None:
    session = await parts.launch()
    parts.hub.away = True
    parts.clock.go(session.ends - parts.clock())
    await parts.tick()
    assert parts.record(session.id).ending is Reason.EXPIRED
    for _ in range(30):
        parts.clock.go(10)
        await parts.tick()
    (problem,) = parts.lifetimes.problems()
    assert "past the promised end" in problem
    assert "The hub does not answer" in problem
    parts.hub.away = False
    parts.clock.go(10)
    await parts.tick()
    assert parts.hub.told == [session.id]
    assert parts.lifetimes.problems() == []


async def test_while_the_back_end_is_away_a_job_is_ended_later(parts: Parts) -> None:
    job = await parts.submit()
    parts.backend.away = True
    parts.clock.go(job.ends - parts.clock())
    await parts.tick()
    assert parts.record(job.id).ending is Reason.EXPIRED
    parts.backend.away = False
    parts.clock.go(10)
    await parts.tick()
    await parts.observer.look()
    await parts.observer.settle()
    ended = parts.record(job.id)
    assert (ended.reason, ended.live) == (Reason.EXPIRED, False)


async def test_the_next_manager_goes_on_with_an_end(parts: Parts) -> None:
    """Killed after it was written down and before the hub was told."""
    session = await parts.launch()
    await parts.registry.change(session.id, ending=Reason.EXPIRED, ending_by="lifetimes")
    later = parts.again()
    await later.open()
    await later.tick()
    later.clock.go(10)
    await later.tick()
    assert later.hub.told == [session.id]
    await later.close()


async def test_a_hub_that_takes_long_is_not_told_twice_at_a_time(parts: Parts) -> None:
    session = await parts.launch()
    entered, leave = asyncio.Event(), asyncio.Event()
    calls = []

    async def slow(owner: str, which: str) -> None:
        calls.append((owner, which))
        entered.set()
        await leave.wait()

    parts.hub.stop = slow  # type: ignore[assignment,method-assign]
    parts.clock.go(session.ends - parts.clock())
    await parts.lifetimes.tick()
    await entered.wait()
    for _ in range(5):
        parts.clock.go(20)
        await parts.lifetimes.tick()
    assert calls == [("ada", session.id)]
    leave.set()
    await parts.lifetimes.settle()


# The clock.


@pytest.mark.parametrize("jump", [10 * MINUTE, -10 * MINUTE], ids=str)
async def test_a_clock_that_is_wrong_for_a_moment_ends_nothing(
    parts: Parts, jump: timedelta
) -> None:
    session = await parts.launch()
    parts.clock.go(session.ends - parts.clock() - 5 * MINUTE)
    await parts.tick()
    parts.clock.jump(jump)
    for _ in range(20):
        parts.clock.go(2)
        await parts.tick()
    assert parts.record(session.id).ending is None
    parts.clock.jump(-jump)
    while parts.clock() < session.ends - SECOND:
        parts.clock.go(SECOND)
        await parts.tick()
        assert parts.record(session.id).ending is None
    parts.clock.go(2)
    await parts.tick()
    assert parts.record(session.id).ending is Reason.EXPIRED


@pytest.mark.parametrize("jump", [10 * MINUTE, -10 * MINUTE], ids=str)
async def test_a_clock_that_stays_as_it_jumped_is_believed_after_a_minute(
    parts: Parts, jump: timedelta
) -> None:
    """As after the machine slept, or was set right: promised times are times of day."""
    session = await parts.launch()
    parts.clock.go(session.ends - parts.clock() - 5 * MINUTE)
    await parts.tick()
    parts.clock.jump(jump)
    steady = parts.clock.seconds
    while parts.record(session.id).ending is None:
        assert parts.clock() < session.ends + 10 * MINUTE
        parts.clock.go(2)
        await parts.tick()
    assert parts.clock() >= session.ends
    late = parts.clock() - session.ends
    if jump > timedelta(0):
        assert 60 <= parts.clock.seconds - steady <= 64
    else:
        assert late <= 2 * SECOND


async def test_small_corrections_of_the_clock_matter_nothing(parts: Parts) -> None:
    session = await parts.launch()
    parts.clock.go(session.ends - parts.clock() - MINUTE)
    for _ in range(30):
        parts.clock.go(2)
        parts.clock.jump(SECOND / 4)
        await parts.tick()
    assert parts.record(session.id).ending is Reason.EXPIRED


# Extending.


async def test_an_extension_holds_everywhere(parts: Parts) -> None:
    for record in await both(parts):
        lifetime = record.ends - record.asked
        parts.clock.go(DAY)
        found = await parts.lifetimes.renew(record, by="ada")
        ends = parts.clock() + lifetime
        assert found.record.ends == ends
        assert parts.record(record.id).ends == ends
        assert parts.backend.known[record.launch].ends == ends
        again = await parts.lifetimes.renew(record, by="ada")
        assert again == found
    news = (await parts.tell())["news"]
    assert [each["kind"] for each in news if each["launch"] == record.launch] == ["extended"] * 2


async def test_an_extension_reaches_so_far_and_says_so(parts: Parts) -> None:
    session = await parts.launch()
    longest = session.plan.started + parts.policy.lifetimes.longest
    found = None
    while parts.clock() < longest - DAY:
        parts.clock.go(DAY)
        found = await parts.lifetimes.renew(parts.record(session.id), by="ada")
        assert found.record.ends <= longest
    assert found is not None
    assert found.record.ends == longest
    assert found.at_limit
    assert found.sentence == (
        f"{session.name} now ends at 12:00 UTC on 1 December. It cannot be extended further."
    )


async def test_what_has_ended_or_never_was_is_not_extended(parts: Parts) -> None:
    session, job = await both(parts)
    await parts.lifetimes.end(job, reason=Reason.STOPPED, by="ada")
    await parts.hub_tells_end(session)
    for record in (session, job):
        with pytest.raises(Invalid, match="ada has no active session or job with the id") as found:
            await parts.lifetimes.renew(record, by="ada")
        assert found.value.status == 400


async def test_a_back_end_that_is_away_promises_nothing(parts: Parts) -> None:
    job = await parts.submit()
    parts.clock.go(DAY)
    parts.backend.away = True
    with pytest.raises(Unavailable):
        await parts.lifetimes.renew(job, by="ada")
    assert parts.record(job.id).ends == job.ends


async def test_nothing_is_extended_for_whoever_has_lost_the_account(parts: Parts) -> None:
    job = await parts.submit()
    await parts.refuse("ada")
    parts.clock.go(DAY)
    with pytest.raises(NotAllowed, match="Your account is closed"):
        await parts.lifetimes.renew(job, by="ada")
    assert parts.record(job.id).ends == job.ends


async def test_an_extension_at_the_last_moment_wins_or_loses_but_never_both(parts: Parts) -> None:
    for delay in range(6):
        session = await parts.launch()
        parts.clock.go(session.ends - parts.clock())

        async def late(session: SessionRecord = session, delay: int = delay) -> bool:
            for _ in range(delay):
                await asyncio.sleep(0)
            try:
                await parts.lifetimes.renew(session, by="ada")
            except Invalid:
                return False
            return True

        extended, _ = await asyncio.gather(late(), parts.tick())
        record = parts.record(session.id)
        assert extended == (record.ending is None)
        assert extended == (record.ends > session.ends)
        assert extended == (session.id not in parts.hub.told)


async def test_extensions_survive_the_manager(parts: Parts) -> None:
    session = await parts.launch()
    parts.clock.go(DAY)
    found = await parts.lifetimes.renew(session, by="ada")
    later = parts.again()
    await later.open()
    assert later.record(session.id).ends == found.record.ends
    # A hub that begins anew is told, though that was long ago.
    parts.clock.go(3 * DAY)
    (news,) = [each for each in (await later.tell())["news"] if each["kind"] == "extended"]
    assert news["ends"] == found.record.ends.isoformat()
    await later.close()


async def test_a_record_that_has_forgotten_an_extension_ends_nothing(parts: Parts) -> None:
    """It is of yesterday's database, or was made anew from what was asked for at first."""
    session = await parts.launch()
    later = session.ends + HOUR
    await parts.backend.extend(session.plan, later)
    parts.clock.go(session.ends - parts.clock())
    await parts.tick()
    record = parts.record(session.id)
    assert (record.ending, record.ends) == (None, later)
    parts.clock.go(HOUR)
    await parts.tick()
    assert parts.record(session.id).ending is Reason.EXPIRED


# Warnings.


async def test_a_warning_comes_once_for_each_of_its_times(parts: Parts) -> None:
    session = await parts.launch()
    seen = []
    step = timedelta(minutes=1)
    parts.clock.go(session.ends - parts.clock() - DAY - HOUR)
    while parts.record(session.id).ending is None:
        before = parts.record(session.id).warned
        await parts.tick()
        after = parts.record(session.id).warned
        if after != before:
            seen.append((after, session.ends - parts.clock()))
        parts.clock.go(step)
    assert seen == [(86400, DAY), (3600, HOUR), (300, 5 * MINUTE)]
    # The first is more than a day old by now.
    assert len(warned(await parts.tell())) == 2


async def test_after_an_extension_it_is_warned_again(parts: Parts) -> None:
    session = await parts.launch()
    parts.clock.go(session.ends - parts.clock() - HOUR)
    await parts.tick()
    assert [each.before for each in parts.lifetimes.notices("ada")] == [3600]
    found = await parts.lifetimes.renew(session, by="ada")
    await parts.tick()
    assert parts.lifetimes.notices("ada") == ()
    parts.clock.go(found.record.ends - parts.clock() - HOUR)
    await parts.tick()
    assert [each.before for each in parts.lifetimes.notices("ada")] == [3600]


async def test_short_sessions_are_not_warned_at_once(tmp_path: Path) -> None:
    policy = site(lifetimes={"interactive": "PT12H", "headless": "PT1H"})
    parts = Parts(tmp_path, policy=policy)
    await parts.open()
    session, job = await both(parts)
    await parts.tick()
    assert parts.lifetimes.notices("ada") == ()
    parts.clock.go(55 * MINUTE)
    await parts.tick()
    (notice,) = parts.lifetimes.notices("ada")
    assert (notice.session, notice.before) == (job.id, 300)
    parts.clock.go(10 * HOUR + 5 * MINUTE)
    await parts.tick()
    assert parts.record(session.id).warned == 3600
    await parts.close()


async def test_a_warning_names_what_would_be_wiped(parts: Parts) -> None:
    session = await parts.launch()
    caller = Caller(
        name="ada",
        kind="user",
        scopes=frozenset({f"access:servers!server=ada/{session.id}"}),
        token="x",
    )
    parts.clock.go(session.ends - parts.clock() - HOUR)
    beat = {"scratch": {"files": 14, "bytes": 2_469_606_195}}
    parts.intake.heartbeat(caller, beat)
    await parts.tick()
    (sentence,) = warned(await parts.tell())
    assert sentence == (
        f"{session.name} ends at 12:00 UTC on 5 November. 14 files (2.3 GB) in /scratch will be"
        " wiped. Extend it, or save what you need."
    )
    (notice,) = parts.lifetimes.notices("ada")
    assert notice.sentence == sentence
    assert parts.lifetimes.notices("ben") == ()
    # Home's script finds the time in it, to write it in the viewer's zone.
    script = ROOT / "canfar_spawner" / "portal" / "src" / "warnings.ts"
    (written,) = re.findall(r"^const BEGINS = /(.+)/u;$", script.read_text(), re.MULTILINE)
    begins = re.match(written.replace(r"\p{L}", r"[^\W\d_]"), sentence)
    assert begins
    assert sentence[begins.end() :].startswith("14 files (2.3 GB)")


@pytest.mark.parametrize(
    ("scratch", "words"),
    [
        (None, ""),
        (Scratch(files=0, bytes=0), ""),
        (Scratch(files=1, bytes=12 * 2**10), " 1 file (12.0 kB) in /scratch will be wiped."),
        (Scratch(files=3, bytes=7), " 3 files (7 B) in /scratch will be wiped."),
        (Scratch(files=2, bytes=99 * 2**20), " 2 files (99.0 MB) in /scratch will be wiped."),
        (
            Scratch(files=9, bytes=2**30, complete=False),
            " At least 9 files (1.0 GB) in /scratch will be wiped.",
        ),
    ],
)
def test_words_for_scratch(scratch: Scratch | None, words: str) -> None:
    assert scratch_words(scratch) == words


async def test_at_its_limit_no_extension_is_advised(tmp_path: Path) -> None:
    lifetimes = SiteLifetimes(interactive=4 * DAY, longest=4 * DAY)
    parts = Parts(tmp_path, policy=site(lifetimes=lifetimes))
    await parts.open()
    session = await parts.launch()
    parts.clock.go(session.ends - parts.clock() - HOUR)
    await parts.tick()
    (notice,) = parts.lifetimes.notices("ada")
    assert notice.sentence.endswith("It cannot be extended further; save what you need.")
    await parts.close()
