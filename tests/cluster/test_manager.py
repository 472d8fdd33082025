"""The session manager on the real cluster: jobs from request to kept log, ends, what was lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.core.status import REASONS, Reason
from canfar_spawner.kubernetes.manifests import ENDS, KIND
from tests.support.cluster import Cluster, site
from tests.support.cluster.cluster import NODE
from tests.support.cluster.site import MANIFESTS, SESSIONS
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import Visitor, wait_for
from tests.support.told import left
from tests.support.v1 import V1

pytestmark = pytest.mark.cluster

SOON = {"interactive": "PT40S", "headless": "PT30S", "longest": "PT2H"}
LATEST = timedelta(seconds=60)
"""How long after its end a session may still be there."""
WRITE = (
    'import os, socket, time; n = os.environ["REPLICA_ID"];'
    ' open("out-" + n, "a").write(socket.gethostname() + " ");'
    ' time.sleep(float(os.environ["NAP"])); print("written", n, "of", os.environ["REPLICA_COUNT"])'
)


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster) -> Iterator[ClusterHub]:
    limits = {"interactive": 20, "batch": 200}
    settings = {"cluster": cluster, "catalogue": {"limits": limits}}
    with running_cluster_hub(data_directory, **settings) as found:
        yield found


@pytest.fixture
def v1(ada: Visitor) -> V1:
    return V1.of(ada)


def job(v1: V1, program: str, *env: str, **fields: str) -> list[str]:
    """Create a job of a line of Python and give its ids."""
    answer = v1.create(*env, cmd="python3", args=f"-c '{program}'", **fields)
    assert answer.status_code == 200, answer.text
    return answer.text.split()


def ends(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["expiryTime"])


def told(row: dict[str, Any]) -> str:
    """Give all that is said of a session, wherever it is said."""
    return json.dumps(row, ensure_ascii=False)


# Jobs.


def test_a_job_runs_once_and_its_log_outlives_its_pod(hub: ClusterHub, v1: V1) -> None:
    (session,) = job(v1, 'print("all done")', "SURVEY=deep")
    assert v1.wait(session, "Completed")["status"] == "Completed"
    begun = time.monotonic()
    wait_for(lambda: not left(hub, session), "pod and Secrets to go", seconds=60)
    assert time.monotonic() - begun < 60
    assert v1.logs(session) == b"all done\n"


def test_what_fails_says_why(hub: ClusterHub, v1: V1) -> None:
    (failing,) = job(v1, "raise SystemExit(7)")
    eat = "hoard = []\nwhile True: hoard.append(b'x' * 2**24)".replace("'", '"')
    (hungry,) = job(v1, eat, cores="0.5", ram="1")
    missing = v1.created(image="registry.example.org/canfar-hub/nothing:1", cmd="true")
    for session in (failing, hungry, missing):
        v1.wait(session, "Failed")
        wait_for(lambda each=session: not left(hub, each), "what is left of it to go", seconds=60)
    assert "7" in told(v1.row(failing) or {})
    assert REASONS[Reason.OUT_OF_MEMORY].sentence in told(v1.row(hungry) or {})
    assert REASONS[Reason.IMAGE_NOT_FOUND].sentence in told(v1.row(missing) or {})


def test_a_job_that_waits_for_room_says_so(hub: ClusterHub, v1: V1) -> None:
    session = v1.created(cmd="true", cores="64", ram="1")
    words = "No machine has enough free cores now."
    wait_for(lambda: words in told(v1.row(session) or {}), "it to say why", seconds=30)
    assert v1.status(session) == "Pending"
    assert words in v1.call("GET", f"/v1/session/{session}", params={"view": "events"}).text
    v1.delete(session)
    wait_for(lambda: not left(hub, session), "it to go", seconds=60)


def replicas(hub: ClusterHub, v1: V1, count: int) -> None:
    """Run replicas that each write a file, and kill hub and manager in the middle."""
    home = hub.cluster.arc / "home" / "ada"
    for path in home.glob("out-*"):
        path.unlink()

    def one(number: int) -> str:
        env = (f"REPLICA_ID={number}", f"REPLICA_COUNT={count}", "NAP=5")
        (session,) = job(v1, WRITE, *env, name=f"many-{number}")
        return session

    # As the public client does it: a request for each.
    with ThreadPoolExecutor(8) as pool:
        sessions = set(pool.map(one, range(1, count + 1)))
    wait_for(lambda: list(home.glob("out-*")), "the first of them to run")
    hub.kill_manager()
    hub.kill()
    hub.start_manager()
    # It needs no hub for what runs already: ends are written down, logs kept, pods removed.
    wait_for(lambda: not hub.pods(f"{KIND}=headless"), "all of them to end", seconds=600)
    hub.start()
    wait_for(lambda: _done(v1) == sessions, "all of them to be told of as completed", seconds=600)
    written = {path.name: path.read_text().split() for path in home.glob("out-*")}
    assert len(written) == count
    hosts = [host for lines in written.values() for host in lines]
    assert len(hosts) == len(set(hosts)) == count, "each ran once"
    with ThreadPoolExecutor(8) as pool:
        logs = set(pool.map(v1.logs, sessions))
    assert logs == {f"written {number} of {count}\n".encode() for number in range(1, count + 1)}


def _done(v1: V1) -> set[str]:
    return {
        row["id"]
        for row in v1.rows()
        if row["name"].startswith("many") and row["status"] == "Completed"
    }


def test_replicas_run_once_each_though_hub_and_manager_are_killed(hub: ClusterHub, v1: V1) -> None:
    replicas(hub, v1, 8)


# What is used and what there is.


def test_what_a_session_uses_is_measured(ada: Visitor, v1: V1, fresh: Callable[[], str]) -> None:
    session = fresh()
    assert ada.launch(session, container="probe").status_code in (201, 202)
    ada.wait_ready(session)
    wait_for(
        lambda: "ramInUse" in (row := v1.row(session) or {}) and _known(row["ramInUse"]), "use"
    )
    row = v1.row(session)
    assert row is not None
    assert 0 < float(row["ramInUse"].removesuffix("G")) < 1
    ada.stop(session)


def _known(text: str) -> bool:
    return (
        text.removesuffix("G").replace(".", "", 1).isdigit() and float(text.removesuffix("G")) > 0
    )


def test_what_there_is_in_all_is_true_or_is_not_told(hub: ClusterHub, v1: V1) -> None:
    stats = {"view": "stats"}
    assert v1.call("GET", "/v1/session", params=stats).status_code == 503
    optional = str(MANIFESTS / "optional" / "nodes.yaml")
    hub.cluster.kubectl("apply", "--filename", optional)
    try:
        answer = wait_for(
            lambda: (a := v1.call("GET", "/v1/session", params=stats)).status_code == 200 and a,
            "it to be told",
        )
    finally:
        hub.cluster.kubectl("delete", "--filename", optional)
    node = json.loads(hub.cluster.kubectl("get", "node", NODE, "--output", "json"))
    cores = int(node["status"]["allocatable"]["cpu"])
    assert float(answer.json()["cores"]["cpuCoresAvailable"]) == cores


# When they end.


@pytest.fixture(scope="module")
def soon(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[ClusterHub]:
    """Run a hub whose sessions have little time."""
    data = tmp_path_factory.mktemp("soon") / "data"
    with running_cluster_hub(data, cluster=cluster, catalogue={"lifetimes": SOON}) as found:
        yield found


# A minute of waiting; one machine shows the same each time.
@pytest.mark.long
def test_sessions_and_jobs_end_when_their_time_is_over_and_not_before(
    soon: ClusterHub, fresh: Callable[[], str]
) -> None:
    ada, session, kept = soon.sign_in("ada"), fresh(), fresh()
    v1 = V1.of(ada)
    for each in (session, kept):
        assert ada.launch(each, container="probe", name=each).status_code in (201, 202)
    asleep = v1.created(cmd="sleep", args="600")
    promised = {each: ends(v1.row(each) or {}) for each in (session, kept, asleep)}
    ada.wait_ready(kept)
    time_left = promised[kept] - datetime.now(UTC)
    assert time_left > timedelta(seconds=2), "the machine is too busy for this test"
    # A site that gives more time from now on.
    longer = {**SOON, "interactive": "PT1H"}
    site.write_catalogue(soon.data / "catalogue.yaml", lifetimes=longer)
    renew = {"action": "renew"}
    wait_for(
        lambda: (
            v1.call("POST", f"/v1/session/{kept}", params=renew).status_code == 200
            and ends(v1.row(kept) or {}) > promised[kept] + timedelta(minutes=30)
        ),
        "it to be extended",
    )
    again = v1.call("POST", f"/v1/session/{kept}", params=renew)
    assert again.status_code == 200
    for each, last in ((session, promised[session]), (asleep, promised[asleep])):
        wait_for(lambda each=each: each not in soon.launches(), "its end", seconds=150)
        assert last <= datetime.now(UTC) < last + LATEST + timedelta(seconds=30)
    assert v1.wait(asleep, "Completed", "Failed")
    assert REASONS[Reason.EXPIRED].sentence in told(v1.row(asleep) or {})
    home = lambda: ada.client.get("/hub/home").text  # noqa: E731 - asked again and again
    wait_for(lambda: "reached the end of its lifetime" in home(), "the reason on the home page")
    assert kept in soon.launches()
    secret = soon.pod(kept)["metadata"]["name"]
    path = "jsonpath={.metadata.annotations}"
    words = ("get", "secret", secret, "--namespace", SESSIONS, "--output", path)
    assert ENDS in soon.cluster.kubectl(*words)
    ada.stop(kept)


# What is lost.


def test_a_lost_database_of_the_manager_loses_no_session_and_no_promise(
    hub: ClusterHub, ada: Visitor, v1: V1, fresh: Callable[[], str]
) -> None:
    session = fresh()
    assert ada.launch(session, container="probe", name="Kept").status_code in (201, 202)
    ada.wait_ready(session)
    asleep = v1.created(cmd="sleep", args="600")
    v1.wait(asleep, "Running")
    for each in (session, asleep):
        assert v1.call("POST", f"/v1/session/{each}", params={"action": "renew"}).status_code == 200
    promised = {each: ends(v1.row(each) or {}) for each in (session, asleep)}
    uids = {each: hub.pod(each)["metadata"]["uid"] for each in (session, asleep)}
    hub.kill_manager()
    for path in (hub.data / "sessions").glob("sessions.sqlite*"):
        path.unlink()
    hub.start_manager()
    wait_for(hub.manager_answers, "the manager")
    begun = time.monotonic()
    for each in (session, asleep):
        wait_for(lambda each=each: v1.row(each), "it to be taken up", seconds=60)
        row = v1.wait(each, "Running")
        assert abs(ends(row) - promised[each]) < timedelta(seconds=2)
    assert time.monotonic() - begun < 60
    assert uids == {each: hub.pod(each)["metadata"]["uid"] for each in (session, asleep)}
    v1.delete(asleep)
    ada.stop(session)


@pytest.mark.long
def test_sixty_four_replicas_run_once_each_though_hub_and_manager_are_killed(
    hub: ClusterHub, v1: V1
) -> None:
    replicas(hub, v1, 64)
