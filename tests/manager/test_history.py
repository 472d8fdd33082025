"""What is kept of sessions, found again, and forgotten in time."""

from __future__ import annotations

import base64
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from canfar_spawner.core.errors import Invalid, Unavailable
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.retention import Retention
from canfar_spawner.core.status import Reason
from canfar_spawner.manager.history import MOST, History, plan_digest
from canfar_spawner.manager.milestones import Milestone, Step, milestones
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.shares import Deed, How, Line, Share
from canfar_spawner.manager.sharing_book import SharingBook
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.tables import AuditRow, EventRow, SessionRow, ShareRow
from tests.core.world import BEN, NOW
from tests.manager.recorded import job, recorded, session_id

LOG = logging.getLogger("tests.manager.history")
DAY = timedelta(days=1)


@dataclass
class Past:
    """A history over a file, with a clock that a test moves."""

    data: Path
    now: datetime = NOW
    retention: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        self.store = Store(f"sqlite:///{self.data / 'sessions.sqlite'}", log=LOG, busy=0.05)
        self.registry = Registry(self.store, clock=lambda: self.now, log=LOG)
        self.history = History(
            store=self.store,
            registry=self.registry,
            policy=lambda: self.retention,
            logs=self.data / "logs",
            clock=lambda: self.now,
            log=LOG,
        )

    async def open(self) -> Past:
        await self.store.open()
        await self.registry.load()
        self.history.load()
        return self

    async def again(self) -> Past:
        await self.store.close()
        return await Past(self.data, self.now, self.retention).open()

    async def lived(self, number: int, *, begin: datetime, length: timedelta) -> None:
        """Have a session live and end."""
        await self.registry.add(recorded(number, asked=begin))
        await self.registry.end(session_id(number), reason=Reason.STOPPED, at=begin + length)

    async def steps(self, session: str) -> list[Step]:
        story = await self.history.of(session)
        assert story is not None
        return [each.step for each in story.milestones]

    async def rows(self) -> list[int]:
        """Count what the database has: sessions, events, shares and lines of the audit."""
        tables = (SessionRow, EventRow, ShareRow, AuditRow)
        return await self.store.run(
            lambda db: [db.scalar(select(func.count()).select_from(each)) or 0 for each in tables]
        )


@pytest.fixture
async def past(tmp_path: Path) -> AsyncIterator[Past]:
    found = await Past(tmp_path).open()
    yield found
    await found.store.close()


async def test_the_way_of_a_session_is_kept(past: Past) -> None:
    record = recorded(1, begun=True)
    await past.registry.add(record)
    past.now += timedelta(seconds=5)
    await past.registry.change(record.id, node="n1")
    await past.registry.change(record.id, ready=past.now)
    past.now += timedelta(hours=1)
    await past.registry.change(record.id, name="of the night")
    await past.registry.change(record.id, ends=record.ends + DAY)
    await past.registry.change(record.id, warned=3600)
    past.now += timedelta(hours=1)
    await past.registry.change(record.id, ending=Reason.EXPIRED, ending_by="lifetimes")
    await past.registry.end(record.id, reason=Reason.PROGRAM_FAILED, at=past.now, detail="exit 1")
    await past.history.flush()
    found = await past.again()
    story = await found.history.of(record.id)
    assert story is not None
    told = [(each.step, each.detail, each.reason, each.by) for each in story.milestones]
    assert told == [
        (Step.ASKED, "", Reason.NONE, "ada"),
        (Step.PLACED, "n1", Reason.NONE, ""),
        (Step.READY, "", Reason.NONE, ""),
        (Step.RENAMED, "of the night", Reason.NONE, ""),
        (Step.EXTENDED, (record.ends + DAY).isoformat(), Reason.NONE, ""),
        (Step.WARNED, "3600 s before the end", Reason.NONE, ""),
        (Step.ENDING, "", Reason.EXPIRED, "lifetimes"),
        (Step.ENDED, "exit 1", Reason.EXPIRED, "lifetimes"),
    ]
    assert story.record == found.registry.get(record.id)
    assert [each.at for each in story.milestones] == sorted(each.at for each in story.milestones)
    await found.store.close()


async def test_a_job_that_begins_says_so(past: Past) -> None:
    record = job(1)
    await past.registry.add_job(record, most=5)
    await past.registry.change(record.id, begun=True)
    assert await past.steps(record.id) == [Step.ASKED, Step.BEGUN]


async def test_the_next_manager_goes_on_where_this_one_was(past: Past) -> None:
    record = recorded(1)
    await past.registry.add(record)
    await past.history.flush()
    found = await past.again()
    found.now += timedelta(minutes=1)
    await found.registry.change(record.id, name="later")
    assert await found.steps(record.id) == [Step.ASKED, Step.RENAMED]
    await found.store.close()


async def test_what_was_not_written_before_a_kill_is_known_from_the_record(past: Past) -> None:
    record = recorded(1)
    await past.registry.add(record)
    await past.registry.change(record.id, ready=NOW + timedelta(seconds=3))
    await past.registry.end(record.id, reason=Reason.STOPPED, at=NOW + timedelta(seconds=9))
    found = await past.again()
    assert (await found.rows())[1] == 0
    assert await found.steps(record.id) == [Step.ASKED, Step.READY, Step.ENDED]
    await found.store.close()


async def test_told_twice_it_is_there_once(past: Past) -> None:
    record = recorded(1)
    await past.registry.add(record)
    await past.history.flush()
    for step in milestones(None, record, NOW):
        past.history._waiting.append(step)
    assert await past.history.flush()
    assert await past.steps(record.id) == [Step.ASKED]


async def test_while_the_database_is_locked_the_way_waits(past: Past) -> None:
    record = recorded(1)
    await past.registry.add(record)
    other = sqlite3.connect(past.data / "sessions.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await past.registry.change(record.id, name="meanwhile")
    assert not await past.history.flush()
    other.close()
    assert await past.history.flush()
    assert await past.steps(record.id) == [Step.ASKED, Step.RENAMED]


async def test_a_history_that_cannot_be_read_is_not_an_empty_one(past: Past) -> None:
    await past.registry.add(recorded(1))
    aside = past.data.with_name("aside")
    past.data.rename(aside)
    with pytest.raises(Unavailable):
        await past.history.find("ada")
    with pytest.raises(Unavailable):
        await past.history.of(session_id(1))
    aside.rename(past.data)
    assert len((await past.history.find("ada")).sessions) == 1


async def test_shares_and_the_audit_belong_to_it(past: Past) -> None:
    record = recorded(1)
    await past.registry.add(record)
    book = SharingBook(past.store)
    share = Share(
        id="a1",
        session=record.id,
        owner="ada",
        how=How.PERSON,
        whom="ben",
        until=NOW + DAY,
        made=NOW,
        by="ada",
    )
    line = Line(at=NOW, session=record.id, owner="ada", by="ada", deed=Deed.SHARED, whom="ben")
    await book.keep(share)
    await book.note([line])
    story = await past.history.of(record.id)
    assert story is not None
    assert (story.shares, story.audit) == ((share,), (line,))
    assert await past.history.of("nosuchid") is None


async def test_pages_have_every_session_once_also_while_others_come(past: Past) -> None:
    for number in range(25):
        # Some were asked for at the same moment.
        await past.registry.add(recorded(number, asked=NOW + timedelta(seconds=number // 4)))
    await past.registry.add(recorded(100, BEN))
    seen: list[str] = []
    cursor = ""
    for page_number in range(6):
        page = await past.history.find("ada", cursor=cursor, most=5)
        seen += [each.id for each in page.sessions]
        # What comes later is on no later page.
        await past.registry.add(recorded(200 + page_number, asked=NOW + DAY))
        cursor = page.cursor
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 25
    asked = {session_id(number): number // 4 for number in range(25)}
    assert [asked[each] for each in seen] == sorted(asked.values(), reverse=True)


async def test_everybodys_are_found_by_whoever_may_ask(past: Past) -> None:
    await past.registry.add(recorded(1))
    await past.registry.add(recorded(2, BEN))
    assert {each.owner for each in (await past.history.find(None)).sessions} == {"ada", "ben"}
    assert [each.owner for each in (await past.history.find("ben")).sessions] == ["ben"]


async def test_a_page_is_never_larger_than_is_bearable(past: Past) -> None:
    for number in range(3):
        await past.registry.add(recorded(number))
    assert len((await past.history.find("ada", most=0)).sessions) == 1
    assert len((await past.history.find("ada", most=10**9)).sessions) == 3
    assert MOST < 10**4


async def test_a_time_finds_what_lived_in_it(past: Past) -> None:
    await past.lived(1, begin=NOW - 10 * DAY, length=2 * DAY)
    await past.lived(2, begin=NOW - 5 * DAY, length=2 * DAY)
    await past.registry.add(recorded(3, asked=NOW - DAY))

    async def found(since: int | None, until: int | None) -> set[int]:
        page = await past.history.find(
            "ada",
            since=None if since is None else NOW + since * DAY,
            until=None if until is None else NOW + until * DAY,
        )
        return {
            number for number in (1, 2, 3) if session_id(number) in {e.id for e in page.sessions}
        }

    assert await found(None, None) == {1, 2, 3}
    assert await found(-9, -9) == {1}, "it lived on that day"
    assert await found(-7, -6) == set()
    assert await found(-4, None) == {2, 3}
    assert await found(None, -5) == {1, 2}
    assert await found(1, 2) == {3}, "it lives still"


async def test_a_kind_finds_its_own(past: Past) -> None:
    await past.registry.add(recorded(1))
    await past.registry.add_job(job(2), most=5)
    for kind, number in ((SessionKind.NOTEBOOK, 1), (SessionKind.HEADLESS, 2)):
        page = await past.history.find("ada", kind=kind)
        assert [each.id for each in page.sessions] == [session_id(number)]
    assert (await past.history.find("ada", kind=SessionKind.CARTA)).sessions == ()


@given(
    cursor=st.one_of(
        st.text(min_size=1),
        st.binary(min_size=1).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    )
)
def test_a_cursor_of_ones_own_making_is_refused_or_harmless(cursor: str) -> None:
    from canfar_spawner.manager.history import _place

    try:
        at, session = _place(cursor)
    except Invalid:
        return
    assert at.tzinfo is not None
    assert isinstance(session, str)


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        _cursor(f"0001-01-01T00:00:00+23:59 {session_id(1)}"),
        _cursor(f"9999-12-31T23:59:59-23:59 {session_id(1)}"),
        _cursor(f"{NOW.isoformat()} s\x00234567"),
        _cursor(f"{NOW.isoformat()} {session_id(1)}x"),
        _cursor(NOW.isoformat()),
    ],
)
async def test_a_cursor_that_no_answer_gave_does_the_database_no_harm(
    past: Past, cursor: str
) -> None:
    await past.registry.add(recorded(1))
    with pytest.raises(Invalid, match="an earlier answer gave") as told:
        await past.history.find("ada", cursor=cursor)
    assert told.value.field == "cursor"
    assert past.store.problem == ""


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
async def test_a_cursor_at_the_edge_of_time_is_one(past: Past, at: str) -> None:
    await past.registry.add(recorded(1))
    for zone in ("", "Z"):
        page = await past.history.find("ada", cursor=_cursor(f"{at}{zone} {session_id(1)}"))
        assert len(page.sessions) == (at > "1")
    assert past.store.problem == ""


@pytest.mark.parametrize("session", ["s\x00234567", "", "S2345678", "s23456789", "s2345678\n"])
async def test_what_is_no_id_is_no_session_and_is_not_asked_of_the_database(
    past: Past, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes whatever it is given, PostgreSQL does not."""

    async def asked(*_: object) -> None:
        pytest.fail("the database was asked")

    monkeypatch.setattr(past.store, "run", asked)
    assert await past.history.of(session) is None


async def test_values_of_variables_are_nowhere(past: Past) -> None:
    record = recorded(1, options={"env": {"KEY_TO_THE_ARCHIVE": "open sesame 7f3a"}})
    await past.registry.add(record)
    await past.history.flush()
    await past.store.close()
    data = b"".join(path.read_bytes() for path in past.data.glob("sessions.sqlite*"))
    assert b"KEY_TO_THE_ARCHIVE" in data
    assert b"sesame" not in data


def test_the_digest_of_a_plan_changes_with_the_plan() -> None:
    one, other = recorded(1), recorded(1, options={"cores": 2, "memory": 4, "mode": "fixed"})
    assert plan_digest(one) == plan_digest(one.model_copy(update={"name": "renamed"}))
    assert plan_digest(one) != plan_digest(other)


async def test_what_is_old_is_forgotten_and_what_is_not_is_kept(past: Past) -> None:
    past.retention = Retention(sessions=100 * DAY, events=50 * DAY, audit=70 * DAY)
    book = SharingBook(past.store)
    ages = {1: 101, 2: 99, 3: 71, 4: 51, 5: 3}
    for number, age in ages.items():
        ended = NOW - age * DAY
        await past.lived(number, begin=ended - timedelta(hours=1), length=timedelta(hours=1))
        await book.note(
            [
                Line(
                    at=ended,
                    session=session_id(number),
                    owner="ada",
                    by="ada",
                    deed=Deed.ENDED,
                )
            ]
        )
        await book.keep(
            Share(
                id=f"a{number}",
                session=session_id(number),
                owner="ada",
                how=How.GROUP,
                whom="skies",
                until=ended,
                made=ended - timedelta(hours=1),
                by="ada",
                over=ended,
            )
        )
    await past.registry.add(recorded(6, asked=NOW - 365 * DAY))
    await past.history.flush()
    assert await past.rows() == [6, 11, 5, 5]
    assert await past.history.sweep() == 1
    # Sessions 2 to 6; events of 5 alone and none of 6, which is a year old; shares and audit of
    # 4 and 5, and of 2 and 3 none.
    assert await past.rows() == [5, 2, 2, 2]
    assert await past.steps(session_id(2)) == [Step.ASKED, Step.ENDED], "as its record tells"
    assert await past.history.of(session_id(1)) is None
    assert past.registry.get(session_id(6)) is not None
    assert await past.history.sweep() == 0


async def test_very_many_are_forgotten_in_parts(past: Past) -> None:
    def fill(db):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        text = recorded(0).model_dump_json()
        for number in range(1200):
            session = session_id(number)
            db.add(
                SessionRow(
                    id=session,
                    launch=f"{session}-x",
                    owner="ada",
                    kind="notebook",
                    asked=NOW - 800 * DAY,
                    ended=NOW - 799 * DAY,
                    record=text,
                )
            )

    await past.store.run(fill)
    assert await past.history.sweep() == 1200
    assert (await past.rows())[0] == 0


async def test_logs_go_when_their_time_is_over(past: Past) -> None:
    past.retention = Retention(logs=7 * DAY)
    logs = past.data / "logs"
    logs.mkdir()
    for name, age in (("old.log", 8), ("new.log", 6), ("half.new", 9)):
        (logs / name).write_text("x")
        then = (NOW - age * DAY).timestamp()
        os.utime(logs / name, (then, then))
    await past.history.sweep()
    assert [path.name for path in logs.iterdir()] == ["new.log"]


async def test_where_there_are_no_logs_nothing_is_swept(past: Past) -> None:
    assert await past.history.sweep() == 0


async def test_more_than_can_wait_is_bounded(past: Past) -> None:
    waiting = past.history._waiting
    assert waiting.maxlen is not None
    one = Milestone(
        launch=recorded(1).launch, session=session_id(1), owner="ada", at=NOW, step=Step.RENAMED
    )
    for number in range(waiting.maxlen + 10):
        waiting.append(one.model_copy(update={"detail": str(number)}))
    assert len(past.history._waiting) == waiting.maxlen
