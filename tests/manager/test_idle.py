"""What nobody uses, under a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.core.backend import Use
from canfar_spawner.core.status import Reason
from canfar_spawner.manager.idle import IdleWatch
from canfar_spawner.manager.intake import Heartbeat
from canfar_spawner.manager.records import SessionRecord
from tests.core.world import site
from tests.manager.parts import LOG, Parts

MINUTE = timedelta(minutes=1)
RULES = {"lifetimes": {"idle": {"notebook": "PT30M"}}}


class World:
    """A manager that ends idle notebooks after half an hour."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.watch = IdleWatch(
            registry=parts.registry,
            lifetimes=lambda: parts.policy.lifetimes,
            ender=parts.lifetimes,
            clock=parts.clock,
            monotonic=parts.clock.steady,
            log=LOG,
        )
        parts.intake.heard.append(self.watch.heard)
        parts.intake.used.append(self.watch.used)
        parts.observer.measured.append(self.watch.measured)

    async def go(self, record: SessionRecord, minutes: int, cores: str | None = "0.01") -> None:
        """Let time pass, with a program that uses so much; None is not known."""
        for _ in range(minutes * 6):
            self.parts.clock.go(10)
            if cores is None:
                self.parts.backend.uses.pop(record.launch, None)
            else:
                self.parts.backend.uses[record.launch] = Use(
                    cores=Decimal(cores), memory=1, at=self.parts.clock()
                )
            await self.parts.observer.look()
            await self.parts.observer.measure()
            await self.watch.tick()

    def ended(self, record: SessionRecord) -> bool:
        return self.parts.record(record.id).ending is Reason.IDLE


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    parts = Parts(tmp_path, policy=site(**RULES))
    await parts.open()
    yield World(parts)
    await parts.close()


async def test_what_is_not_used_ends_when_its_time_is_over(world: World) -> None:
    session = await world.parts.launch()
    await world.go(session, 29)
    assert not world.ended(session)
    await world.go(session, 2)
    assert world.ended(session)
    assert world.parts.hub.told == [session.id]
    assert world.parts.record(session.id).ending_by == "idle"


async def test_without_a_rule_nothing_ends(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    await parts.open()
    world = World(parts)
    session = await parts.launch()
    await world.go(session, 60)
    assert parts.record(session.id).ending is None
    await parts.close()


async def test_an_hour_of_work_without_a_browser_goes_on(world: World) -> None:
    session = await world.parts.launch()
    await world.go(session, 60, cores="0.9")
    assert not world.ended(session)
    # Work that comes and goes is work.
    for _ in range(12):
        await world.go(session, 1, cores="1")
        await world.go(session, 4, cores="0")
    assert not world.ended(session)
    await world.go(session, 45, cores="0")
    assert world.ended(session)


@pytest.mark.parametrize(
    "beat",
    [{"busy_kernels": 1}, {"terminals_busy": 2}, {"activity": "now"}],
    ids=["kernel", "terminal", "activity"],
)
async def test_what_a_session_says_of_itself_counts(world: World, beat: dict[str, Any]) -> None:
    session = await world.parts.launch()
    for _ in range(6):
        await world.go(session, 10)
        told = {**beat, "activity": world.parts.clock()} if "activity" in beat else beat
        world.watch.heard(session, Heartbeat.model_validate(told))
    assert not world.ended(session)


async def test_old_activity_told_again_is_old(world: World) -> None:
    session = await world.parts.launch()
    at = world.parts.clock()
    for _ in range(4):
        await world.go(session, 10)
        beat = Heartbeat.model_validate({"activity": at, "busy_kernels": 0})
        world.watch.heard(session, beat)
    assert world.ended(session)


async def test_a_browser_that_speaks_to_it_counts(world: World) -> None:
    session = await world.parts.launch()
    for _ in range(6):
        await world.go(session, 10)
        await world.parts.tell(activity={session.id: world.parts.clock().isoformat()})
    assert not world.ended(session)


async def test_what_cannot_be_measured_is_in_use(world: World) -> None:
    session = await world.parts.launch()
    await world.go(session, 120, cores=None)
    assert not world.ended(session)
    await world.go(session, 25)
    await world.go(session, 2, cores=None)
    await world.go(session, 5)
    assert not world.ended(session)


async def test_a_new_manager_knows_of_no_idleness(world: World) -> None:
    session = await world.parts.launch()
    await world.go(session, 29)
    assert world.watch.idle_for(session) is not None
    world.parts.observer.measured.clear()
    again = World(world.parts)
    await again.go(session, 29)
    assert not world.ended(session)
    await again.go(session, 2)
    assert world.ended(session)


async def test_a_jump_of_the_clock_is_no_idleness(world: World) -> None:
    session = await world.parts.launch()
    await world.go(session, 15)
    world.parts.clock.jump(timedelta(hours=2))
    await world.go(session, 2)
    assert not world.ended(session)


async def test_other_kinds_and_jobs_are_left_alone(world: World) -> None:
    carta = await world.parts.launch(container="carta")
    job = await world.parts.submit()
    await world.go(carta, 60)
    await world.go(job, 60)
    assert world.parts.record(carta.id).ending is None
    assert world.parts.record(job.id).ending is None
