"""Records, back end and hub agree again, whatever was lost."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.core.errors import NotAllowed, Unavailable
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.status import Reason
from canfar_spawner.manager import reconcile
from canfar_spawner.manager.reconcile import (
    Difference,
    Differs,
    as_json,
    check,
    lines,
    lost_right,
)
from canfar_spawner.manager.records import SessionRecord
from tests.core.world import ADA, BEN
from tests.manager.parts import Parts

HOUR = timedelta(hours=1)


@pytest.fixture
async def settled(parts: Parts) -> Parts:
    """Give a manager whose two sessions and two jobs run, with one end moved."""
    await parts.launch()
    await parts.launch(BEN)
    await parts.submit()
    extended = await parts.submit(BEN)
    parts.clock.go(HOUR)
    await parts.lifetimes.renew(extended, by="ben")
    await parts.observer.look()
    return parts


def live(parts: Parts) -> dict[str, SessionRecord]:
    return {record.id: record for record in parts.registry.live()}


async def rounds(parts: Parts, count: int = 1) -> list[Difference]:
    found: list[Difference] = []
    for _ in range(count):
        await parts.observer.look()
        await parts.observer.settle()
        found += await parts.reconciler.round()
        await parts.lifetimes.settle()
        parts.clock.go(30)
    return found


def kinds(found: list[Difference]) -> list[Differs]:
    return [each.what for each in found]


async def test_where_all_agree_nothing_is_done(settled: Parts) -> None:
    before = live(settled)
    assert await rounds(settled, 5) == []
    assert live(settled) == before
    assert settled.backend.stopped == []


async def test_a_lost_database_is_found_again_in_one_round(settled: Parts, tmp_path: Path) -> None:
    before = live(settled)
    shutil.rmtree(tmp_path / "new", ignore_errors=True)
    (tmp_path / "new").mkdir()
    later = Parts(
        tmp_path / "new",
        clock=settled.clock,
        policy=settled.policy,
        backend=settled.backend,
        hub=settled.hub,
    )
    await later.open(())
    assert kinds(await rounds(later)) == [Differs.UNRECORDED] * 4
    after = live(later)
    assert after.keys() == before.keys()
    for session, record in before.items():
        found = after[session]
        assert (found.plan, found.ends, found.begun) == (record.plan, record.ends, True)
        assert bool(found.url) == record.interactive
    assert await rounds(later, 3) == []
    assert later.backend.stopped == []
    await later.close()


async def test_jobs_that_ended_meanwhile_are_found_with_their_logs(
    settled: Parts, tmp_path: Path
) -> None:
    (job,) = [one for one in settled.registry.live() if one.owner == "ada" and not one.interactive]
    settled.backend.written[job.launch] = "all done\n"
    settled.backend.end(job.launch)
    (tmp_path / "new").mkdir()
    later = Parts(tmp_path / "new", clock=settled.clock, backend=settled.backend, hub=settled.hub)
    await later.open(())
    await rounds(later, 2)
    found = later.record(job.id)
    assert (found.live, found.reason) == (False, Reason.FINISHED)
    assert await later.jobs.log(found) == "all done\n"
    await later.close()


async def test_what_ended_long_ago_is_not_taken_up(settled: Parts) -> None:
    """The back end remembers for a day, the registry as long, the history for much longer."""
    (job,) = [one for one in settled.registry.live() if one.owner == "ada" and not one.interactive]
    settled.backend.end(job.launch)
    await rounds(settled)
    evidence, known = settled.backend.evidence[job.launch], settled.backend.known[job.launch]
    settled.clock.go(30 * HOUR)
    later = settled.again()
    await later.open(())
    settled.backend.evidence[job.launch], settled.backend.known[job.launch] = evidence, known
    await rounds(later, 3)
    assert job.id not in live(later)
    assert await rounds(later, 2) == []
    await later.close()


async def test_a_row_the_hub_has_not_told_of_is_taken_up(settled: Parts) -> None:
    plan = settled.plan()
    row = next(iter(settled.hub.rows.values()))
    settled.hub.rows[plan.session] = row.model_copy(
        update={"plan": plan, "session": plan.session, "ready": False, "owner": "ada"}
    )
    await rounds(settled)
    record = settled.record(plan.session)
    assert (record.url, record.ready) == (row.url, None)
    settled.hub.rows[plan.session] = settled.hub.rows[plan.session].model_copy(
        update={"ready": True}
    )
    await rounds(settled)
    assert settled.record(plan.session).ready is not None


async def test_what_is_nowhere_has_ended_after_two_rounds(settled: Parts) -> None:
    (session,) = [one for one in settled.registry.live() if one.owner == "ada" and one.interactive]
    settled.hub.rows.pop(session.id)
    settled.backend.end(session.launch, Reason.OUT_OF_MEMORY, 137)
    assert kinds(await rounds(settled)) == [Differs.GONE]
    assert settled.record(session.id).live
    await rounds(settled)
    ended = settled.record(session.id)
    assert (ended.live, ended.reason, ended.exit_code) == (False, Reason.OUT_OF_MEMORY, 137)


async def test_a_session_without_any_trace_is_proven_gone(settled: Parts) -> None:
    (session,) = [one for one in settled.registry.live() if one.owner == "ada" and one.interactive]
    settled.hub.rows.pop(session.id)
    settled.backend.lose(session.launch)
    await rounds(settled, 4)
    assert not settled.record(session.id).live


@pytest.mark.parametrize("away", ["hub", "backend"])
async def test_whoever_does_not_answer_proves_nothing(settled: Parts, away: str) -> None:
    (session,) = [one for one in settled.registry.live() if one.owner == "ada" and one.interactive]
    settled.hub.rows.pop(session.id)
    if away == "hub":
        settled.hub.away = True
        settled.backend.end(session.launch)
        await rounds(settled, 5)
    else:
        settled.backend.away = True
        with pytest.raises(Unavailable):
            await settled.reconciler.round()
    assert settled.record(session.id).live


async def test_a_session_that_the_hub_has_lost_goes_on(settled: Parts) -> None:
    """Its owner finds it again when she next signs in."""
    before = live(settled)
    settled.hub.rows.clear()
    found = await rounds(settled, 10)
    assert set(kinds(found)) == {Differs.UNOWNED}
    assert live(settled) == before
    assert settled.backend.stopped == []


async def test_a_session_that_the_hub_has_lost_ends_in_time(settled: Parts) -> None:
    """Told to end it, the hub would only say that there is nothing."""
    (session,) = [one for one in settled.registry.live() if one.owner == "ada" and one.interactive]
    settled.hub.rows.clear()
    settled.clock.go(session.ends - settled.clock())
    await settled.tick()
    await rounds(settled, 2)
    assert session.launch in settled.backend.stopped
    await rounds(settled, 2)
    ended = settled.record(session.id)
    assert (ended.live, ended.reason) == (False, Reason.EXPIRED)


async def test_a_session_that_is_being_told_of_is_not_missing(parts: Parts) -> None:
    session = await parts.launch()
    parts.hub.rows.clear()
    parts.clock.go(-session.asked.second)
    await parts.observer.look()
    assert await parts.reconciler.round() == ()


async def test_the_later_promise_holds(settled: Parts) -> None:
    """One side was restored from yesterday, or a manager was killed between the two."""
    jobs = [one for one in settled.registry.live() if not one.interactive]
    later = jobs[0].ends + HOUR
    await settled.backend.extend(jobs[0].plan, later)
    await settled.backend.extend(jobs[1].plan, jobs[1].ends - HOUR)
    assert kinds(await rounds(settled)) == [Differs.PROMISE] * 2
    assert settled.record(jobs[0].id).ends == later
    assert settled.record(jobs[1].id).ends == jobs[1].ends
    assert settled.backend.known[jobs[1].launch].ends == jobs[1].ends
    assert await rounds(settled, 2) == []


async def test_a_job_that_runs_on_after_its_end_is_removed(settled: Parts) -> None:
    (job,) = [one for one in settled.registry.live() if one.owner == "ada" and not one.interactive]
    await settled.registry.end(job.id, reason=Reason.STOPPED, at=settled.clock())
    settled.clock.go(60)
    assert kinds(await rounds(settled)) == [Differs.LEFTOVER]
    assert settled.backend.stopped == []
    await rounds(settled)
    assert settled.backend.stopped == [job.launch]
    assert await rounds(settled, 2) == []


# Whoever may no longer.


def without(identity: PosixIdentity, project: str) -> PosixIdentity:
    return identity.model_copy(
        update={
            "groups": tuple(group for group in identity.groups if group.name != project),
            "projects": tuple(name for name in identity.projects if name != project),
        }
    )


async def say(parts: Parts, identity: PosixIdentity) -> None:
    await parts.tell(identities=[identity])


async def test_jobs_of_a_closed_account_are_ended(settled: Parts) -> None:
    (job,) = [one for one in settled.registry.live() if one.owner == "ada" and not one.interactive]
    await settled.refuse("ada")
    await rounds(settled, 2)
    record = settled.record(job.id)
    assert (record.ending, record.ending_by) == (Reason.REVOKED, "reconcile")
    await rounds(settled)
    ended = settled.record(job.id)
    assert (ended.live, ended.reason) == (False, Reason.REVOKED)
    assert all(one.owner == "ben" or one.interactive for one in live(settled).values())
    with pytest.raises(NotAllowed):
        await settled.submit()


async def test_a_deleted_account_is_forgotten_with_its_last_session(settled: Parts) -> None:
    (session,) = [one for one in settled.registry.live() if one.owner == "ada" and one.interactive]
    await settled.say({"name": "ada", "identity": None, "refusal": "Deleted.", "gone": True})
    await rounds(settled, 3)
    assert settled.identities.gone() == {"ada"}
    assert [one.id for one in settled.registry.live() if one.owner == "ada"] == [session.id]
    await settled.hub_tells_end(session)
    await rounds(settled)
    assert settled.identities.gone() == frozenset()


async def test_jobs_that_have_lost_a_project_are_ended(settled: Parts) -> None:
    with_project = await settled.submit(projects=["demo"])
    await say(settled, without(ADA, "demo"))
    found = await rounds(settled, 3)
    # Every process of hers has the group's id, whether or not the project is mounted.
    assert with_project.id not in live(settled)
    assert all(one.owner != "ada" or one.interactive for one in live(settled).values())
    assert any("has left the project demo" in each.sentence for each in found)
    for one in settled.registry.live():
        assert one.ending is None


async def test_a_new_group_ends_nothing(settled: Parts) -> None:
    before = live(settled)
    more = ADA.model_copy(update={"groups": (*ADA.groups, *BEN.groups[:0])})
    await say(settled, more)
    assert await rounds(settled, 3) == []
    assert live(settled) == before


async def test_a_moment_of_doubt_ends_nothing(settled: Parts) -> None:
    before = live(settled)
    for _ in range(5):
        await settled.refuse("ada")
        await rounds(settled)
        await say(settled, ADA)
        await rounds(settled)
    assert live(settled) == before


async def test_a_hub_that_has_lost_its_database_ends_no_jobs(settled: Parts) -> None:
    before = live(settled)
    await settled.tell(run="run-2", complete=True)
    await rounds(settled, 5)
    assert live(settled) == before


def test_what_is_lost_is_named(parts: Parts) -> None:
    plan = parts.plan(projects=["demo"])
    assert lost_right(plan, ADA) == ""
    assert lost_right(plan, without(ADA, "demo")) == "its owner has left the project demo"
    assert "another uid now: 5009" in lost_right(plan, ADA.model_copy(update={"uid": 5009}))
    assert "no longer in the group" in lost_right(plan, without(ADA, "survey"))


# What an operator sees.


async def test_looking_changes_nothing(settled: Parts) -> None:
    for job in settled.registry.live():
        await settled.backend.extend(job.plan, job.ends + HOUR)
    before = live(settled)
    first = await settled.reconciler.look()
    assert kinds(list(first)) == [Differs.PROMISE] * 4
    assert await settled.reconciler.look() == first
    assert live(settled) == before


async def test_the_lines_say_what_differs_and_what_is_done(settled: Parts) -> None:
    assert lines(()) == ("Records, back end and hub agree.",)
    session = next(iter(settled.hub.rows))
    settled.hub.rows.pop(session)
    (line,) = lines(await settled.reconciler.look())
    record = settled.record(session)
    assert line == (
        f"unowned: {record.launch} of ada: it runs, and the hub has lost its row; it goes on; it is"
        " its owner's again when she next signs in"
    )
    answer: dict[str, Any] = as_json(await settled.reconciler.look())
    assert answer["lines"] == [line]
    assert Difference.model_validate(answer["differences"][0]).launch == record.launch


@contextlib.asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """Give the address of something that closes after its answer, or gives none and waits."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/sessions"
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"who knows\r\n\r\n", None]
)
async def test_a_manager_that_gives_no_answer_is_told_in_a_sentence(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer is None:
        monkeypatch.setattr(reconcile, "_ANSWER_WITHIN", 0.2)
    async with answering(answer) as service:
        with pytest.raises(Unavailable, match="does not answer"):
            await check(service, "a-token")


async def test_a_manager_that_is_not_there_is_told_in_a_sentence() -> None:
    async with answering(b"") as service:
        pass
    with pytest.raises(Unavailable, match="does not answer"):
        await check(service, "a-token")
