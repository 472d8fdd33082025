"""The back end for clusters beside a real API server; nothing runs here, states are put in by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.lifetime import LONGEST
from canfar_spawner.core.logs import CUT
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.status import Life, Reason
from canfar_spawner.kubernetes.client import KubeClient, NotFound
from canfar_spawner.kubernetes.manifests import ENDS, LAUNCH
from tests.core.world import plan
from tests.kubernetes.conftest import budget, until
from tests.kubernetes.world import JOB, TOKEN, World, opened
from tests.support.faultproxy import Fault, FaultProxy


@pytest.fixture
async def world(
    client: KubeClient, through: KubeClient, namespace: str, tmp_path: Path
) -> AsyncIterator[World]:
    async with opened(client, through, namespace, tmp_path) as found:
        yield found


RUNNING = {"running": {"startedAt": "2026-11-25T11:00:00Z"}}


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "finishedAt": "2026-11-25T11:00:07Z"}}


# Plans and ends.


async def test_what_a_launch_is_and_when_it_ends_is_found_again(world: World) -> None:
    made = await world.start(**JOB)
    (found,) = (await world.backend.plans()).values()
    assert found.plan == made
    assert found.ends == made.ends
    later = made.ends + timedelta(days=3, microseconds=7)
    for end in (made.ends + timedelta(days=1), later):
        await world.backend.extend(made, end)
        (found,) = (await world.backend.plans()).values()
        assert found.ends == end
    secret = await world.client.get("secrets", world.namespace, made.object_name, budget())
    assert secret["immutable"] is True
    assert set(secret["metadata"]["annotations"]) == {ENDS}


async def test_no_note_takes_from_a_session_what_it_was_promised(world: World) -> None:
    made = await world.start(**JOB)
    await world.backend.extend(made, made.ends - timedelta(hours=1))
    assert (await world.backend.plans())[made.launch].ends == made.ends
    broken = {"metadata": {"annotations": {ENDS: "soon"}}}
    where = ("secrets", world.namespace, made.object_name)
    await world.client.patch(*where, broken, budget())
    assert (await world.backend.plans())[made.launch].ends == made.ends


async def test_nothing_is_extended_that_is_gone_or_another_launch(world: World) -> None:
    made = await world.start(**JOB)
    other = made.model_copy(update={"launch": LaunchId(f"{made.session}-ba9876543210")})
    later = made.ends + timedelta(days=1)
    await world.backend.extend(other, later)
    assert (await world.backend.plans())[made.launch].ends == made.ends
    await world.backend.stop(made.launch)
    await world.backend.extend(made, later)
    assert await world.backend.plans() == {}


async def test_what_a_secret_holds_is_read_once(world: World, proxy: FaultProxy) -> None:
    made = await world.start(**JOB)
    await world.backend.plans()
    before = len(proxy.requests)
    await world.backend.extend(made, made.ends + timedelta(days=1))
    assert (await world.backend.plans())[made.launch].plan == made
    asked = [seen.path for seen in proxy.requests[before:] if "/secrets" in seen.path]
    # To be extended it is looked at and marked; to be listed, its metadata are enough.
    assert len([path for path in asked if made.object_name in path]) == 2
    foreign = {"metadata": {"name": "foreign", "labels": {"hub.canfar.net/instance": "test"}}}
    await world.client.create("secrets", world.namespace, foreign, budget())
    assert set(await world.backend.plans()) == {made.launch}


async def test_a_cluster_that_does_not_answer_is_no_empty_one(
    world: World, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.start(**JOB)
    for name in ("backend._EXTEND_WITHIN", "backend._ASK_WITHIN", "kept._ASK_WITHIN"):
        monkeypatch.setattr(f"canfar_spawner.kubernetes.{name}", 1.0)
    proxy.add(Fault("status", path="/secrets", status=503))
    with pytest.raises(Unavailable):
        await world.backend.plans()
    with pytest.raises(Unavailable):
        await world.backend.extend(made, made.ends + timedelta(days=1))


@pytest.mark.parametrize("container", ["astroml", "carta"])
async def test_a_session_without_a_record_is_found_with_its_last_end_and_a_job_is_not(
    world: World, container: str
) -> None:
    made = await world.start(container=container)
    later = made.ends + timedelta(days=2)
    await world.backend.extend(made, later)
    await world.state(made, "Running", RUNNING)
    await world.until(made, Life.RUNNING)
    (found,) = await world.backend.unclaimed("ada", frozenset())
    assert found.plan == made.model_copy(update={"ends": later})
    # The gateway alone has it, where there is one.
    assert (TOKEN.env[0][0], found.token) == TOKEN.env[0]
    assert await world.backend.unclaimed("ada", frozenset({made.launch})) == ()
    await world.backend.stop(made.launch)
    job = await world.start(**JOB)
    await world.state(job, "Running", RUNNING)
    await world.until(job, Life.RUNNING)
    assert await world.backend.unclaimed("ada", frozenset()) == (), "it is the manager's"


# How it ended, also when its pod is gone.


@pytest.mark.parametrize(("code", "reason"), [(0, Reason.FINISHED), (3, Reason.PROGRAM_FAILED)])
async def test_an_end_is_known_although_somebody_removed_the_pod(
    world: World, code: int, reason: Reason
) -> None:
    made = await world.start(**JOB)
    await world.state(made, "Failed" if code else "Succeeded", ended(code))
    await world.remove(made)
    await until(lambda: not world.backend.cache.all(), 20, "the pod to be gone")
    for found in (await world.backend.look(made), (await world.backend.observe())[made.launch]):
        assert (found.life, found.reason, found.exit_code) == (Life.ENDED, reason, code)


async def test_what_is_stopped_was_stopped_and_what_had_ended_had_ended(world: World) -> None:
    made = await world.start(**JOB)
    await world.state(made, "Running", RUNNING)
    await world.until(made, Life.RUNNING)
    await world.backend.stop(made.launch)
    found = await world.until(made, Life.ABSENT)
    assert found.reason is Reason.STOPPED
    again = plan(JOB, policy=world.policy).model_copy(
        update={"launch": LaunchId(f"{made.session}-000000000001")}
    )
    await world.backend.start(again, TOKEN)
    await world.state(again, "Failed", ended(5))
    await world.until(again, Life.ENDED)
    await world.backend.stop(again.launch)
    found = await world.until(again, Life.ENDED)
    assert (found.reason, found.exit_code) == (Reason.PROGRAM_FAILED, 5)
    assert await world.backend.plans() == {}


async def test_a_pod_removed_while_it_ran_was_ended_from_outside(world: World) -> None:
    made = await world.start(**JOB)
    await world.state(made, "Running", RUNNING)
    await world.until(made, Life.RUNNING)
    await world.remove(made)
    found = await world.until(made, Life.ABSENT)
    assert found.reason is Reason.SUPERVISOR_LOST


# Logs and use.


async def test_no_log_is_no_error_and_an_outage_is_no_log(
    world: World, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.start(**JOB)
    assert await world.backend.logs(made.launch) == "", "it has not begun to run"
    assert await world.backend.logs(LaunchId("a0000000-000000000000"), lines=5) == ""
    for name in ("_ASK_WITHIN", "_LOG_WITHIN"):
        monkeypatch.setattr(f"canfar_spawner.kubernetes.backend.{name}", 1.0)
    proxy.add(Fault("status", path="/log", status=503))
    with pytest.raises(Unavailable):
        await world.backend.logs(made.launch)


async def test_a_log_that_was_cut_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await world.start(**JOB)

    async def long(*_arguments: object, **_more: object) -> str:
        return "first\n" + "line of a log\n" * 700_000

    monkeypatch.setattr(world.backend.client, "logs", long)
    lines = (await world.backend.logs(made.launch)).splitlines()
    assert lines[0] == CUT.strip()
    assert set(lines[1:]) == {"line of a log"}


async def test_where_nothing_is_measured_nothing_is_claimed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("canfar_spawner.kubernetes.metrics._ASK_WITHIN", 0.5)
    made = await world.start(**JOB)
    assert await world.backend.usage(made.launch) is None
    assert await world.backend.usage(LaunchId("a0000000-000000000000")) is None


# A job's own objects.


async def test_a_job_is_a_pod_that_is_never_started_twice(world: World) -> None:
    made = await world.start(**JOB)
    pod = await world.client.get("pods", world.namespace, made.object_name, budget())
    assert pod["spec"]["restartPolicy"] == "Never"
    # No extension reaches further, whatever the site allows by then.
    assert pod["spec"]["activeDeadlineSeconds"] > LONGEST.total_seconds()
    await world.backend.start(made, TOKEN)
    again = await world.client.get("pods", world.namespace, made.object_name, budget())
    assert again["metadata"]["uid"] == pod["metadata"]["uid"], "it was adopted"
    (secret,) = await world.client.list(
        "secrets", world.namespace, budget(), labels=f"{LAUNCH}={made.launch}"
    )
    assert secret["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]
    await world.backend.stop(made.launch)
    with pytest.raises(NotFound):
        await world.client.get("secrets", world.namespace, made.object_name, budget())
