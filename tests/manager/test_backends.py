"""What the manager's tests have in memory keeps to what the real back end does."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from canfar_spawner.core.backend import Backend, Secrets
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Reason, is_over
from canfar_spawner.local.isolation import Isolation
from tests.local.world import World
from tests.support.memory_backend import MemoryBackend

HOUR = timedelta(hours=1)
WITHIN = 30.0


@dataclass
class Bench:
    """A back end, and plans of what runs on until it is ended, or finishes by itself."""

    backend: Backend
    plan: Callable[[str], SessionPlan]
    finish: Callable[[SessionPlan], Awaitable[None]]

    async def until(
        self, plan: SessionPlan, is_so: Callable[[Evidence], bool], what: str
    ) -> Evidence:
        """Observe until something is so of a launch."""
        async with asyncio.timeout(WITHIN):
            while True:
                found = (await self.backend.observe()).get(plan.launch)
                if found is not None and is_so(found):
                    return found
                await asyncio.sleep(0.02)
        raise AssertionError(what)

    async def running(self) -> SessionPlan:
        """Start something and wait until it runs."""
        plan = self.plan("runs")
        await self.backend.start(plan, Secrets())
        await self.until(plan, lambda seen: seen.life is Life.RUNNING, "it to run")
        return plan


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a place that programs of any user may pass through."""
    found = Path(tempfile.mkdtemp(prefix="canfar-bench-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.fixture(params=["memory", "local"])
async def bench(request: pytest.FixtureRequest, base: Path) -> AsyncIterator[Bench]:
    world = World(base / "data", Isolation("none", "as it is tested here"))
    memory = MemoryBackend(lambda: datetime.now(UTC))

    async def finish(plan: SessionPlan) -> None:
        if request.param == "memory":
            memory.end(plan.launch)

    backend: Backend = memory if request.param == "memory" else world.backend
    yield Bench(backend, world.plan, finish)
    await asyncio.to_thread(world.clear)


async def test_what_runs_is_seen_with_its_promise(bench: Bench) -> None:
    plan = await bench.running()
    known = (await bench.backend.plans())[plan.launch]
    assert (known.plan, known.ends) == (plan, plan.ends)
    assert not is_over(await bench.backend.look(plan))


async def test_starting_twice_is_starting_once(bench: Bench) -> None:
    plan = await bench.running()
    before = await bench.backend.look(plan)
    await bench.backend.start(plan, Secrets())
    assert (await bench.backend.look(plan)).started == before.started


async def test_a_new_promise_is_kept_with_the_launch(bench: Bench) -> None:
    plan = await bench.running()
    await bench.backend.extend(plan, plan.ends + HOUR)
    assert (await bench.backend.plans())[plan.launch].ends == plan.ends + HOUR


async def test_nothing_is_promised_for_what_is_not_there(bench: Bench) -> None:
    plan = bench.plan("runs")
    await bench.backend.extend(plan, plan.ends + HOUR)
    assert plan.launch not in await bench.backend.plans()
    assert plan.launch not in await bench.backend.observe()
    assert (await bench.backend.look(plan)).life is Life.ABSENT
    assert await bench.backend.usage(plan.launch) is None
    assert await bench.backend.logs(plan.launch) == ""
    await bench.backend.stop(plan.launch)


async def test_what_is_stopped_has_ended_and_stays_seen(bench: Bench) -> None:
    plan = await bench.running()
    await bench.backend.stop(plan.launch)
    seen = (await bench.backend.observe())[plan.launch]
    assert (seen.life, seen.reason) == (Life.ENDED, Reason.STOPPED)
    assert plan.launch in await bench.backend.plans()
    await bench.backend.stop(plan.launch)
    assert (await bench.backend.look(plan)).reason is Reason.STOPPED


async def test_what_finishes_by_itself_is_finished(bench: Bench) -> None:
    plan = bench.plan("finishes")
    await bench.backend.start(plan, Secrets())
    await bench.finish(plan)
    seen = await bench.until(plan, is_over, "it to finish")
    assert (seen.life, seen.reason, seen.exit_code) == (Life.ENDED, Reason.FINISHED, 0)
    assert seen.at is not None
