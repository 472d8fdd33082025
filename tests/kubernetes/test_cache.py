"""The cache is right again soon after anything that can happen to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from canfar_spawner.kubernetes import cache as module
from canfar_spawner.kubernetes import client as client_module
from canfar_spawner.kubernetes.cache import ObjectCache
from canfar_spawner.kubernetes.client import Gone, KubeClient
from canfar_spawner.kubernetes.mirror import Pods
from tests.kubernetes.conftest import SELECTOR, budget, new_namespace, pod, until
from tests.support.apiserver import ApiServer
from tests.support.faultproxy import Fault, FaultProxy, Partition

CONVERGES = 15.0
RECOVERS = 30.0
OUTAGE = 12.0


@dataclass
class World:
    """A cache behind a proxy, and the truth."""

    proxy: FaultProxy
    cache: ObjectCache
    truth: KubeClient
    namespace: str

    async def change(self, tag: str) -> None:
        """Let pods come, change and go, without the proxy."""
        name = f"goes-{tag}"
        await self.truth.create("pods", self.namespace, pod(name), budget())
        for number in range(3):
            await self.truth.create("pods", self.namespace, pod(f"{tag}-{number}"), budget())
        await self.truth.patch(
            "pods", self.namespace, f"{tag}-0", {"metadata": {"labels": {"tag": tag}}}, budget()
        )
        await self.truth.delete("pods", self.namespace, name, budget(), grace=0)

    async def happen(self, name: str, uid: str) -> dict[str, Any]:
        """Let an event be told of a pod."""
        event = {
            "metadata": {"generateName": "event-"},
            "involvedObject": {
                "kind": "Pod",
                "namespace": self.namespace,
                "name": name,
                "uid": uid,
            },
            "reason": "Pulling",
        }
        return await self.truth.create("events", self.namespace, event, budget())

    async def listed(self) -> dict[str, str]:
        found = await self.truth.list("pods", self.namespace, budget(), labels=SELECTOR)
        return {x["metadata"]["name"]: x["metadata"]["resourceVersion"] for x in found}

    def known(self) -> dict[str, str]:
        return {x["metadata"]["name"]: x["metadata"]["resourceVersion"] for x in self.cache.all()}

    async def converged(self, seconds: float, what: str) -> float:
        """Wait until the cache says what a list says."""
        truth = await self.listed()
        assert truth
        return await until(lambda: self.known() == truth, seconds, what)


MakeWorld = Callable[[], Awaitable[World]]


@asynccontextmanager
async def a_world(apiserver: ApiServer, directory: Path, truth: KubeClient) -> AsyncIterator[World]:
    namespace = await new_namespace(truth)
    with FaultProxy(apiserver.kubeconfig) as proxy:
        async with KubeClient(proxy.kubeconfig(directory / f"{namespace}.conf")) as through:
            world = World(proxy, ObjectCache(through, namespace, SELECTOR), truth, namespace)
            world.cache.start()
            try:
                async with asyncio.timeout(20):
                    await world.cache.listed()
                yield world
            finally:
                await world.cache.stop()


@pytest.fixture
async def make_world(
    apiserver: ApiServer, client: KubeClient, tmp_path: Path
) -> AsyncIterator[MakeWorld]:
    async with AsyncExitStack() as stack:

        async def make() -> World:
            return await stack.enter_async_context(a_world(apiserver, tmp_path, client))

        yield make


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    return await make_world()


async def test_pods_and_their_events_are_followed(world: World) -> None:
    cache = world.cache
    assert cache.synced
    assert cache.fresh
    assert cache.all() == ()
    assert cache.get("a") is None
    other = pod("other")
    del other["metadata"]["labels"]
    await world.truth.create("pods", world.namespace, other, budget())
    waiting = asyncio.create_task(cache.changed("a", 10))
    await asyncio.sleep(0)
    made = await world.truth.create("pods", world.namespace, pod("a"), budget())
    uid = made["metadata"]["uid"]
    assert await waiting
    await until(lambda: cache.get("a"), 5, "the pod is known")
    assert world.known().keys() == {"a"}
    for number in range(25):
        last = await world.happen("a", uid)
        if number == 0:
            await until(lambda: len(cache.events_of(uid)) == 1, 5, "its event is known")
    await until(lambda: cache.events_of(uid)[-1] == last, 5, "its last event is known")
    assert len(cache.events_of(uid)) == 20
    assert not await cache.changed("a", 0.3)
    waiting = asyncio.create_task(cache.changed("a", 10))
    await asyncio.sleep(0)
    await world.truth.delete("pods", world.namespace, "a", budget(), grace=0)
    assert await waiting
    await until(lambda: cache.get("a") is None, 5, "the pod is gone")
    assert cache.events_of(uid) == ()
    assert not cache._waiting
    # The server ends a watch by itself; nothing is listed again for it.
    await until(
        lambda: [x.verb for x in world.proxy.requests].count("watch") >= 4, 15, "watched again"
    )
    assert [x.verb for x in world.proxy.requests].count("list") == 2
    await world.change("x")
    await world.converged(3, "changes after that")


async def test_each_fault_of_a_watch_is_over_in_15_seconds(make_world: MakeWorld) -> None:
    faults = {
        **{
            f"{edit} after {after}": Fault("edit", edit=edit, after=after, times=4)
            for edit, after in (
                ("cut", 0),
                ("cut", 2),
                ("truncate", 1),
                ("duplicate", 0),
                ("swap", 0),
                ("stall", 0),
                ("stall", 2),
                ("gone", 0),
                ("gone", 1),
                ("bookmark", 0),
                ("garbage", 1),
                ("break", 1),
            )
        },
        "watch hangs": Fault("hang", verb="watch", times=2),
        "watch is refused": Fault("status", verb="watch", status=410, times=4),
        "list fails": Fault("status", verb="list", status=500, times=4),
        "list fails after a watch": Fault("reset", times=8),
    }
    took: dict[str, float] = {}

    async def one(name: str, fault: Fault) -> None:
        world = await make_world()
        await world.change("before")
        await world.converged(10, f"before {name}")
        # What is edited is the watch that is opened next.
        world.proxy.add(fault)
        world.proxy.partition("reset")
        world.proxy.heal()
        begun = time.monotonic()
        await world.change("during")
        await world.converged(CONVERGES, name)
        took[name] = time.monotonic() - begun
        # All may have been listed before the watch is opened that goes wrong.
        await until(lambda: fault.hits, CONVERGES, f"{name} happens")
        begun = time.monotonic()
        await world.change("after")
        await world.converged(CONVERGES, f"after {name}")
        took[f"after {name}"] = time.monotonic() - begun

    async with asyncio.TaskGroup() as group:
        for name, fault in faults.items():
            group.create_task(one(name, fault))
    assert max(took.values()) <= CONVERGES, took


async def test_the_server_may_be_away(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Stock gives up for good after 51 s of errors; here nothing is counted."""
    caplog.set_level(logging.INFO)
    partitions: tuple[Partition, ...] = ("refuse", "reset", "hang")
    refusals = (Fault("status", status=500), Fault("status", status=429, retry_after=1))

    async def one(ways: Partition | Fault) -> None:
        world = await make_world()
        await world.change("before")
        await world.converged(10, "before")
        before = world.known()
        if isinstance(ways, Fault):
            world.proxy.add(ways)
            # Running watches end too.
            world.proxy.partition("reset")
            world.proxy.heal()
        else:
            world.proxy.partition(ways)
        await world.change("during")
        await asyncio.sleep(OUTAGE)  # the outage itself: nothing ends it sooner
        assert world.known() == before
        assert world.cache.synced
        assert world.cache.age > OUTAGE - 3
        world.proxy.clear()
        if not isinstance(ways, Fault):
            world.proxy.heal()
        await world.converged(RECOVERS, str(ways))
        assert world.cache.fresh
        assert all(not task.done() for task in world.cache._tasks)
        tries = [x for x in world.proxy.requests if x.verb in ("list", "watch")]
        assert len(tries) < 60

    async with asyncio.TaskGroup() as group:
        for ways in (*partitions, *refusals):
            group.create_task(one(ways))
    assert "are followed again" in caplog.text or "are not followed now" in caplog.text


async def test_server_and_store_may_be_killed(
    world: World, apiserver: ApiServer, client: KubeClient
) -> None:
    await world.change("before")
    await world.converged(10, "before")
    old = await client.create("pods", world.namespace, pod("old"), budget())
    version = old["metadata"]["resourceVersion"]
    await world.change("between")
    await world.converged(10, "between")
    before = world.known()
    apiserver.stop("etcd")
    await asyncio.to_thread(apiserver.stop, "kube-apiserver")
    await until(lambda: world.cache.age > 3, 20, "what is known grows old")
    assert world.known() == before
    await asyncio.to_thread(apiserver.start, "etcd", "kube-apiserver")
    await world.change("after")
    await world.converged(RECOVERS, "after the return")

    # The store forgets its past, and the server what it remembered of it.
    last = (await client.create("pods", world.namespace, pod("last"), budget()))["metadata"]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{apiserver.etcd}") as etcd:
        answer = await etcd.post("/v3/kv/compaction", json={"revision": last["resourceVersion"]})
        assert answer.status_code == 200
    await asyncio.to_thread(apiserver.stop, "kube-apiserver")
    await asyncio.to_thread(apiserver.start, "kube-apiserver")

    async def watch() -> None:
        async for event in client.watch("pods", world.namespace, version, seconds=2, silence=5):
            if event is not None:
                Pods().apply(event)

    with pytest.raises(Gone):
        await watch()
    await world.change("again")
    await world.converged(RECOVERS, "after the store has forgotten")


async def test_a_bug_is_told_and_does_not_end_it(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = world.cache.pods_changed
    left = [2]

    def broken(names: set[str]) -> None:
        if left[0] and names:
            left[0] -= 1
            raise ZeroDivisionError("a bug")
        taken(names)

    monkeypatch.setattr(world.cache, "pods_changed", broken)
    await world.change("x")
    await world.converged(CONVERGES, "after a bug")
    assert "ZeroDivisionError" in caplog.text
    assert left == [0]
    name = "x-1"
    uid = (world.cache.get(name) or {})["metadata"]["uid"]
    await world.happen(name, uid)
    await until(lambda: world.cache.events_of(uid), 5, "its event is known")


async def test_lists_come_in_pages_and_are_made_anew(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_PAGE", 2)
    monkeypatch.setattr(module, "_LIST_AGAIN", 0.0)
    world = await make_world()
    await world.change("x")
    await world.change("y")
    # Hits the second page of each kind of list that has one.
    fault = world.proxy.add(Fault("status", path="continue=", status=410, times=2))
    await until(lambda: fault.hits == 2, 30, "a list was interrupted")
    await world.converged(CONVERGES, "after a list that was interrupted")


async def test_without_rights_to_events_pods_are_known(make_world: MakeWorld) -> None:
    world = await make_world()
    world.proxy.add(Fault("status", path="/events", status=403))
    world.proxy.partition("reset")
    world.proxy.heal()
    await world.change("x")
    await world.converged(CONVERGES, "pods without events")
    assert world.cache.fresh


async def test_it_starts_while_the_server_is_away(
    apiserver: ApiServer, client: KubeClient, tmp_path: Path, namespace: str
) -> None:
    await client.create("pods", namespace, pod("a"), budget())
    with FaultProxy(apiserver.kubeconfig) as proxy:
        proxy.partition("refuse")
        async with KubeClient(proxy.kubeconfig(tmp_path / "away.conf")) as through:
            cache = ObjectCache(through, namespace, SELECTOR)
            assert cache.seen is None
            cache.start()
            cache.start()
            assert not await cache.changed("a", 1)
            assert not cache.synced
            assert not cache.fresh
            assert cache.age == float("inf")
            proxy.heal()
            await until(lambda: cache.get("a"), RECOVERS, "the first list")
            assert cache.fresh
            assert cache.seen is not None
            await cache.stop()
            await cache.stop()
