"""Jobs that cannot start are ended with the reason, beside a real API server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from canfar_spawner.core.status import REASONS, Evidence, Life, Phase, Reason
from canfar_spawner.kubernetes.client import KubeClient, NotFound
from canfar_spawner.kubernetes.starts import PART, HopelessStarts
from tests.kubernetes.conftest import budget
from tests.kubernetes.world import World, opened
from tests.manager.parts import Parts
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.memory_backend import MemoryBackend

LOG = logging.getLogger("test")
DETAIL = "astroml:26.11: not found"


@dataclass
class Manager:
    """The parts of a manager that have to do with it, over a real back end."""

    world: World
    parts: Parts
    starts: HopelessStarts

    async def look(self) -> None:
        """Let the back end be looked at, and what follows from it."""
        await self.parts.observer.look()
        await self.parts.observer.settle()
        await self.starts.look()


@pytest.fixture
async def manager(
    client: KubeClient, through: KubeClient, namespace: str, tmp_path: Path
) -> AsyncIterator[Manager]:
    async with opened(client, through, namespace, tmp_path) as world:
        backend = cast("MemoryBackend", world.backend)
        parts = Parts(tmp_path, backend=backend, policy=world.policy)
        await parts.open()
        starts = HopelessStarts(
            registry=parts.registry,
            jobs=parts.jobs,
            pods=lambda: world.policy.pods,
            clock=lambda: datetime.now(UTC),
            log=LOG,
        )
        yield Manager(world, parts, starts)
        await parts.close()


def waiting(reason: Reason, seconds: float, detail: str = DETAIL) -> Evidence:
    now = datetime.now(UTC)
    at = now - timedelta(seconds=seconds)
    return Evidence(
        life=Life.STARTING, phase=Phase.PULLING, reason=reason, detail=detail, at=at, seen=now
    )


async def test_a_job_whose_image_is_not_there_has_failed_for_that_reason(manager: Manager) -> None:
    parts, world = manager.parts, manager.world
    record = await parts.submit()
    parts.registry.evidence[record.launch] = waiting(Reason.IMAGE_NOT_FOUND, 0)
    await manager.starts.look()
    name = record.plan.object_name
    for kind in ("pods", "secrets"):
        with pytest.raises(NotFound):
            await world.client.get(kind, world.namespace, name, budget())
    for _ in range(2):
        # That nothing is left of it is proven twice.
        parts.clock.go(6)
        await manager.look()
    ended = parts.record(record.id)
    assert (ended.reason, ended.detail) == (Reason.IMAGE_NOT_FOUND, DETAIL)
    assert ended.ending_by == PART
    assert REASONS[ended.reason].failed


async def test_a_job_that_waits_for_room_or_is_told_to_end_is_left_alone(manager: Manager) -> None:
    parts = manager.parts
    room = await parts.submit()
    parts.registry.evidence[room.launch] = waiting(Reason.WAITING_FOR_RESOURCES, 10**6)
    pulling = await parts.submit()
    parts.registry.evidence[pulling.launch] = waiting(Reason.PULLING_IMAGE, 10**6)
    stopped = await parts.submit()
    await parts.registry.change(stopped.id, ending=Reason.STOPPED, ending_by="ada")
    parts.registry.evidence[stopped.launch] = waiting(Reason.IMAGE_NOT_FOUND, 0)
    await manager.starts.look()
    assert parts.record(room.id).ending is None
    assert parts.record(pulling.id).ending is None
    assert parts.record(stopped.id).ending is Reason.STOPPED


async def test_while_the_cluster_is_away_it_is_tried_again(
    manager: Manager, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, world = manager.parts, manager.world
    record = await parts.submit()
    parts.registry.evidence[record.launch] = waiting(Reason.IMAGE_REFUSED, 0)
    for name in ("_ASK_WITHIN", "_LOG_WITHIN", "_STOP_WITHIN"):
        monkeypatch.setattr(f"canfar_spawner.kubernetes.backend.{name}", 1.0)
    proxy.add(Fault("status", path="/pods", status=503))
    await manager.starts.look()
    assert parts.record(record.id).ending is Reason.IMAGE_REFUSED, "it is written down"
    where = ("pods", world.namespace, record.plan.object_name)
    assert await world.client.get(*where, budget())
    proxy.clear()
    await manager.starts.look()
    with pytest.raises(NotFound):
        await world.client.get(*where, budget())
