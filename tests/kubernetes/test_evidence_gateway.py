"""What a pod proves whose program stands behind the gateway: nothing of the gateway's is an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canfar_spawner.core.patience import given_up
from canfar_spawner.core.pods import PodsPolicy
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.kubernetes.evidence import evidence_of

BEGUN = "2026-11-29T10:00:00Z"
NOW = datetime(2026, 11, 29, 10, 5, tzinfo=UTC)
RUNS = {"running": {"startedAt": BEGUN}}
NOT_YET = {"waiting": {"reason": "PodInitializing"}}
CRASHES = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}}
DIED = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": BEGUN}}


def told(program: dict[str, Any], gateway: dict[str, Any], *events: dict[str, Any]) -> Evidence:
    pod = {
        "metadata": {"name": "t0000001-ada", "uid": "1"},
        "spec": {
            "nodeName": "one",
            "initContainers": [{"name": "gateway", "image": "r/p/gateway:1"}],
            "containers": [{"name": "notebook", "image": "r/p/carta:1"}],
        },
        "status": {
            "phase": "Pending" if program is NOT_YET else "Running",
            "startTime": BEGUN,
            "containerStatuses": [{"name": "notebook", "state": program}],
            "initContainerStatuses": [
                {"name": "other", "state": DIED},
                {"name": "gateway", "state": gateway},
            ],
        },
    }
    return evidence_of(pod, events, seen=NOW)


def event(reason: str, of: str, message: str = "") -> dict[str, Any]:
    field = f"spec.{'initContainers' if of == 'gateway' else 'containers'}{{{of}}}"
    return {
        "reason": reason,
        "message": message,
        "firstTimestamp": BEGUN,
        "lastTimestamp": BEGUN,
        "involvedObject": {"fieldPath": field},
    }


@pytest.mark.parametrize("gateway", [RUNS, DIED, CRASHES, {}])
def test_while_the_program_runs_the_session_lives(gateway: dict[str, Any]) -> None:
    found = told(RUNS, gateway)
    assert found.life is Life.RUNNING
    assert (found.reason is Reason.NOT_ANSWERING) == (gateway is CRASHES)
    assert given_up(found, interactive=True, pods=PodsPolicy(), now=NOW) is None


@pytest.mark.parametrize("gateway", [RUNS, DIED, CRASHES])
def test_the_programs_end_is_the_sessions_whatever_the_gateway_does(
    gateway: dict[str, Any],
) -> None:
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": BEGUN}}
    found = told(killed, gateway)
    assert (found.life, found.exit_code) == (Life.ENDED, 137)
    assert found.reason is Reason.OUT_OF_MEMORY
    left = told({"terminated": {"exitCode": 3, "reason": "Error"}}, gateway)
    assert (left.life, left.exit_code, left.reason) == (Life.ENDED, 3, Reason.PROGRAM_FAILED)


@pytest.mark.parametrize(
    ("gateway", "reason", "says"),
    [
        (
            {"waiting": {"reason": "ImagePullBackOff", "message": "r/p/gateway:1: not found"}},
            Reason.IMAGE_FAILED,
            "The gateway's image: r/p/gateway:1: not found",
        ),
        (CRASHES, Reason.PROGRAM_MISSING, "The gateway in front of it ends again and again."),
        (
            {"waiting": {"reason": "CreateContainerConfigError", "message": "no key gateway.A"}},
            Reason.PROGRAM_MISSING,
            "no key gateway.A",
        ),
    ],
)
def test_a_gateway_that_does_not_begin_ends_the_waiting_with_a_reason(
    gateway: dict[str, Any], reason: Reason, says: str
) -> None:
    found = told(NOT_YET, gateway, event("Failed", "gateway", "r/p/gateway:1: not found"))
    assert (found.life, found.reason) == (Life.STARTING, reason)
    assert says in found.detail
    pods = PodsPolicy()
    soon = NOW.replace(minute=0) + timedelta(seconds=pods.image_seconds - 1)
    assert given_up(found, interactive=True, pods=pods, now=soon) is None
    assert given_up(found, interactive=True, pods=pods, now=NOW) is reason


@pytest.mark.parametrize(
    ("of", "image"), [("gateway", "r/p/gateway:1"), ("notebook", "r/p/carta:1")]
)
def test_it_is_said_which_image_is_fetched(of: str, image: str) -> None:
    found = told(NOT_YET, NOT_YET if of == "gateway" else RUNS, event("Pulling", of))
    assert (found.phase, found.detail) == (Phase.PULLING, f"Fetching {image}.")
