"""Creates: answered once for each key, judged by the hub, and kept where they come to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from canfar_spawner.core.errors import (
    Invalid,
    LimitReached,
    NotAllowed,
    SessionError,
    StartFailed,
)
from canfar_spawner.core.names import SessionId, session_id
from canfar_spawner.core.request import SessionRequest
from canfar_spawner.core.status import Reason
from canfar_spawner.manager import creates
from canfar_spawner.manager.creates import Creates
from canfar_spawner.manager.hubapi import Caller, HubAway
from canfar_spawner.manager.kept import RefusalBook
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.refusals import Refusals
from tests.core.world import ADA, plan
from tests.manager.parts import LOG, Parts

NOTEBOOK = {"container": "astroml"}
JOB = {"container": "astroml", "kind": "headless", "cmd": "true"}


def caller(name: str = "ada", *scopes: str) -> Caller:
    """Give somebody who may launch."""
    held = scopes or (f"custom:canfar:session!user={name}", f"start:servers!user={name}")
    return Caller(name=name, kind="user", scopes=frozenset(held), token=SecretStr("token"))


@dataclass
class Hub:
    """Answers launches as a test says."""

    parts: Parts
    refuses: SessionError | None = None
    tells: bool = True
    """The ASKED event reaches the manager."""
    known: set[SessionId] = field(default_factory=set)
    launched: list[SessionId] = field(default_factory=list)
    asked: list[Mapping[str, object]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """It answers as long as this is set."""

    def __post_init__(self) -> None:
        self.open.set()

    async def launch(
        self, token: str, owner: str, session: SessionId, options: Mapping[str, object]
    ) -> None:
        assert (token, owner in ("ada", "ben")) == ("token", True)
        self.launched.append(session)
        self.asked.append(options)
        await self.open.wait()
        if self.refuses is not None:
            raise self.refuses
        if self.tells:
            planned = plan(NOTEBOOK).model_copy(
                update={"session": session, "launch": f"{session}-0123456789ab"}
            )
            now = self.parts.clock.now
            await self.parts.registry.add(
                SessionRecord(plan=planned, name="x", asked=now, ends=planned.ends, begun=True)
            )

    async def knows(self, owner: str, session: SessionId) -> bool:
        return bool(owner) and session in self.known


@dataclass
class Desk:
    """What creates need, and what was told too late."""

    creates: Creates
    hub: Hub
    late: list[str]


@pytest.fixture
def desk(parts: Parts) -> Desk:
    """Take creates over a real database."""
    return make_desk(parts)


def make_desk(parts: Parts) -> Desk:
    hub = Hub(parts)
    late: list[str] = []

    async def told(owner: str, request: SessionRequest, error: SessionError) -> None:
        late.append(f"{owner} {request.container}: {error.sentence}")

    made = Creates(
        hub=hub,  # type: ignore[arg-type] # answers the two calls that are made
        jobs=parts.jobs,
        registry=parts.registry,
        identities=parts.identities,
        policy=lambda: parts.policy,
        late=told,
        secret="one",
        clock=parts.clock,
        log=LOG,
    )
    return Desk(made, hub, late)


async def test_a_session_goes_to_the_hub_and_a_job_does_not(parts: Parts, desk: Desk) -> None:
    session = await desk.creates.create(caller(), NOTEBOOK)
    assert desk.hub.launched == [session_id(session)]
    job = await desk.creates.create(caller(), JOB)
    assert desk.hub.launched == [session]
    record = parts.registry.get(job)
    assert record is not None
    assert not record.interactive


async def test_a_job_waits_for_the_hub_to_tell_whose_it_is(parts: Parts, desk: Desk) -> None:
    job = asyncio.ensure_future(desk.creates.create(caller("zoe"), JOB))
    await asyncio.sleep(0)
    assert not job.done()
    zoe = ADA.model_copy(update={"name": "zoe", "uid": 4711})
    await parts.tell(identities=[zoe])
    record = parts.registry.get(await job)
    assert record is not None
    assert record.plan.identity.uid == 4711


async def test_values_of_variables_reach_the_hub_and_no_record(parts: Parts, desk: Desk) -> None:
    session = await desk.creates.create(caller(), {**NOTEBOOK, "env": {"A": "canary-value"}})
    assert desk.hub.asked[0]["env"] == {"A": "canary-value"}
    record = parts.registry.get(session)
    assert record is not None
    assert "canary-value" not in record.model_dump_json()


@pytest.mark.parametrize(
    "scopes",
    [
        ("custom:canfar:session!user=ada",),
        ("start:servers!user=ada",),
        ("custom:canfar:session!user=ben", "start:servers!user=ben"),
        ("custom:canfar:session!server=ada/k3vd81qa", "start:servers!user=ada"),
        ("access:servers!server=ada/k3vd81qa",),
    ],
)
async def test_who_may_not_launch_launches_nothing(
    parts: Parts, desk: Desk, scopes: tuple[str, ...]
) -> None:
    for options in (NOTEBOOK, JOB):
        with pytest.raises(NotAllowed) as refused:
            await desk.creates.create(caller("ada", *scopes), options)
        assert refused.value.status == 403
    assert desk.hub.launched == []
    assert parts.registry.live() == ()


async def test_the_same_key_is_one_session_also_at_once(desk: Desk) -> None:
    for options in (NOTEBOOK, JOB):
        key = str(sorted(options))
        found = await asyncio.gather(
            *(desk.creates.create(caller(), options, key=key) for _ in range(10))
        )
        assert len(set(found)) == 1
        assert await desk.creates.create(caller(), options, key=key) == found[0]
        other = await desk.creates.create(caller("ben"), options, key=key)
        assert other != found[0]
    assert len(desk.hub.launched) == 2


async def test_a_key_is_known_after_a_restart_and_for_a_day(parts: Parts, desk: Desk) -> None:
    session = await desk.creates.create(caller(), JOB, key="sim")
    await parts.registry.end(session, reason=Reason.FINISHED, at=parts.clock.now)
    parts.clock.go(timedelta(hours=20))
    again = make_desk(parts)
    assert await again.creates.create(caller(), JOB, key="sim") == session
    parts.clock.go(timedelta(hours=30))
    await parts.registry.tidy()
    assert await again.creates.create(caller(), JOB, key="sim") != session


async def test_what_an_earlier_manager_had_launched_is_found_at_the_hub(desk: Desk) -> None:
    session = desk.creates.keyed("ada", "sim", desk.hub.parts.clock.now)
    desk.hub.known.add(session)
    desk.hub.refuses = Invalid("It is already running")
    assert await desk.creates.create(caller(), NOTEBOOK, key="sim") == session
    desk.hub.known.clear()
    with pytest.raises(Invalid):
        await desk.creates.create(caller(), NOTEBOOK, key="sim")


@pytest.mark.parametrize("key", ["a\nb", "x" * 256, "\x00"])
async def test_a_key_that_is_none_is_refused(desk: Desk, key: str) -> None:
    with pytest.raises(Invalid):
        await desk.creates.create(caller(), JOB, key=key)


async def test_ids_follow_from_owner_key_and_day_alone(desk: Desk) -> None:
    now = desk.hub.parts.clock.now
    keyed: Callable[..., SessionId] = desk.creates.keyed
    first = keyed("ada", "k", now)
    assert session_id(first) == keyed("ada", "k", now + timedelta(hours=1))
    others = {
        keyed("ben", "k", now),
        keyed("ada", "l", now),
        keyed("ada", "k", now + timedelta(days=1)),
    }
    assert len({first, *others}) == 4


async def test_a_refusal_of_the_hub_is_told_and_leaves_nothing(parts: Parts, desk: Desk) -> None:
    desk.hub.refuses = LimitReached("You have 3 of 3 sessions.")
    with pytest.raises(LimitReached):
        await desk.creates.create(caller(), NOTEBOOK)
    assert parts.registry.live() == ()
    assert desk.creates.untold("ada") == ()
    desk.hub.refuses = HubAway("reset")
    with pytest.raises(HubAway):
        await desk.creates.create(caller(), NOTEBOOK)
    assert desk.creates.untold("ada") == ()


async def test_what_the_hub_has_not_told_of_is_shown_for_a_while(parts: Parts, desk: Desk) -> None:
    desk.hub.tells = False
    session = await desk.creates.create(caller(), {**NOTEBOOK, "name": "soon"})
    (record,) = desk.creates.untold("ada")
    assert (record.id, record.name) == (session, "soon")
    assert desk.creates.untold("ben") == ()
    assert desk.creates.get(session) == record
    parts.clock.go(timedelta(minutes=11))
    assert desk.creates.untold("ada") == ()
    session = await desk.creates.create(caller(), NOTEBOOK)
    await parts.registry.add(desk.creates.untold("ada")[0])
    assert desk.creates.untold("ada") == ()


async def test_a_refusal_that_comes_late_is_told_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creates, "_ANSWER_WITHIN", 0.01)
    desk.hub.open.clear()
    desk.hub.refuses = StartFailed("The image cannot be had.")
    session = await desk.creates.create(caller(), NOTEBOOK)
    assert desk.creates.get(session) is not None
    desk.hub.open.set()
    await desk.creates.settle()
    assert desk.late == ["ada astroml: The image cannot be had."]
    assert desk.creates.get(session) is None


# Refusals.


def make_refusals(parts: Parts) -> Refusals:
    return Refusals(book=RefusalBook(parts.store), news=parts.news, clock=parts.clock, log=LOG)


async def test_refusals_are_kept_for_a_day_and_over_a_restart(parts: Parts) -> None:
    refusals = make_refusals(parts)
    for number in range(120):
        error = Invalid(f"No {number}.", field="cores")
        await refusals.add("ada", name="sim\n", what="x" * 500, error=error)
        parts.clock.go(1)
    await refusals.add("ben", name="", what="", error=Invalid("Nothing."))
    mine = refusals.of("ada")
    assert len(mine) == 100
    assert mine[0].sentence == "No 119."
    assert mine[0].field == "cores"
    assert "\n" not in mine[0].name
    assert len(mine[0].what) <= 200
    again = make_refusals(parts)
    await again.load()
    assert again.of("ada") == mine
    assert [refusal.sentence for refusal in again.of("ben")] == ["Nothing."]
    parts.clock.go(timedelta(hours=25))
    assert again.of("ada") == ()


async def test_the_hubs_pages_hear_of_refusals(parts: Parts) -> None:
    await make_refusals(parts).add("ada", name="sim", what="x", error=Invalid("No."))
    told: list[Mapping[str, Any]] = parts.news.since(0)[0]
    assert {"kind": "refused", "owner": "ada", "sentence": "No."}.items() <= told[-1].items()
