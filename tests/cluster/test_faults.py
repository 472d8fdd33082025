"""One failed request, an API server that is away, a hub that is killed: no session is lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.cluster import Cluster, site
from tests.support.cluster.cluster import NODE
from tests.support.cluster.site import SESSIONS
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.faultproxy import Action, Edit, Fault, FaultProxy, Partition
from tests.support.hub import Visitor, wait_for
from tests.support.told import left, progress, secrets_of, words

pytestmark = pytest.mark.cluster

Fresh = Callable[[], str]
PODS = rf"/namespaces/{SESSIONS}/pods(\?|$)"
SETTLED_WITHIN = 120.0
RECOVERED_WITHIN = 30.0
CONVERGED_WITHIN = 15.0
QUICK = (4,)
"""The positions that are tried each time; `make test-long PART=faults` tries all of them."""
MORE_THAN_A_RESTART = 40


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


@contextlib.contextmanager
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


def ask(ada: Visitor, session: str) -> threading.Thread:
    """Launch a session without waiting for the hub's answer, which may never come."""

    def launch() -> None:
        with contextlib.suppress(httpx.TransportError):
            ada.launch(session, container="probe", name=session)

    thread = threading.Thread(target=launch, daemon=True)
    thread.start()
    return thread


def card(ada: Visitor, session: str) -> str:
    """Give the card of a session, as home has it."""
    page = ada.client.get("/hub/home").text
    found = re.search(rf'<article[^>]*id="session-{session}".*?</article>', page, re.DOTALL)
    return found[0] if found else ""


def unknown_since(ada: Visitor, session: str) -> datetime | None:
    found = re.search(r'Unknown since <time datetime="([^"]+)"', card(ada, session))
    return datetime.fromisoformat(found[1]) if found else None


def is_running(ada: Visitor, session: str) -> bool:
    return "Running" in words(card(ada, session))


def made(api: FaultProxy, verb: str, path: str, after: int) -> int:
    """Count the requests of a kind that came after so many others."""
    return sum(
        seen.verb == verb and re.search(path, seen.path) is not None
        for seen in api.requests[after:]
    )


def tell(words_: str) -> None:
    """Let whoever runs these tests see what was measured."""
    print(f"\n{words_}")


# One failed request.


@pytest.mark.parametrize(
    ("action", "whole"),
    [
        ("status", False),
        pytest.param("status", True, marks=pytest.mark.long),
        pytest.param("reset", True, marks=pytest.mark.long),
    ],
)
def test_one_failed_request_at_a_restart_loses_nothing(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh, action: Action, *, whole: bool
) -> None:
    """Fail each request of a restart in its turn; all are done where a restart makes no more."""
    *running, pending = sessions = [fresh() for _ in range(5)]
    for session in running:
        start(ada, session)
    with no_room(hub.cluster):
        launching = ask(ada, pending)
        wait_for(lambda: pending in hub.launches(), "the pending one's pod")
        launching.join(60)
        pods, tokens = uids(hub, sessions), hub.tokens()
        assert len(tokens) >= len(sessions)

        def settled() -> bool:
            servers = {session: ada.server(session) for session in sessions}
            assert all(servers.values()), f"lost: {servers}"
            waiting = (servers[pending] or {})["pending"]
            return waiting == "check" and all(serves(ada, session) for session in running)

        took = []
        for position in itertools.count(1) if whole else QUICK:
            assert position < MORE_THAN_A_RESTART
            before = len(api.requests)
            fault = api.add(Fault(action, nth=position, times=1))
            took.append(restart(hub, settled))
            count = len(api.requests) - before
            api.clear()
            assert uids(hub, sessions) == pods
            assert all(is_valid(hub, token) for token in tokens)
            tell(f"{action} at {position}: {took[-1]:.1f} s, {count} requests")
            if not fault.hits:
                break
        hit = len(took) - (not fault.hits)
    ada.wait_ready(pending)
    wait_for(lambda: serves(ada, pending), "the one that has room to answer")
    assert uids(hub, sessions) == pods
    tell(f"{action}: {hit} positions, 0 of 5 lost, at most {max(took):.1f} s, seed {api.seed}")
    for session in sessions:
        ada.stop(session)


# The API server is away.


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        ("refuse", 0),
        pytest.param("refuse", 120, marks=pytest.mark.long),
        pytest.param("hang", 120, marks=pytest.mark.long),
    ],
)
def test_sessions_outlive_the_api_servers_absence(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh, how: Partition, seconds: float
) -> None:
    sessions = [fresh() for _ in range(2)]
    for session in sessions:
        start(ada, session)
    wait_for(lambda: all(is_running(ada, session) for session in sessions), "both to run")
    pods, process = uids(hub, sessions), hub.pid()
    began, away = datetime.now(UTC), time.monotonic()
    api.partition(how)

    def told() -> list[datetime]:
        assert all(serves(ada, session) for session in sessions)
        since = [unknown_since(ada, session) for session in sessions]
        return [each for each in since if each] if all(since) else []

    first = wait_for(told, "the cards to say that it is not known", seconds=90)
    shown = time.monotonic() - away
    for each in first:
        assert timedelta(seconds=-2) < began - each < timedelta(seconds=30)
    last = wait_for(lambda: time.monotonic() - away >= seconds and told(), "the outage to be long")
    assert last == first, "since when it is not known does not move"
    lasted = time.monotonic() - away
    api.heal()
    back = time.monotonic()
    wait_for(lambda: all(is_running(ada, session) for session in sessions), "both to be known")
    recovered = time.monotonic() - back
    tell(f"{how}: away {lasted:.0f} s, told after {shown:.1f} s, known after {recovered:.1f} s")
    assert recovered <= RECOVERED_WITHIN
    assert hub.process is not None
    assert hub.process.poll() is None
    assert hub.pid() == process
    assert uids(hub, sessions) == pods
    for session in sessions:
        ada.stop(session)


def test_a_hub_that_starts_without_the_api_server_keeps_and_serves_all(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh
) -> None:
    *running, pending = sessions = [fresh() for _ in range(3)]
    for session in running:
        start(ada, session)
    with no_room(hub.cluster):
        launching = ask(ada, pending)
        wait_for(lambda: pending in hub.launches(), "the pending one's pod")
        launching.join(60)
        pods = uids(hub, sessions)
        api.partition()
        took = restart(hub, lambda: all(serves(ada, session) for session in running))
        assert all(ada.server(session) for session in sessions)
        assert "Unknown" in words(card(ada, running[0]))
        api.heal()
        back = time.monotonic()
        wait_for(lambda: all(is_running(ada, each) for each in running), "them to be known")
        recovered = time.monotonic() - back
    tell(f"restart without API: all served after {took:.1f} s, known {recovered:.1f} s after it")
    assert recovered <= RECOVERED_WITHIN
    ada.wait_ready(pending)
    assert uids(hub, sessions) == pods
    for session in sessions:
        ada.stop(session)


# Creating.


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("pods", "drop"),
        pytest.param("pods", "swallow", marks=pytest.mark.long),
        pytest.param("secrets", "drop", marks=pytest.mark.long),
        ("secrets", "swallow"),
    ],
)
def test_what_was_made_though_nobody_heard_of_it_is_taken_up(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh, kind: str, action: Action
) -> None:
    session, before = fresh(), len(api.requests)
    path = rf"/namespaces/{SESSIONS}/{kind}(\?|$)"
    fault = api.add(Fault(action, verb="create", path=path, times=1))
    ask(ada, session)
    wait_for(lambda: session in hub.launches(), "the pod")
    pod = hub.pod(session)["metadata"]["uid"]
    ada.wait_ready(session)
    assert fault.hits == 1
    assert made(api, "create", path, before) == 2
    assert made(api, "delete", SESSIONS, before) == 0
    assert hub.pod(session)["metadata"]["uid"] == pod
    ada.stop(session)


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (429, 1.0),
        (503, None),
        pytest.param(500, None, marks=pytest.mark.long),
    ],
)
def test_a_busy_api_server_is_asked_again(
    hub: ClusterHub,
    api: FaultProxy,
    ada: Visitor,
    fresh: Fresh,
    status: int,
    after: float | None,
) -> None:
    session, before = fresh(), len(api.requests)
    asked = time.monotonic()
    api.add(Fault("status", verb="create", path=PODS, status=status, retry_after=after, times=3))
    start(ada, session)
    assert made(api, "create", PODS, before) == 4
    assert time.monotonic() - asked >= 3 * (after or 0.0)
    assert hub.pod(session)
    ada.stop(session)


def test_what_is_forbidden_is_not_asked_again(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh
) -> None:
    session, before = fresh(), len(api.requests)
    api.add(Fault("status", verb="create", path=PODS, status=403))
    ask(ada, session)
    failure = wait_for(lambda: progress(ada, session).failure, "the refusal")
    assert "The cluster refused the session." in failure
    assert made(api, "create", PODS, before) == 1
    wait_for(lambda: not left(hub, session), "what was made for it to go")


# Watching.


@pytest.mark.parametrize(
    "edit",
    [
        "gone",
        "stall",
        *(
            pytest.param(edit, marks=pytest.mark.long)
            for edit in ("cut", "break", "truncate", "garbage")
        ),
    ],
)
def test_what_changes_is_known_whatever_becomes_of_watches(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh, edit: Edit
) -> None:
    old, new = fresh(), fresh()
    start(ada, old)
    fault = api.add(Fault("edit", verb="watch", path=r"/pods\?", edit=edit))
    wait_for(lambda: fault.hits, "a watch to go wrong")
    hub.destroy(old)
    ended = time.monotonic()
    ask(ada, new)
    wait_for(lambda: not (ada.server(old) or {}).get("ready"), "the end to be known")
    end = time.monotonic() - ended
    ada.wait_ready(new)
    known = datetime.now(UTC)
    (status,) = hub.pod(new)["status"]["containerStatuses"]
    begin = (
        known - datetime.fromisoformat(status["state"]["running"]["startedAt"])
    ).total_seconds()
    tell(f"{edit}: a start was known after {begin:.1f} s, an end after {end:.1f} s")
    assert begin <= CONVERGED_WITHIN
    assert end <= CONVERGED_WITHIN
    ada.stop(new)


# Stopping.


def test_a_stop_without_the_api_server_waits_for_it(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    start(ada, session)
    api.partition()
    assert ada.api("DELETE", f"/users/ada/servers/{session}").status_code == 202
    said = "The cluster does not answer now. The session is stopped as soon as it does."
    wait_for(lambda: said in words(card(ada, session)), "the card to say what it waits for")
    assert "Stopping" in words(card(ada, session))
    assert (ada.server(session) or {})["pending"] == "stop"
    assert session in hub.launches()
    api.heal()
    back = time.monotonic()
    wait_for(lambda: not left(hub, session), "nothing to be left")
    tell(f"stopped {time.monotonic() - back:.1f} s after the API server was back")
    assert time.monotonic() - back <= RECOVERED_WITHIN
    wait_for(lambda: ada.server(session) is None, "the row to go")


def test_a_pod_that_cannot_go_is_not_waited_for(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session, other = fresh(), fresh()
    start(ada, session)
    pod = hub.pod(session)["metadata"]["name"]

    def hold(finalizers: list[str]) -> None:
        patch = json.dumps({"metadata": {"finalizers": finalizers}})
        merged = ("--type", "merge", "--patch", patch)
        hub.cluster.kubectl("patch", "pod", pod, "--namespace", SESSIONS, *merged)

    hold(["example.org/held"])
    try:
        begun = time.monotonic()
        ada.api("DELETE", f"/users/ada/servers/{session}")
        start(ada, other)
        wait_for(lambda: ada.server(session) is None, "the stop to end")
        tell(f"a pod that cannot go was given up after {time.monotonic() - begun:.1f} s")
        assert session in hub.launches()
    finally:
        hold([])
    wait_for(lambda: not left(hub, session), "nothing to be left")
    ada.stop(other)


# A hub that is killed in the middle of a start.


def test_a_hub_killed_before_the_pod_was_made_leaves_nothing(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    hold = api.add(Fault("hang", verb="create", path=PODS))
    ask(ada, session)
    wait_for(lambda: hold.hits, "the order of the pod")
    assert secrets_of(hub, session)
    hub.kill()
    api.clear()
    hub.start()
    begun = time.monotonic()
    wait_for(lambda: not left(hub, session), "the Secret to go", seconds=60)
    tell(f"the Secret of no pod was gone {time.monotonic() - begun:.1f} s after the restart")
    wait_for(lambda: not (ada.server(session) or {}).get("ready"), "the end to be known")


def test_a_hub_killed_before_it_heard_of_its_pod_takes_it_up(
    hub: ClusterHub, api: FaultProxy, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    lost = api.add(Fault("swallow", verb="create", path=PODS))
    ask(ada, session)
    wait_for(lambda: lost.hits and session in hub.launches(), "the pod")
    pod = hub.pod(session)["metadata"]["uid"]
    hub.kill()
    api.clear()
    hub.start()
    ada.wait_ready(session)
    assert serves(ada, session)
    assert hub.pod(session)["metadata"]["uid"] == pod
    ada.stop(session)
    wait_for(lambda: not left(hub, session), "nothing to be left")
