"""One failed request, an API server that is away, a hub that is killed: no session is lost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cluster import Cluster, site
from tests.support.cluster.cluster import NODE
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.faultproxy import Action, Fault, FaultProxy
from tests.support.hub import Visitor, wait_for
from tests.support.told import launch_aside

pytestmark = pytest.mark.cluster

Fresh = Callable[[], str]
SETTLED_WITHIN = 60.0


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[FaultProxy]:
    """Stand between the hub and the API server."""
    with FaultProxy(cluster.kubeconfig) as proxy:
        print(f"\nfault proxy: seed {proxy.seed}")
        yield proxy


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster, api: FaultProxy) -> Iterator[ClusterHub]:
    pods = {**site.catalogue()["pods"], "unschedulable_seconds": 3600}
    settings = {"server": api.url, "catalogue": {"pods": pods}}
    with running_cluster_hub(data_directory, cluster=cluster, **settings) as found:
        yield found


@pytest.fixture(autouse=True)
def _healthy(api: FaultProxy) -> Iterator[None]:
    yield
    api.clear()
    api.heal()


@contextmanager
def no_room(cluster: Cluster) -> Iterator[None]:
    """Let no pod be placed for the length of a block."""
    cluster.kubectl("cordon", NODE)
    try:
        yield
    finally:
        cluster.kubectl("uncordon", NODE)


def start(ada: Visitor, session: str) -> None:
    assert ada.launch(session, container="probe", name=session).status_code in (201, 202)
    ada.wait_ready(session)


def serves(ada: Visitor, session: str) -> bool:
    """Say whether a session's own program answers through the proxy."""
    try:
        answer = httpx.get(
            f"{ada.hub.url}/user/ada/{session}/api",
            headers={"Authorization": f"Bearer {ada.token}"},
            timeout=10,
        )
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["session"] == session


def is_valid(hub: ClusterHub, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{hub.url}/hub/api/user", headers=headers, timeout=10).status_code == 200


def uids(hub: ClusterHub, sessions: list[str]) -> dict[str, str]:
    return {session: hub.pod(session)["metadata"]["uid"] for session in sessions}


def restart(hub: ClusterHub, settled: Callable[[], bool]) -> float:
    """Kill the hub and start it; gives the seconds until everything is as before."""
    hub.kill()
    begun = time.monotonic()
    hub.start()
    wait_for(settled, "everything to be as before", seconds=SETTLED_WITHIN)
    return time.monotonic() - begun


# One failed request.


@pytest.mark.parametrize("action", ["status", "reset"])
def test_one_failed_request_at_a_restart_loses_nothing(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh, action: Action
) -> None:
    """Fail each request of a restart in its turn; a pass ends where a restart makes no more."""
    *running, pending = sessions = [fresh() for _ in range(5)]
    for session in running:
        start(ada, session)
    with no_room(hub.cluster):
        launching = launch_aside(ada, pending, container="probe")
        wait_for(lambda: pending in hub.launches(), "the pending one's pod")
        launching.join(60)
        pods, tokens = uids(hub, sessions), hub.tokens()
        assert len(tokens) >= len(sessions)

        def settled() -> bool:
            servers = {session: ada.server(session) for session in sessions}
            assert all(servers.values()), f"lost: {servers}"
            waiting = (servers[pending] or {})["pending"]
            return waiting == "check" and all(serves(ada, session) for session in running)

        took, lost = [], []
        for position in itertools.count(1):
            before = len(api.requests)
            fault = api.add(Fault(action, nth=position, times=1))
            took.append(restart(hub, settled))
            made = [f"{seen.verb} {seen.path}" for seen in api.requests[before:]]
            api.clear()
            assert uids(hub, sessions) == pods
            assert all(is_valid(hub, token) for token in tokens)
            print(f"{action} {position}: {took[-1]:.1f} s, {len(made)} requests: {made}")
            if not fault.hits:
                break
    ada.wait_ready(pending)
    assert serves(ada, pending)
    assert uids(hub, sessions) == pods
    print(f"{action}: {position - 1} positions, 0 of 5 lost, {max(took):.1f} s at most")
    for session in sessions:
        ada.stop(session)
