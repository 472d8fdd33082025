"""What the manager knows of sessions, while the database works, is away, and is lost."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from canfar_spawner.core.errors import LimitReached, Unavailable
from canfar_spawner.core.names import SessionId
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.tables import SessionRow
from tests.core.world import ADA, BEN, NOW
from tests.manager.recorded import job, recorded, session_id

LOG = logging.getLogger("tests.manager.registry")


@dataclass
class Kept:
    """A registry over a file; `again` gives that of the next manager."""

    path: Path
    now: datetime = NOW
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(f"sqlite:///{self.path}", log=LOG, busy=0.05)
        self.registry = Registry(self.store, clock=lambda: self.now, log=LOG)
        self.registry.subscribe(lambda record, what: self.told.append((record.id, what)))

    async def open(self) -> Kept:
        await self.store.open()
        await self.registry.load()
        return self

    async def again(self) -> Kept:
        """Begin anew without a word, as after a kill."""
        await self.store.close()
        return await Kept(self.path, self.now).open()

    async def written(self) -> dict[str, SessionRecord]:
        """Give what the database has."""
        texts = await self.store.run(lambda db: list(db.scalars(select(SessionRow.record))))
        records = [SessionRecord.model_validate_json(text) for text in texts]
        return {record.id: record for record in records}

    def known(self) -> dict[str, SessionRecord]:
        owners = (ADA.name, BEN.name)
        found = [each for owner in owners for each in self.registry.of(owner, ended=True)]
        return {record.id: record for record in found}

    def lose(self) -> None:
        """Delete the database under the running manager."""
        for file in self.path.parent.glob(f"{self.path.name}*"):
            file.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that every writer needs."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    found = await Kept(tmp_path / "sessions.sqlite").open()
    yield found
    await found.store.close()


async def test_what_was_known_is_known_to_the_next_manager(kept: Kept) -> None:
    first = recorded(1, url="https://hub.example.org/user/ada/x/")
    assert await kept.registry.add(first)
    changed = await kept.registry.change(
        first.id,
        name="of the night",
        ends=first.ends + timedelta(days=1),
        ready=NOW,
        warned=3600,
        peak_cores=Decimal("1.25"),
        peak_memory=2**33,
    )
    await kept.registry.add_job(job(2, BEN), most=5)
    over = await kept.registry.end(
        session_id(2), reason=Reason.PROGRAM_FAILED, at=NOW, exit_code=3, detail="exit 3"
    )
    assert over is not None
    found = await kept.again()
    assert found.registry.get(first.id) == changed
    assert found.registry.by_launch(over.launch) == over
    assert found.registry.live() == (changed,)
    assert found.registry.of("ben") == ()
    assert found.registry.of("ben", ended=True) == (over,)
    await found.store.close()


async def test_a_session_is_taken_up_once(kept: Kept) -> None:
    record = recorded(1)
    answers = await asyncio.gather(*(kept.registry.add(record) for _ in range(20)))
    assert sorted(answers) == [False] * 19 + [True]
    again = record.model_copy(
        update={"plan": record.plan.model_copy(update={"session": SessionId("other123")})}
    )
    assert not await kept.registry.add(again), "a launch belongs to one session"
    assert kept.told == [(record.id, "added")]


async def test_what_ended_long_ago_does_not_begin_again(kept: Kept) -> None:
    record = recorded(1)
    await kept.registry.add(record)
    await kept.registry.end(record.id, reason=Reason.STOPPED, at=kept.now)
    kept.now += timedelta(days=2)
    await kept.registry.tidy()
    assert kept.registry.get(record.id) is None
    assert not await kept.registry.add(record)
    assert (await kept.written())[record.id].ended == NOW


async def test_an_end_comes_once_and_what_was_told_counts(kept: Kept) -> None:
    record = recorded(1)
    await kept.registry.add(record)
    await kept.registry.change(record.id, ending=Reason.EXPIRED, ending_by="lifetimes")
    ends = await asyncio.gather(
        *(
            kept.registry.end(record.id, reason=reason, at=NOW, exit_code=143)
            for reason in (Reason.PROGRAM_FAILED, Reason.STOPPED, Reason.NODE_LOST)
        )
    )
    (over,) = [each for each in ends if each is not None]
    assert (over.reason, over.exit_code, over.ending_by) == (Reason.EXPIRED, 143, "lifetimes")
    assert [what for _, what in kept.told].count("ended") == 1
    assert await kept.registry.end("nosuchid", reason=Reason.STOPPED, at=NOW) is None
    with pytest.raises(KeyError):
        await kept.registry.change("nosuchid", name="x")


async def test_exactly_as_many_jobs_as_are_allowed(kept: Kept) -> None:
    """Interactive sessions, ended jobs and those of others are not counted."""
    await kept.registry.add(recorded(900))
    await kept.registry.add_job(job(901, BEN), most=3)
    await kept.registry.add_job(job(902), most=3)
    await kept.registry.end(session_id(902), reason=Reason.FINISHED, at=NOW)
    results = await asyncio.gather(
        *(kept.registry.add_job(job(number), most=3) for number in range(50)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, LimitReached)]
    assert (results.count(None), len(refused)) == (3, 47)
    assert "3 of 3" in refused[0].sentence
    live = {record.id for record in kept.registry.live() if not record.interactive}
    assert len(live - {session_id(901)}) == 3
    rows = await kept.written()
    assert {each for each, record in rows.items() if record.live and not record.interactive} == live


async def test_who_listens_badly_harms_nobody(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    def listen(_record: SessionRecord, _what: str) -> None:
        raise RuntimeError("no")

    kept.registry.subscribe(listen)
    after: list[str] = []
    kept.registry.subscribe(lambda _record, what: after.append(what))
    await kept.registry.add(recorded(1))
    assert after == ["added"]
    assert "came to grief" in caplog.text


async def test_a_locked_database_keeps_nothing_but_new_jobs_waiting(kept: Kept) -> None:
    record = recorded(1)
    await kept.registry.add(record)
    await kept.registry.add_job(job(2), most=9)
    with locked(kept.path):
        renewed = await kept.registry.change(record.id, ends=record.ends + timedelta(days=1))
        over = await kept.registry.end(session_id(2), reason=Reason.FINISHED, at=NOW)
        assert await kept.registry.add(recorded(3))
        with pytest.raises(Unavailable):
            await kept.registry.add_job(job(4), most=9)
        assert kept.registry.get(session_id(4)) is None
        assert kept.registry.get(record.id) == renewed
    assert (await kept.written())[record.id] == record
    assert await kept.registry.flush()
    rows = await kept.written()
    assert (rows[record.id], rows[session_id(2)]) == (renewed, over)
    assert set(rows) == {record.id, session_id(2), session_id(3)}


async def test_nobody_waits_for_a_lock_more_than_twice(kept: Kept) -> None:
    for number in range(30):
        await kept.registry.add(recorded(number))
    tries: list[None] = []
    run = kept.store.run

    async def counted(work: Any) -> Any:
        tries.append(None)
        return await run(work)

    kept.store.run = counted  # type: ignore[method-assign]
    with locked(kept.path):
        await asyncio.gather(
            *(kept.registry.change(session_id(number), detail="x") for number in range(30))
        )
    assert 1 <= len(tries) <= 2
    assert await kept.registry.flush()
    assert await kept.written() == kept.known()


async def test_a_job_is_not_counted_twice_because_its_end_waits(kept: Kept) -> None:
    await kept.registry.add_job(job(1), most=1)
    with locked(kept.path):
        await kept.registry.end(session_id(1), reason=Reason.FINISHED, at=NOW)
    await kept.registry.add_job(job(2), most=1)
    with pytest.raises(LimitReached):
        await kept.registry.add_job(job(3), most=1)


async def test_a_lost_database_is_written_again_from_memory(kept: Kept) -> None:
    for number in range(5):
        await kept.registry.add(recorded(number))
    await kept.registry.end(session_id(0), reason=Reason.STOPPED, at=NOW)
    before = kept.known()
    kept.lose()
    changed = await kept.registry.change(session_id(3), name="after")
    assert await kept.written() == {**before, changed.id: changed}
    found = await kept.again()
    assert found.known() == {**before, changed.id: changed}
    await found.store.close()


async def test_a_lost_database_permits_no_more_jobs_than_before(kept: Kept) -> None:
    await kept.registry.add_job(job(1), most=2)
    kept.lose()
    results = await asyncio.gather(
        *(kept.registry.add_job(job(number), most=2) for number in range(2, 22)),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert len([each for each in results if isinstance(each, LimitReached)]) == 19
    await kept.registry.flush()
    assert await kept.written() == kept.known()


async def test_a_lost_database_is_noticed_where_nothing_changes(kept: Kept) -> None:
    await kept.registry.add(recorded(1))
    kept.lose()
    await kept.registry.tidy()
    assert await kept.written() == kept.known()


async def test_what_was_heard_before_the_database_could_be_read_is_joined(kept: Kept) -> None:
    record = recorded(1)
    await kept.registry.add(record)
    named = await kept.registry.change(
        record.id, name="hers", ends=record.ends + timedelta(days=2), qos="Burstable"
    )
    await kept.registry.add(recorded(2))
    await kept.store.close()
    late = Kept(kept.path)
    with locked(kept.path):
        assert await late.registry.add(record.model_copy(update={"node": "n1"}))
        over = await late.registry.end(record.id, reason=Reason.OUT_OF_MEMORY, at=NOW)
        assert over is not None
    await late.open()
    joined = late.registry.get(record.id)
    assert joined is not None
    assert joined == named.model_copy(
        update={"node": "n1", "ended": NOW, "reason": Reason.OUT_OF_MEMORY}
    )
    assert late.registry.get(session_id(2)) is not None
    assert await late.registry.flush()
    assert (await late.written())[record.id] == joined
    kept.store = late.store


async def test_a_record_that_cannot_be_read_hides_no_other(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        await kept.registry.add(recorded(number))

    def spoil(db: Any) -> None:
        db.get(SessionRow, session_id(1)).record = '{"plan": "of another age"}'

    await kept.store.run(spoil)
    found = await kept.again()
    assert set(found.known()) == {session_id(0), session_id(2)}
    assert "cannot be read" in caplog.text
    await found.store.close()


async def test_what_ended_is_remembered_for_a_day(kept: Kept) -> None:
    record = recorded(1)
    await kept.registry.add(record)
    await kept.registry.end(record.id, reason=Reason.STOPPED, at=kept.now)
    kept.registry.evidence[record.launch] = Evidence(life=Life.ENDED)
    kept.now += timedelta(hours=23, minutes=59)
    await kept.registry.tidy()
    assert kept.registry.get(record.id) is not None
    kept.now += timedelta(minutes=2)
    await kept.registry.tidy()
    assert kept.registry.get(record.id) is None
    assert kept.registry.by_launch(record.launch) is None
    assert kept.registry.of("ada", ended=True) == ()
    assert record.launch not in kept.registry.evidence
    assert record.id in await kept.written(), "the history has it longer"


async def test_what_is_not_written_yet_is_not_let_go_of(kept: Kept) -> None:
    record = recorded(1)
    await kept.registry.add(record)
    with locked(kept.path):
        await kept.registry.end(record.id, reason=Reason.STOPPED, at=kept.now)
        kept.now += timedelta(days=2)
        await kept.registry.tidy()
        assert kept.registry.get(record.id) is not None
    await kept.registry.tidy()
    assert kept.registry.get(record.id) is None
    assert (await kept.written())[record.id].ended == NOW


async def test_the_newest_come_first(kept: Kept) -> None:
    for number in range(4):
        await kept.registry.add(recorded(number, asked=NOW - timedelta(hours=number)))
    assert [each.id for each in kept.registry.of("ada")] == list(map(session_id, range(4)))


async def test_what_is_not_known_of_a_session_is_not_made_up(kept: Kept) -> None:
    waiting, running = job(1), recorded(2, begun=True)
    await kept.registry.add_job(waiting, most=5)
    await kept.registry.add(running)
    assert kept.registry.evidence_of(waiting).life is Life.STARTING
    assert kept.registry.evidence_of(running).life is Life.UNKNOWN
    over = await kept.registry.end(
        running.id, reason=Reason.NODE_LOST, at=NOW, detail="n1", exit_code=None
    )
    assert over is not None
    evidence = kept.registry.evidence_of(over)
    assert (evidence.life, evidence.reason, evidence.detail) == (
        Life.ENDED,
        Reason.NODE_LOST,
        "n1",
    )


@pytest.mark.parametrize("text", ["half of \ud800", "nothing \0 here", "\U0001f30c\n\x1b[2J"])
async def test_whatever_a_program_reports_can_be_kept(kept: Kept, text: str) -> None:
    await kept.registry.add(recorded(1))
    await kept.registry.change(session_id(1), node=text)
    await kept.registry.end(session_id(1), reason=Reason.PROGRAM_FAILED, at=NOW, detail=text)
    assert await kept.registry.flush()
    assert await kept.written() == kept.known()
    (record,) = kept.known().values()
    assert "\0" not in record.detail
    assert record.reason is Reason.PROGRAM_FAILED


async def test_what_never_came_to_be_is_taken_back(kept: Kept) -> None:
    record = recorded(1)
    await kept.registry.add(record)
    await kept.registry.drop(record.id)
    await kept.registry.drop(record.id)
    assert kept.known() == await kept.written() == {}
    assert await kept.registry.add(record)


DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("submit"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("change"), st.integers(0, 5), st.text(max_size=8)),
        st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from(list(Reason))),
        st.tuples(st.sampled_from(["lose", "again", "lock", "free"]), st.just(0), st.just(None)),
    ),
    max_size=25,
)


class Deeds:
    """Does everything, with and without a database that can be written, and says what must be."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.other: sqlite3.Connection | None = None

    async def add(self, number: int, word: Any) -> None:
        known = self.kept.registry.get(session_id(number))
        added = await self.kept.registry.add(recorded(number, BEN if word else ADA))
        assert added is (known is None)

    async def submit(self, number: int, most: Any) -> None:
        if self.kept.registry.get(session_id(number)) is not None:
            return
        live = sum(not each.interactive for each in self.kept.registry.of("ada"))
        try:
            await self.kept.registry.add_job(job(number), most=most)
        except LimitReached:
            assert live >= most
        except Unavailable:
            assert self.other is not None
        else:
            assert live < most

    async def change(self, number: int, word: Any) -> None:
        if self.kept.registry.get(session_id(number)) is not None:
            await self.kept.registry.change(session_id(number), detail=word)

    async def end(self, number: int, reason: Any) -> None:
        known = self.kept.registry.get(session_id(number))
        over = await self.kept.registry.end(session_id(number), reason=reason, at=NOW)
        assert (over is not None) is (known is not None and known.live)

    async def lose(self, *_: Any) -> None:
        await self.free()
        self.kept.lose()

    async def again(self, *_: Any) -> None:
        await self.free()
        # What is not written is lost with the process.
        await self.kept.registry.tidy()
        before = self.kept.known()
        self.kept = await self.kept.again()
        assert self.kept.known() == before

    async def lock(self, *_: Any) -> None:
        if self.other is None and self.kept.path.exists():
            self.other = sqlite3.connect(self.kept.path, isolation_level=None)
            self.other.execute("BEGIN IMMEDIATE")

    async def free(self, *_: Any) -> None:
        if self.other is not None:
            self.other.close()
        self.other = None


@settings(max_examples=25, deadline=None)
@given(deeds=DEEDS)
def test_memory_and_database_come_to_agree_whatever_happens(
    deeds: list[tuple[str, int, Any]],
) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as name:
            kept = await Kept(Path(name) / "sessions.sqlite").open()
            deeds_of = Deeds(kept)
            for deed, number, word in deeds:
                await getattr(deeds_of, deed)(number, word)
            await deeds_of.free()
            kept = deeds_of.kept
            await kept.registry.tidy()
            assert await kept.registry.flush()
            assert await kept.written() == kept.known()
            await kept.store.close()

    asyncio.run(check())
