"""Why a session does not start: what its owner is told and how soon; and what starts all the same."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from canfar_spawner.core.status import REASONS, Reason
from tests.support import unlucky
from tests.support.cluster import Cluster, site
from tests.support.cluster.cluster import NODE
from tests.support.cluster.site import HUB, SESSIONS
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import Visitor, wait_for
from tests.support.told import (
    Recorder,
    Told,
    docker_config,
    ended,
    ends,
    fails,
    launch_aside,
    left,
    progress,
    secrets_of,
)

pytestmark = pytest.mark.cluster

PRIVATE = "private.example.org/canfar-hub/probe:1"
Fresh = Callable[[], str]


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster) -> Iterator[ClusterHub]:
    settings = {"catalogue": unlucky.sections(), "config": unlucky.CONFIG}
    with running_cluster_hub(data_directory, cluster=cluster, **settings) as found:
        yield found


Stories = dict[str, Future[Told]]


@pytest.fixture(scope="module", autouse=True)
def stories(hub: ClusterHub, ada: Visitor, fresh: Fresh) -> Iterator[Stories]:
    """Begin everything that takes long, side by side and beside all other tests."""

    def glutton(session: str) -> Told:
        def eat() -> None:
            answer = httpx.get(
                f"{hub.url}/user/ada/{session}/eat",
                headers={"Authorization": f"Bearer {ada.token}"},
                timeout=60,
            )
            assert answer.status_code >= 500, answer.text

        return ends(
            *(ada, session, eat),
            seconds=75,
            record="out-of-memory",
            container="glutton",
            mode="fixed",
            cores=0.5,
            memory=1,
        )

    def hoarder(session: str) -> Told:
        def fill() -> str:
            return hub.run_in(session, "fallocate", "-l", "1200M", "/scratch/too-much")

        return ends(ada, session, fill, seconds=300, record="scratch-full", container="probe")

    def failing(session: str, container: str) -> Told:
        return fails(ada, session, seconds=180, container=container)

    with ThreadPoolExecutor(8) as pool:
        yield {
            "glutton": pool.submit(glutton, fresh()),
            "hoarder": pool.submit(hoarder, fresh()),
            "missing": pool.submit(failing, fresh(), "missing"),
            "private": pool.submit(failing, fresh(), "private"),
            "absent": pool.submit(failing, fresh(), "absent"),
        }


@contextlib.contextmanager
def applied(cluster: Cluster, *objects: dict[str, Any]) -> Iterator[None]:
    """Have objects in the cluster for the length of a block."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    cluster.kubectl("apply", "--filename", "-", input=content)
    try:
        yield
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--filename", "-", input=content)


def tell(seconds: float, words: str) -> None:
    """Let whoever runs these tests see what was measured and read."""
    print(f"\n{seconds:.1f} s: {words}")


def starts(visitor: Visitor, session: str, **options: object) -> dict[str, Any]:
    """Launch a session, wait until it answers and give its pod."""
    answer = visitor.launch(session, name=session, **options)
    assert answer.status_code in (201, 202), answer.text
    visitor.wait_ready(session)
    assert isinstance(visitor.hub, ClusterHub)
    return visitor.hub.pod(session)


# No room.


def test_a_session_waits_for_room_and_is_then_given_up(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    begun = time.monotonic()
    with Recorder(hub, session, "no-room"):
        launching = launch_aside(ada, session, container="probe", mode="fixed", cores=64, memory=1)
        waiting = wait_for(
            lambda: "free cores" in (now := progress(ada, session)).page and now,
            "the page to say why",
            seconds=75,
        )
        tell(time.monotonic() - begun, waiting.now)
        assert waiting.phase == "placing"
        assert "No machine has enough free cores now." in waiting.now
        failure = wait_for(lambda: progress(ada, session).failure, "it to be given up")
        tell(time.monotonic() - begun, failure)
    launching.join()
    assert REASONS[Reason.UNSCHEDULABLE].sentence in failure
    assert "free cores" in failure
    assert REASONS[Reason.UNSCHEDULABLE].advice in failure
    assert REASONS[Reason.UNSCHEDULABLE].sentence in ended(ada, session)
    wait_for(lambda: not left(hub, session), "what is left of it to go")


def test_the_events_of_a_start_tell_why_it_waits(ada: Visitor, fresh: Fresh) -> None:
    session = fresh()
    launching = launch_aside(ada, session, container="probe", mode="fixed", cores=64, memory=1)
    wait_for(lambda: ada.server(session), "the start")
    told: list[dict[str, Any]] = []
    with httpx.stream(
        "GET",
        f"{ada.hub.url}/hub/api/users/ada/servers/{session}/progress",
        headers={"Authorization": f"Bearer {ada.token}"},
        timeout=100,
    ) as stream:
        told += [
            json.loads(line.removeprefix("data: "))
            for line in stream.iter_lines()
            if line.startswith("data: ")
        ]
    launching.join()
    assert [each["phase"] for each in told if "phase" in each] == ["asked", "preparing", "placing"]
    assert "No machine has enough free cores now." in [each.get("reason") for each in told]
    assert told[-1]["failed"]
    assert REASONS[Reason.UNSCHEDULABLE].sentence in told[-1]["message"]


@pytest.fixture
def gpu(cluster: Cluster) -> Iterator[None]:
    """Have the node say that it has a GPU."""

    def patch(count: str | None) -> None:
        amounts = {"example.org/gpu": count}
        status = {"status": {"capacity": amounts, "allocatable": amounts}}
        cluster.kubectl(
            "patch", "node", NODE, "--subresource", "status", "--patch", json.dumps(status)
        )

    patch("1")
    yield
    patch(None)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_goes_to_one_session(ada: Visitor, fresh: Fresh) -> None:
    first, second = fresh(), fresh()
    options = {"container": "probe", "mode": "fixed", "cores": 0.1, "memory": 1, "gpus": 1}
    pod = starts(ada, first, **options)
    (program,) = pod["spec"]["containers"]
    assert program["resources"]["limits"]["example.org/gpu"] == "1"
    assert pod["status"]["qosClass"] == "Guaranteed"
    assert "example.org/gpu" in [each.get("key") for each in pod["spec"]["tolerations"]]
    told = fails(ada, second, seconds=100, record="no-gpu", **options)
    tell(told.seconds, told.sentence)
    assert REASONS[Reason.UNSCHEDULABLE].sentence in told.sentence
    assert "free GPUs" in told.sentence
    ada.stop(first)


# Refused by the cluster.


def quota(**hard: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tests", "namespace": SESSIONS},
        "spec": {"hard": hard},
    }


@pytest.fixture
def small_quota(cluster: Cluster) -> Iterator[None]:
    """Have a quota that lets no session in."""
    with applied(cluster, quota(**{"requests.memory": "1Mi"})):
        asked = ("get", "quota", "tests", "--namespace", SESSIONS, "--output")
        wait_for(lambda: cluster.kubectl(*asked, "jsonpath={.status.hard}"), "the quota to count")
        yield


@pytest.mark.usefixtures("small_quota")
def test_a_quota_refuses_and_nothing_stays(hub: ClusterHub, ben: Visitor, fresh: Fresh) -> None:
    told = fails(ben, fresh(), seconds=75, container="probe")
    tell(told.seconds, told.sentence)
    assert REASONS[Reason.QUOTA].sentence in told.sentence
    assert REASONS[Reason.QUOTA].advice in told.sentence
    assert REASONS[Reason.QUOTA].sentence in told.home
    answer = ben.launch(fresh(), container="probe")
    assert answer.status_code == 424
    assert REASONS[Reason.QUOTA].sentence in answer.json()["message"]
    assert ben.server(told.session) is None or ben.server(told.session)["pending"] is None
    assert told.session not in hub.launches()


@pytest.mark.usefixtures("small_quota")
def test_ten_failures_in_a_row_do_not_end_the_hub(
    hub: ClusterHub, ben: Visitor, fresh: Fresh
) -> None:
    process = hub.process
    assert process is not None
    for _ in range(5):
        assert ben.launch(fresh(), container="probe").status_code == 424
    sessions = [fresh() for _ in range(5)]
    site_quota = ("delete", "quota", "tests", "--namespace", SESSIONS)
    hub.cluster.kubectl(*site_quota)
    for thread in [launch_aside(ben, session, container="broken") for session in sessions]:
        thread.join(100)
    for session in sessions:
        wait_for(lambda session=session: progress(ben, session).failure, f"{session} to fail")
    assert process.poll() is None, hub.log.read_text()[-4000:]
    assert httpx.get(f"{hub.url}/hub/health", timeout=20).status_code == 200
    assert "consecutive" not in hub.log.read_text().lower()
    session = fresh()
    starts(ben, session, container="probe")
    ben.stop(session)


def mutation(session: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a policy, as a site may have by mistake, that asks for less than was promised."""
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "tests-lessen"}}
    patch = '[JSONPatch{op: "replace", path: "/spec/resources/requests/cpu", value: "10m"}]'
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    chosen = {"matchLabels": {"hub.canfar.net/session": session}}
    policy = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule], "objectSelector": chosen},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    }
    return (
        {**api, "kind": "MutatingAdmissionPolicy", "spec": policy},
        {**api, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": "tests-lessen"}},
    )


@pytest.fixture
def without_rules(cluster: Cluster) -> Iterator[None]:
    """Take away the site's own rules, which would refuse such a pod first."""
    binding = ("validatingadmissionpolicybinding", "canfar-sessions")
    cluster.kubectl("delete", *binding)
    yield
    site.prepare(cluster)


@pytest.mark.usefixtures("without_rules")
def test_a_fixed_session_that_is_not_guaranteed_is_none(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    options = {"container": "probe", "mode": "fixed", "cores": 0.5, "memory": 1}
    with applied(hub.cluster, *mutation(session)):
        wait_for(lambda: lessened(hub.cluster, session), "the policy to be at work")
        told = fails(ada, session, seconds=75, **options)
    tell(told.seconds, told.sentence)
    assert REASONS[Reason.NOT_GUARANTEED].sentence in told.sentence
    assert REASONS[Reason.NOT_GUARANTEED].advice in told.sentence
    assert REASONS[Reason.NOT_GUARANTEED].sentence in told.home


def test_a_site_that_refuses_a_pod_is_told_of(hub: ClusterHub, ada: Visitor, fresh: Fresh) -> None:
    session = fresh()
    with applied(hub.cluster, *mutation(session)):
        wait_for(lambda: lessened(hub.cluster, session), "the policy to be at work")
        told = fails(ada, session, seconds=75, container="probe", mode="fixed", cores=0.5, memory=1)
    tell(told.seconds, told.sentence)
    assert "The cluster refused the session." in told.sentence
    assert "administrators" in told.home
    assert "asks for what it is limited to" in hub.log.read_text(), "the reason, for them"


def lessened(cluster: Cluster, session: str) -> bool:
    """Try what the policy does, where the site's rules do not reach; nothing is made."""
    sizes = {"cpu": "500m", "memory": "64Mi"}
    context = {
        "runAsNonRoot": True,
        "runAsUser": 20001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "tests-trial",
            "namespace": HUB,
            "labels": {"hub.canfar.net/session": session},
        },
        "spec": {
            "securityContext": context,
            "resources": {"requests": sizes, "limits": sizes},
            "containers": [{"name": "notebook", "image": "none", "securityContext": confined}],
        },
    }
    made = cluster.kubectl(
        *("create", "--dry-run=server", "--output", "json", "--filename", "-"),
        input=json.dumps(pod),
    )
    return bool(json.loads(made)["spec"]["resources"]["requests"]["cpu"] == "10m")


# Private images.


def test_a_private_image_is_had_with_its_credentials_only(
    hub: ClusterHub, ada: Visitor, ben: Visitor, fresh: Fresh
) -> None:
    session, image = fresh(), {"image": PRIVATE, "kind": "notebook"}
    where = hub.cluster.addresses
    account = {"registry_user": where.private_user, "registry_secret": where.private_secret}
    pod = starts(ada, session, **image, **account)
    name = pod["metadata"]["name"]
    (program,) = pod["spec"]["containers"]
    assert program["imagePullPolicy"] == "Always"
    assert pod["spec"]["imagePullSecrets"] == [{"name": f"{name}-registry"}]
    secrets = secrets_of(hub, session)
    assert set(secrets) == {name, f"{name}-registry"}
    auths = docker_config(secrets[f"{name}-registry"])["auths"]
    assert auths["private.example.org"]["username"] == where.private_user
    for secret in secrets.values():
        (owner,) = secret["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Pod", pod["metadata"]["uid"])

    # The node has it now; another user gets it no more than before.
    others: list[dict[str, str]] = [{}, {"registry_user": "ben", "registry_secret": "a-guess"}]
    with ThreadPoolExecutor(len(others)) as pool:
        refused = pool.map(lambda other: fails(ben, fresh(), seconds=300, **image, **other), others)
    for told in refused:
        tell(told.seconds, told.sentence)
        assert REASONS[Reason.IMAGE_REFUSED].sentence in told.sentence
        assert REASONS[Reason.IMAGE_REFUSED].advice in told.sentence
    ada.stop(session)
    wait_for(lambda: not left(hub, session), "pod and Secrets to go", seconds=60)
    for _, content in hub.evidence():
        assert where.private_secret.encode() not in content
    assert where.private_secret not in str(hub.rows("select user_options, state from spawners"))


# For some only, and somewhere only.


def test_a_container_for_a_group_is_refused_to_others(
    hub: ClusterHub, ben: Visitor, fresh: Fresh
) -> None:
    admin, session = hub.sign_in("admin"), fresh()
    answer = admin.launch(session, container="staff")
    assert answer.status_code in (400, 403)
    tell(0, answer.json()["message"])
    assert "staff" in answer.json()["message"].lower()
    assert not left(hub, session)
    assert '"staff"' not in admin.client.get("/hub/spawn").text
    starts(ben, session, container="staff")
    ben.stop(session)


def test_pods_go_where_the_site_says(ada: Visitor, fresh: Fresh) -> None:
    session = fresh()
    pod = starts(ada, session, container="probe")
    assert pod["spec"]["nodeSelector"] == unlucky.PLACEMENT["node_selector"]
    assert unlucky.PLACEMENT["tolerations"][0] in pod["spec"]["tolerations"]
    assert pod["spec"]["priorityClassName"] == "canfar-interactive"
    assert pod["spec"]["priority"] == 1000
    ada.stop(session)


# What takes its time: the kernel ends, the kubelet evicts, a registry refuses.


def test_the_image_is_not_there(stories: Stories) -> None:
    told = stories["missing"].result()
    tell(told.seconds, f"{told.sentence}\n  home: {told.home}")
    assert REASONS[Reason.IMAGE_NOT_FOUND].sentence in told.sentence
    assert "no-such-tag" in told.sentence, "the text of the event"
    assert REASONS[Reason.IMAGE_NOT_FOUND].advice in told.sentence
    assert REASONS[Reason.IMAGE_NOT_FOUND].sentence in told.home


def test_the_registry_wants_credentials(stories: Stories) -> None:
    told = stories["private"].result()
    tell(told.seconds, f"{told.sentence}\n  home: {told.home}")
    assert REASONS[Reason.IMAGE_REFUSED].sentence in told.sentence
    assert REASONS[Reason.IMAGE_REFUSED].advice in told.sentence
    assert REASONS[Reason.IMAGE_REFUSED].sentence in told.home


def test_the_program_is_not_in_the_image(stories: Stories) -> None:
    told = stories["absent"].result()
    tell(told.seconds, f"{told.sentence}\n  home: {told.home}")
    assert REASONS[Reason.PROGRAM_MISSING].sentence in told.sentence
    assert "/no/such/program" in told.sentence


def test_the_program_needs_more_memory_than_it_has(stories: Stories) -> None:
    told = stories["glutton"].result()
    tell(told.seconds, f"{told.sentence}\n  home: {told.home}")
    assert REASONS[Reason.OUT_OF_MEMORY].sentence in told.home
    assert "more memory" in told.home


def test_scratch_overflows(stories: Stories) -> None:
    told = stories["hoarder"].result()
    tell(told.seconds, f"{told.sentence}\n  home: {told.home}")
    assert REASONS[Reason.SCRATCH_FULL].sentence in told.home
    assert REASONS[Reason.SCRATCH_FULL].advice in told.home
