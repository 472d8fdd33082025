"""The proxy does what it is told, and nothing else."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from canfar_spawner.kubernetes.client import ApiError, KubeClient, Unreachable
from tests.kubernetes.conftest import budget, pod, until
from tests.support.faultproxy import Fault, FaultProxy, edited


def struck(fault: Fault, count: int, seed: int = 1) -> list[int]:
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    return [number for number in range(1, count + 1) if fault.strikes("get", "/api/v1/x", chance)]


def test_a_fault_hits_what_it_says() -> None:
    assert struck(Fault("reset", nth=3, times=1), 6) == [3]
    assert struck(Fault("reset", nth=4), 6) == [4, 5, 6]
    assert struck(Fault("reset", verb="list"), 6) == []
    assert struck(Fault("reset", path="/pods"), 6) == []
    assert struck(Fault("reset", path=r"/v1/x$", times=2), 6) == [1, 2]


def test_chance_is_repeated_by_its_seed() -> None:
    first = struck(Fault("reset", rate=0.3), 1000, seed=7)
    assert first == struck(Fault("reset", rate=0.3), 1000, seed=7)
    assert first != struck(Fault("reset", rate=0.3), 1000, seed=8)
    assert 250 < len(first) < 350


async def lines(*given: bytes) -> AsyncIterator[bytes]:
    for line in given:
        yield line


@pytest.mark.parametrize(
    ("edit", "after", "expected"),
    [
        ("cut", 0, b""),
        ("cut", 1, b"1\n"),
        ("truncate", 1, b"1\n2"),
        ("duplicate", 0, b"1\n1\n2\n2\n3\n3\n"),
        ("duplicate", 2, b"1\n2\n3\n3\n"),
        ("swap", 0, b"2\n1\n3\n"),
        ("garbage", 2, b"1\n2\n{]\n3\n"),
    ],
)
async def test_edits_of_a_watch(edit: str, after: int, expected: bytes) -> None:
    fault = Fault("edit", edit=edit, after=after)  # type: ignore[arg-type]
    found = [line async for line in edited(lines(b"1\n", b"2\n", b"3\n"), fault)]
    assert b"".join(found) == expected


async def test_requests_pass_and_are_counted(
    proxy: FaultProxy, through: KubeClient, namespace: str
) -> None:
    await through.create("pods", namespace, pod("a"), budget())
    await through.patch("pods", namespace, "a", {"metadata": {"labels": {"x": "y"}}}, budget())
    assert [each["metadata"]["name"] for each in await through.list("pods", namespace, budget())]
    assert (await through.get("pods", namespace, "a", budget()))["metadata"]["labels"]["x"] == "y"
    await through.delete("pods", namespace, "a", budget(), grace=0)
    assert [each.verb for each in proxy.requests] == ["create", "patch", "list", "get", "delete"]
    assert all(f"/namespaces/{namespace}/pods" in each.path for each in proxy.requests)


async def test_the_clients_own_token_is_what_counts(proxy: FaultProxy, tmp_path: Path) -> None:
    stranger = KubeClient(proxy.kubeconfig(tmp_path / "stranger.conf", token="unknown"))
    async with stranger:
        with pytest.raises(Unreachable) as refused:
            # Asked again and again; the last time there are seconds left for the answer.
            await stranger.list("namespaces", "", budget(8))
    assert refused.value.status == 401


async def test_only_one_request_fails(
    proxy: FaultProxy, through: KubeClient, namespace: str
) -> None:
    fault = proxy.add(Fault("status", verb="list", path="/pods", nth=2, times=1, status=403))
    await through.list("pods", namespace, budget())
    with pytest.raises(ApiError):
        await through.list("pods", namespace, budget())
    await through.list("pods", namespace, budget())
    assert (fault.matched, fault.hits) == (3, 1)


async def test_a_dropped_answer_is_of_a_request_that_was_carried_out(
    proxy: FaultProxy, client: KubeClient, namespace: str
) -> None:
    proxy.add(Fault("drop", verb="create"))
    async with httpx.AsyncClient(base_url=proxy.url) as raw:
        with pytest.raises(httpx.TransportError):
            await raw.post(f"/api/v1/namespaces/{namespace}/pods", json=pod("a"))
    assert await client.get("pods", namespace, "a", budget())


# Failed once under load for a cause that was not found; the proxy logs it now.
@pytest.mark.long
async def test_other_ways_of_failing(proxy: FaultProxy) -> None:
    async with httpx.AsyncClient(base_url=proxy.url, timeout=30) as raw:
        proxy.add(Fault("status", path="/version", status=429, retry_after=3, times=1))
        answer = await raw.get("/version")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
        assert answer.json()["kind"] == "Status"
        proxy.add(Fault("delay", path="/version", seconds=0.5, times=1))
        begun = time.monotonic()
        assert (await raw.get("/version")).status_code == 200
        assert time.monotonic() - begun >= 0.5
        proxy.add(Fault("hang", path="/version", times=1))
        with pytest.raises(httpx.ReadTimeout):
            await raw.get("/version", timeout=1)
        proxy.add(Fault("reset", path="/version", times=1))
        with pytest.raises(httpx.TransportError):
            await raw.get("/version")
        assert (await raw.get("/version")).status_code == 200


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("refuse", httpx.ConnectError),
        ("reset", httpx.TransportError),
        ("hang", httpx.ReadTimeout),
    ],
)
async def test_a_partition_ends_watches_too(
    proxy: FaultProxy,
    through: KubeClient,
    client: KubeClient,
    namespace: str,
    how: str,
    error: type[Exception],
) -> None:
    seen: list[dict[str, Any] | None] = []

    async def follow() -> None:
        async for event in through.watch("pods", namespace, "0", seconds=30, silence=30):
            seen.append(event)  # noqa: PERF401 - to be looked at meanwhile

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_error_of(follow()))
        await until(lambda: seen, 10, "the watch is accepted")
        proxy.partition(how)  # type: ignore[arg-type]
        await client.create("pods", namespace, pod("a"), budget())
        async with httpx.AsyncClient(base_url=proxy.url, timeout=0.5) as raw:
            with pytest.raises(error):
                await raw.get("/version")
        assert watching.done() == (how != "hang")
        proxy.heal()
        assert isinstance(await watching, ApiError)
        assert not [event for event in seen if event and event["type"] == "ADDED"]
        async with httpx.AsyncClient(base_url=proxy.url) as raw:
            assert (await raw.get("/version")).status_code == 200


async def _error_of(work: object) -> BaseException | None:
    (found,) = await asyncio.gather(work, return_exceptions=True)  # type: ignore[call-overload]
    return found
