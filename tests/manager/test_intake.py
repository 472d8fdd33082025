"""What hub and sessions tell, in whatever order and how often they tell it."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from canfar_spawner.core.errors import Invalid, NotYours
from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.manager.hubapi import Caller
from canfar_spawner.manager.records import SessionRecord
from tests.core.world import BEN
from tests.manager.parts import Parts, event

URL = "http://hub.example.org/user/ada/"


def asked(parts: Parts, plan: SessionPlan) -> SessionEvent:
    return event(plan, What.ASKED, parts.clock(), plan=plan, url=URL)


def story(parts: Parts, plan: SessionPlan) -> list[SessionEvent]:
    """Give all events of a session that runs out of memory."""
    at = parts.clock()
    return [
        asked(parts, plan),
        event(plan, What.PHASE, at, phase=Phase.STARTING),
        event(plan, What.READY, at + timedelta(seconds=9)),
        event(
            plan,
            What.ENDED,
            at + timedelta(seconds=99),
            reason=Reason.OUT_OF_MEMORY,
            detail="8 GB",
            exit_code=137,
        ),
    ]


def told(record: SessionRecord) -> tuple[object, ...]:
    return record.url, record.ready, record.ended, record.reason, record.detail, record.exit_code


async def test_a_session_is_known_from_its_events(parts: Parts) -> None:
    plan = parts.plan()
    at = parts.clock()
    await parts.tell(*story(parts, plan))
    record = parts.record(plan.session)
    assert record.plan == plan
    assert told(record) == (
        URL,
        at + timedelta(seconds=9),
        at + timedelta(seconds=99),
        Reason.OUT_OF_MEMORY,
        "8 GB",
        137,
    )


async def test_in_any_order_and_twice_it_is_the_same(parts: Parts) -> None:
    expected = None
    for order in itertools.permutations(range(4)):
        plan = parts.plan()
        events = story(parts, plan)
        for index in order:
            await parts.tell(events[index], events[index])
        await parts.tell(*events)
        found = told(parts.record(plan.session))
        expected = expected or found
        assert found == expected, order


async def test_what_the_hub_has_seen_counts_until_the_first_look(parts: Parts) -> None:
    plan = parts.plan()
    begun, _, ready, _ = story(parts, plan)
    await parts.tell(begun)
    assert parts.registry.evidence_of(parts.record(plan.session)).life is Life.STARTING
    await parts.tell(ready)
    assert parts.registry.evidence_of(parts.record(plan.session)).life is Life.RUNNING
    # What the back end said itself is not overruled.
    gone = Evidence(life=Life.ENDED, reason=Reason.FINISHED)
    parts.registry.evidence[plan.launch] = gone
    await parts.tell(begun, ready)
    assert parts.registry.evidence_of(parts.record(plan.session)) == gone


async def test_an_end_is_written_once(parts: Parts) -> None:
    plan = parts.plan()
    ends: list[SessionRecord] = []
    parts.registry.subscribe(lambda record, what: ends.append(record) if what == "ended" else None)
    events = story(parts, plan)
    await parts.tell(*events)
    parts.clock.go(100)
    await parts.tell(event(plan, What.ENDED, parts.clock(), reason=Reason.FINISHED))
    assert [record.reason for record in ends] == [Reason.OUT_OF_MEMORY]


async def test_a_session_that_ended_comes_to_no_life_again(parts: Parts) -> None:
    """Its first event is delivered again, days after its record has left the memory."""
    plan = parts.plan()
    await parts.tell(*story(parts, plan))
    parts.clock.go(timedelta(days=3))
    later = parts.again()
    await later.open()
    await later.tell(*story(parts, plan)[:2])
    assert later.registry.live() == ()
    await later.close()


async def test_events_of_an_earlier_form_are_no_mistake(parts: Parts) -> None:
    plan = parts.plan()
    await parts.tell(event(plan, What.ASKED, parts.clock()))
    assert parts.registry.live() == ()
    await parts.tell(asked(parts, plan))
    assert parts.record(plan.session).url == URL


async def test_somebody_elses_plan_is_not_taken(parts: Parts) -> None:
    plan, other = parts.plan(), parts.plan(BEN)
    await parts.tell(event(plan, What.ASKED, parts.clock(), plan=other))
    assert parts.registry.live() == ()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"events": None, "identities": 3, "activity": []},
        {"events": [None, 7, "x", [], {}, {"launch": "x"}], "identities": [None, [], {"name": 1}]},
        {"epoch": 5, "cursor": "x", "activity": {"a": None, "b": "yesterday", "s0000000": 5}},
        {"events": [{"what": "of tomorrow"}], "new": {"of": "tomorrow"}},
    ],
    ids=str,
)
async def test_what_cannot_be_read_costs_nothing_else(parts: Parts, body: dict[str, Any]) -> None:
    answer = await parts.intake.events(body)
    assert answer.keys() == {"epoch", "cursor", "news", "more", "resend"}
    plan = parts.plan()
    said = asked(parts, plan).model_dump(mode="json")
    await parts.intake.events({**body, "events": [None, {**said, "of": "tomorrow"}]})
    assert parts.record(plan.session).live


@pytest.mark.parametrize("body", [None, [], "x", 3])
async def test_a_message_is_an_object(parts: Parts, body: Any) -> None:
    with pytest.raises(Invalid):
        await parts.intake.events(body)


async def test_very_much_at_once_is_bounded(parts: Parts) -> None:
    lost = [event(parts.plan(), What.READY, parts.clock()) for _ in range(2500)]
    await parts.tell(*lost)
    await parts.tell(*lost[1000:])
    assert len(parts.intake._early) <= 2000


# Heartbeats.


def session_token(record: SessionRecord, **changes: Any) -> Caller:
    """Give what the token that a session was given may do."""
    base = {
        "name": record.owner,
        "kind": "user",
        "scopes": frozenset(
            {
                f"users:activity!user={record.owner}",
                f"access:servers!server={record.owner}/{record.id}",
            }
        ),
        "token": "x",
    }
    return Caller.model_validate({**base, **changes})


BEAT = {
    "activity": "2026-11-01T12:00:00Z",
    "busy_kernels": 1,
    "terminals_busy": 2,
    "visitors": [{"name": "ben", "since": "2026-11-01T11:00:00Z"}],
    "scratch": {"files": 14, "bytes": 2_300_000_000, "complete": True},
}


async def test_a_session_tells_of_itself(parts: Parts) -> None:
    session = await parts.launch()
    heard: list[str] = []
    parts.intake.heard.append(lambda record, _: heard.append(record.id))
    parts.intake.heartbeat(session_token(session), BEAT)
    beat = parts.intake.last_beat(session.id)
    assert beat is not None
    assert (beat.busy_kernels, beat.visitors[0].name) == (1, "ben")
    assert heard == [session.id]
    scratch = parts.intake.scratch(session)
    assert scratch is not None
    assert scratch.files == 14
    parts.clock.go(600)
    assert parts.intake.last_beat(session.id) is None
    assert parts.intake.scratch(session) is None


async def test_only_its_own_token_tells_of_a_session(parts: Parts) -> None:
    session, other = await parts.launch(), await parts.launch(BEN)
    mine = f"access:servers!server=ada/{session.id}"
    strangers = [
        session_token(session, name="ben"),
        session_token(session, scopes=frozenset()),
        session_token(session, scopes=frozenset({"access:servers!user=ada"})),
        session_token(session, scopes=frozenset({"access:servers"})),
        session_token(session, scopes=frozenset({mine, "access:servers!user=ada"})),
        session_token(session, scopes=frozenset({mine, f"access:servers!server=ada/{other.id}"})),
        session_token(session, scopes=frozenset({f"access:servers!server=ben/{other.id}"})),
        session_token(session, scopes=frozenset({"access:servers!server=ada/"})),
        session_token(session, scopes=frozenset({f"access:servers!server=ada/{session.id}/x"})),
        session_token(session, scopes=frozenset({"custom:canfar:session!user=ada"})),
    ]
    for caller in strangers:
        with pytest.raises(NotYours):
            parts.intake.heartbeat(caller, BEAT)
    assert parts.intake.last_beat(session.id) is None
    assert parts.intake.last_beat(other.id) is None


async def test_a_heartbeat_proves_no_life(parts: Parts) -> None:
    session = await parts.launch()
    parts.backend.end(session.launch)
    await parts.observer.look()
    parts.intake.heartbeat(session_token(session), BEAT)
    await parts.observer.look()
    assert parts.registry.evidence_of(parts.record(session.id)).life == "ended"
    await parts.hub_tells_end(session)
    assert parts.intake.last_beat(session.id) is None
    with pytest.raises(NotYours):
        parts.intake.heartbeat(session_token(session), BEAT)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {"activity": "yesterday"},
        {"activity": "9999-99-99T00:00:00Z"},
        {"activity": "0001-01-01T00:00:00+23:59"},
        {"visitors": [{"name": "ben", "since": "0001-01-01T00:00:00+23:59"}]},
        {"visitors": [{"name": "ben", "since": "9999-12-31T23:59:59-23:59"}]},
        {"busy_kernels": -1},
        {"busy_kernels": 10**12},
        {"terminals_busy": "many"},
        {"visitors": [{"name": "", "since": "2026-11-01T11:00:00Z"}]},
        {"visitors": [{"name": "x" * 300, "since": "2026-11-01T11:00:00Z"}]},
        {"visitors": [{"name": "ben"}]},
        {"visitors": [{"name": "ben", "since": "2026-11-01T11:00:00Z"}] * 201},
        {"scratch": {"files": 1}},
        {"scratch": {"files": 1, "bytes": 2**70}},
    ],
    ids=lambda body: str(body)[:60],
)
async def test_what_is_no_heartbeat_is_refused_in_a_sentence(parts: Parts, body: Any) -> None:
    session = await parts.launch()
    with pytest.raises(Invalid, match="This is no heartbeat"):
        parts.intake.heartbeat(session_token(session), body)
    assert parts.intake.last_beat(session.id) is None


@pytest.mark.parametrize(
    "since", ["2026-11-01T13:00:00+02:00", "2026-11-01T11:00:00Z", "2026-11-01T11:00:00"]
)
async def test_a_time_in_a_heartbeat_is_one_of_utc(parts: Parts, since: str) -> None:
    session = await parts.launch()
    parts.intake.heartbeat(session_token(session), {"visitors": [{"name": "ben", "since": since}]})
    beat = parts.intake.last_beat(session.id)
    assert beat is not None
    assert beat.visitors[0].since.isoformat() == "2026-11-01T11:00:00+00:00"


async def test_a_heartbeat_of_another_age_is_one(parts: Parts) -> None:
    """Images are frozen for years."""
    session = await parts.launch()
    for body in ({}, {"of": "tomorrow", "busy_kernels": 2}, {"activity": "2026-11-01T12:00:00"}):
        parts.intake.heartbeat(session_token(session), body)
