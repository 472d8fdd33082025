"""What the back end says, as the registry has it: proof ends, silence does not."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from canfar_spawner.core.backend import Use
from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.manager.records import SessionRecord
from tests.manager.parts import Parts


async def look(parts: Parts, times: int = 1) -> None:
    for _ in range(times):
        await parts.observer.look()
        await parts.observer.settle()


def use(parts: Parts, record: SessionRecord, cores: str | None, memory: int | None) -> None:
    parts.backend.uses[record.launch] = Use(
        cores=None if cores is None else Decimal(cores), memory=memory, at=parts.clock()
    )


async def test_a_job_that_ends_is_put_away_with_its_log(parts: Parts) -> None:
    job = await parts.submit()
    await look(parts)
    assert parts.record(job.id).ready == parts.clock()
    parts.backend.written[job.launch] = "all done\n"
    parts.clock.go(60)
    parts.backend.end(job.launch, Reason.PROGRAM_FAILED, 3)
    await look(parts)
    ended = parts.record(job.id)
    assert (ended.live, ended.reason, ended.exit_code) == (False, Reason.PROGRAM_FAILED, 3)
    assert ended.ended == parts.clock()
    assert await parts.jobs.log(ended) == "all done\n"


async def test_what_the_evidence_knows_is_written_down(parts: Parts) -> None:
    job = await parts.submit()
    parts.backend.evidence[job.launch] = Evidence(
        life=Life.RUNNING,
        phase=Phase.READY,
        node="worker-3",
        qos="Guaranteed",
        image_digest="sha256:" + "a" * 64,
    )
    await look(parts)
    record = parts.record(job.id)
    assert (record.node, record.qos) == ("worker-3", "Guaranteed")
    assert record.image_digest.startswith("sha256:aaa")
    changes: list[str] = []
    parts.registry.subscribe(lambda _, what: changes.append(what))
    await look(parts, 3)
    assert changes == [], "what is known is not written again"


async def test_a_back_end_that_is_away_ends_nothing(parts: Parts) -> None:
    job, session = await parts.submit(), await parts.launch()
    await look(parts)
    seen = parts.clock()
    parts.backend.away = True
    for _ in range(20):
        parts.clock.go(60)
        await look(parts)
    for record in (job, session):
        evidence = parts.registry.evidence_of(parts.record(record.id))
        assert (evidence.life, evidence.seen) == (Life.UNKNOWN, seen)
        assert parts.record(record.id).live
    assert parts.observer.problems() == [
        "The back end has not answered for 1200 s. Nothing ends meanwhile."
    ]
    parts.backend.away = False
    await look(parts)
    assert parts.registry.evidence_of(parts.record(job.id)).life is Life.RUNNING
    assert (parts.observer.answered_ago(), parts.observer.problems()) == (0, [])
    # It answers at once, and from what it has learned long ago.
    parts.backend.learned_ago = 240.0
    await look(parts)
    assert parts.observer.answered_ago() == 240
    assert parts.observer.problems() == [
        "The back end has not answered for 240 s. Nothing ends meanwhile."
    ]
    parts.backend.learned_ago = 0.0
    assert parts.observer.problems() == []


async def test_a_job_without_a_trace_is_proven_absent_twice(parts: Parts) -> None:
    job = await parts.submit()
    await look(parts)
    parts.backend.lose(job.launch)
    await look(parts, 3)
    assert parts.record(job.id).live, "one proof is none: looks come quickly"
    parts.clock.go(6)
    await look(parts)
    ended = parts.record(job.id)
    assert (ended.live, ended.reason) == (False, Reason.SUPERVISOR_LOST)


async def test_an_absence_that_was_none_is_forgotten(parts: Parts) -> None:
    job = await parts.submit()
    await look(parts)
    known, evidence = parts.backend.known[job.launch], parts.backend.evidence[job.launch]
    for _ in range(5):
        parts.backend.lose(job.launch)
        parts.clock.go(6)
        await look(parts)
        parts.backend.known[job.launch] = known
        parts.backend.evidence[job.launch] = evidence
        parts.clock.go(6)
        await look(parts)
    assert parts.record(job.id).live


async def test_what_cannot_be_looked_for_is_not_absent(parts: Parts) -> None:
    job = await parts.submit()
    parts.backend.lose(job.launch)

    async def away(_: object) -> Evidence:
        raise Unavailable("The back end does not answer now.")

    parts.backend.look = away  # type: ignore[method-assign,assignment]
    for _ in range(5):
        parts.clock.go(6)
        await look(parts)
    assert parts.record(job.id).live


async def test_a_session_of_the_hub_is_not_ended_here(parts: Parts) -> None:
    """Its end is the hub's to tell; what the back end says is shown meanwhile."""
    session = await parts.launch()
    parts.backend.end(session.launch, Reason.OUT_OF_MEMORY, 137)
    await look(parts)
    assert parts.record(session.id).live
    assert parts.registry.evidence_of(parts.record(session.id)).reason is Reason.OUT_OF_MEMORY
    parts.backend.away = True
    await look(parts)
    assert parts.registry.evidence_of(parts.record(session.id)).life is Life.ENDED


async def test_a_log_that_cannot_be_had_now_is_asked_for_again(parts: Parts) -> None:
    job = await parts.submit()
    parts.backend.end(job.launch)
    kept = parts.backend.logs

    async def away(*_: Any, **__: Any) -> str:
        raise Unavailable("The back end does not answer now.")

    parts.backend.logs = away  # type: ignore[method-assign]
    await look(parts)
    assert parts.record(job.id).live
    parts.backend.logs = kept  # type: ignore[method-assign]
    await look(parts)
    assert not parts.record(job.id).live


async def test_many_that_are_put_away_slowly_hold_no_look_up(parts: Parts) -> None:
    slow = [await parts.submit() for _ in range(20)]
    lost = await parts.submit()
    leave = asyncio.Event()

    async def takes_long(*_: object) -> None:
        await leave.wait()

    parts.observer._finished = takes_long
    for record in slow:
        parts.backend.end(record.launch)
    await parts.observer.look()
    parts.backend.lose(lost.launch)
    async with asyncio.timeout(10):
        await parts.observer.look()
        parts.clock.go(6)
        await parts.observer.look()
    assert parts.registry.evidence_of(parts.record(lost.id)).life is Life.ABSENT
    leave.set()
    await parts.observer.settle()


async def test_one_that_is_put_away_slowly_holds_nobody_up(parts: Parts) -> None:
    slow, quick = await parts.submit(), await parts.submit()
    leave = asyncio.Event()
    finished = parts.jobs.finished

    async def takes_long(record: SessionRecord, evidence: Evidence) -> None:
        if record.id == slow.id:
            await leave.wait()
        await finished(record, evidence)

    parts.observer._finished = takes_long
    parts.backend.end(slow.launch)
    await parts.observer.look()
    parts.backend.end(quick.launch)
    await parts.observer.look()
    async with asyncio.timeout(10):
        while parts.record(quick.id).live:  # noqa: ASYNC110 - written by the database's thread
            await asyncio.sleep(0.01)
    assert parts.record(slow.id).live
    leave.set()
    await parts.observer.settle()
    assert not parts.record(slow.id).live


# Use.


async def test_peaks_are_kept(parts: Parts) -> None:
    job = await parts.submit()
    await look(parts)
    told: list[Use | None] = []
    parts.observer.measured.append(lambda _, found: told.append(found))
    for cores, memory in (("0.5", 100), ("2.25", 4000), (None, 50), ("1", None)):
        use(parts, job, cores, memory)
        await parts.observer.measure()
    record = parts.record(job.id)
    assert (record.peak_cores, record.peak_memory) == (Decimal("2.25"), 4000)
    assert parts.registry.uses[job.launch].cores == 1
    assert len(told) == 4


async def test_every_small_growth_is_not_written(parts: Parts) -> None:
    job = await parts.submit()
    await look(parts)
    changes: list[str] = []
    parts.registry.subscribe(lambda _, what: changes.append(what))
    for memory in range(1_000_000, 1_040_000, 1000):
        use(parts, job, "0", memory)
        await parts.observer.measure()
    assert changes == ["changed"]


async def test_use_that_is_not_known_is_not_shown(parts: Parts) -> None:
    job = await parts.submit()
    await look(parts)
    use(parts, job, "1", 100)
    await parts.observer.measure()
    parts.backend.away = True
    await parts.observer.measure()
    assert parts.registry.uses == {}


@pytest.mark.parametrize("kind", ["session", "job"])
async def test_nothing_is_kept_of_what_has_ended(parts: Parts, kind: str) -> None:
    record = await (parts.submit() if kind == "job" else parts.launch())
    await look(parts)
    use(parts, record, "1", 100)
    await parts.observer.measure()
    await parts.registry.end(record.id, reason=Reason.STOPPED, at=parts.clock())
    parts.backend.lose(record.launch)
    await look(parts)
    assert parts.registry.evidence == {}
    assert parts.registry.uses == {}
