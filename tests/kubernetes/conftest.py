"""A real API server on loopback, a proxy in front of it, and namespaces of one's own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.kubernetes.client import Budget, KubeClient
from tests.conftest import Need
from tests.support.apiserver import PROGRAMS, ApiServer, running_apiserver
from tests.support.cluster import programs
from tests.support.faultproxy import FaultProxy

_numbers = itertools.count(1)
SELECTOR = "hub.canfar.net/instance=test"


def budget(seconds: float = 20.0) -> Budget:
    return Budget(seconds)


def pod(name: str, **labels: str) -> dict[str, Any]:
    """Give a pod that nothing will ever run here."""
    key, _, value = SELECTOR.partition("=")
    return {
        "metadata": {"name": name, "labels": {key: value, **labels}},
        "spec": {"containers": [{"name": "notebook", "image": "registry.example.org/none:1"}]},
    }


async def until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until something is so; gives how long that took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not in {seconds:g} s: {what}"
        await asyncio.sleep(0.05)
    return time.monotonic() - begun


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Iterator[ApiServer]:
    """A server for all tests; one that stops it starts it again."""
    need("apiserver", not programs.missing(PROGRAMS), "get it with: make cluster")
    with running_apiserver(tmp_path_factory.mktemp("apiserver") / "run") as server:
        yield server


@pytest.fixture
async def client(apiserver: ApiServer) -> AsyncIterator[KubeClient]:
    """The administrator, without anything in between."""
    async with KubeClient(apiserver.kubeconfig) as made:
        yield made


@pytest.fixture
def proxy(apiserver: ApiServer) -> Iterator[FaultProxy]:
    """A proxy without faults yet."""
    with FaultProxy(apiserver.kubeconfig) as made:
        yield made


@pytest.fixture
async def through(proxy: FaultProxy, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """The administrator, by way of the proxy."""
    async with KubeClient(proxy.kubeconfig(tmp_path / "through.conf")) as made:
        yield made


async def new_namespace(client: KubeClient) -> str:
    """Make a namespace; a server of tests keeps it to its end."""
    name = f"test-{next(_numbers)}"
    await client.create("namespaces", "", {"metadata": {"name": name}}, budget())
    return name


@pytest.fixture
async def namespace(client: KubeClient) -> str:
    return await new_namespace(client)
