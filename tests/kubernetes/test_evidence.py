"""What pods and their events prove, on what a real cluster said of them and on anything at all.

The recordings are states of pods, one after the other; `tests.kubernetes.record` makes them anew.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.kubernetes.evidence import (
    event_time,
    evidence_of,
    image_reason,
    moment,
    room_detail,
)

RECORDED = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in RECORDED.glob("*.json"))
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

ENDS: dict[str, tuple[Life, Phase, Reason, str]] = {
    "finished": (Life.ENDED, Phase.ENDING, Reason.FINISHED, ""),
    "image-not-found": (Life.STARTING, Phase.PULLING, Reason.IMAGE_NOT_FOUND, "no-such-tag: not"),
    "image-refused": (Life.STARTING, Phase.PULLING, Reason.IMAGE_REFUSED, "authorization failed"),
    "killed-when-evicted": (Life.ENDED, Phase.ENDING, Reason.SCRATCH_FULL, ""),
    "no-gpu": (Life.STARTING, Phase.PLACING, Reason.WAITING_FOR_RESOURCES, "enough free GPUs"),
    "no-room": (Life.STARTING, Phase.PLACING, Reason.WAITING_FOR_RESOURCES, "enough free cores"),
    "node-too-small": (Life.ENDED, Phase.ENDING, Reason.UNSCHEDULABLE, "enough resource: cpu"),
    "out-of-memory": (Life.ENDED, Phase.ENDING, Reason.OUT_OF_MEMORY, ""),
    "out-of-time": (Life.ENDED, Phase.ENDING, Reason.EXPIRED, ""),
    "program-missing": (Life.ENDED, Phase.ENDING, Reason.PROGRAM_MISSING, "/no/such/program"),
    "scratch-full": (Life.ENDED, Phase.ENDING, Reason.SCRATCH_FULL, ""),
    "secret-missing": (Life.STARTING, Phase.STARTING, Reason.PROGRAM_MISSING, "not found"),
    "volume-missing": (Life.STARTING, Phase.PLACING, Reason.STORAGE_FAILED, "MountVolume"),
    "wrong-kind-of-node": (
        Life.STARTING,
        Phase.PLACING,
        Reason.WAITING_FOR_RESOURCES,
        "No machine is of the kind asked for.",
    ),
}


def states(name: str) -> list[Evidence]:
    content = json.loads((RECORDED / f"{name}.json").read_text())
    return [evidence_of(state["pod"], state["events"], seen=NOW) for state in content]


def test_every_recording_has_its_meaning() -> None:
    assert set(ENDS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_recorded_is_understood(name: str) -> None:
    life, phase, reason, detail = ENDS[name]
    found = states(name)[-1]
    assert (found.life, found.phase, found.reason) == (life, phase, reason)
    assert detail in found.detail
    assert bool(found.detail) is bool(detail)
    assert found.at is not None or name == "node-too-small"
    assert found.seen == NOW


@pytest.mark.parametrize("name", NAMES)
def test_no_state_on_the_way_proves_another_end(name: str) -> None:
    life, _, reason, _ = ENDS[name]
    for found in states(name):
        if found.life is Life.ENDED:
            assert (life, reason) == (Life.ENDED, found.reason)


@pytest.mark.parametrize("name", ["image-not-found", "image-refused"])
def test_a_cause_is_known_from_each_state_alone(name: str) -> None:
    reason = ENDS[name][2]
    for state in json.loads((RECORDED / f"{name}.json").read_text()):
        without = evidence_of(state["pod"], (), seen=NOW)
        assert without.reason is reason, "older servers tell less in events, and events get lost"
        told = evidence_of(state["pod"], state["events"], seen=NOW)
        assert told.reason is reason
        assert told.at == min(
            moment(event["firstTimestamp"])  # type: ignore[type-var]
            for event in state["events"]
            if event["reason"] == "Failed"
        ), "the first failure, however often it is repeated"
        assert "rpc error" not in told.detail


def test_an_old_server_says_the_cause_in_events_only() -> None:
    (*_, state) = json.loads((RECORDED / "image-not-found.json").read_text())
    waiting = state["pod"]["status"]["containerStatuses"][0]["state"]["waiting"]
    waiting.update(reason="ImagePullBackOff", message='Back-off pulling image "x"')
    found = evidence_of(state["pod"], state["events"], seen=NOW)
    assert found.reason is Reason.IMAGE_NOT_FOUND


# By hand: what the recordings lack.


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "t0000001-ada", "uid": "1"},
        "spec": {"nodeName": "one", "containers": [{"name": "notebook", "image": "r/p/i:1"}]},
        "status": status,
    }


def container(state: str, **fields: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "notebook", "state": {state: fields}}]}


def event(reason: str, message: str = "", **fields: Any) -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": "2026-11-25T10:00:00Z", **fields}


@pytest.mark.parametrize(
    ("status", "events", "reason"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, (), Reason.EVICTED),
        ({"phase": "Failed", "reason": "NodeLost"}, (), Reason.NODE_LOST),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError"}, (), Reason.UNSCHEDULABLE),
        ({"phase": "Failed"}, (), Reason.PROGRAM_FAILED),
        ({"phase": "Failed", **container("terminated", exitCode=3)}, (), Reason.PROGRAM_FAILED),
        ({"phase": "Failed", **container("terminated", exitCode=137)}, (), Reason.PROGRAM_FAILED),
        ({"phase": "Running", **container("terminated", exitCode=0)}, (), Reason.FINISHED),
        (
            {"phase": "Succeeded", **container("terminated", exitCode=0)},
            (event("DeadlineExceeded"),),
            Reason.EXPIRED,
        ),
        (
            {"phase": "Succeeded", **container("terminated", exitCode=0)},
            (event("Preempted", "Preempted by a pod"),),
            Reason.EVICTED,
        ),
        (
            {
                "phase": "Failed",
                "conditions": [
                    {"type": "DisruptionTarget", "status": "True", "message": "drained"}
                ],
                **container("terminated", exitCode=143),
            },
            (),
            Reason.EVICTED,
        ),
        *(
            (
                {
                    "phase": "Failed",
                    "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": why}],
                },
                (),
                Reason.NODE_LOST,
            )
            for why in ("DeletionByTaintManager", "DeletionByPodGC")
        ),
    ],
)
def test_why_a_pod_is_over(
    status: dict[str, Any], events: tuple[dict[str, Any], ...], reason: Reason
) -> None:
    found = evidence_of(pod(**status), events, seen=NOW)
    assert (found.life, found.reason) == (Life.ENDED, reason)


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
@pytest.mark.parametrize("code", [0, 3, 137, 143])
@pytest.mark.parametrize(
    ("why", "reason"),
    [("EvictionByEvictionAPI", Reason.EVICTED), ("DeletionByTaintManager", Reason.NODE_LOST)],
)
def test_what_was_driven_out_did_not_end_by_itself_however_it_ended(
    phase: str, code: int, why: str, reason: Reason
) -> None:
    driven = {"type": "DisruptionTarget", "status": "True", "reason": why, "message": "drained"}
    over = pod(phase=phase, conditions=[driven], **container("terminated", exitCode=code))
    over["metadata"]["deletionTimestamp"] = "2026-11-25T10:00:00Z"
    found = evidence_of(over, (), seen=NOW)
    assert (found.life, found.reason) == (Life.ENDED, reason)


def test_a_program_that_failed_says_with_which_code() -> None:
    for code, detail in ((3, "exit code 3"), (0, "")):
        over = pod(
            phase="Failed" if code else "Succeeded", **container("terminated", exitCode=code)
        )
        assert evidence_of(over, (), seen=NOW).detail == detail


@pytest.mark.parametrize(
    ("seconds", "ended", "reason"),
    [
        (99, {"exitCode": 137}, Reason.PROGRAM_FAILED),
        (99, {"exitCode": 0}, Reason.FINISHED),
        (100, {"exitCode": 137}, Reason.EXPIRED),
        (100, {"exitCode": 0}, Reason.EXPIRED),
        (130, {"exitCode": 143}, Reason.EXPIRED),
        (130, {"exitCode": 137, "reason": "OOMKilled"}, Reason.OUT_OF_MEMORY),
    ],
)
def test_the_end_of_its_time_is_told_before_the_event_of_it(
    seconds: int, ended: dict[str, Any], reason: Reason
) -> None:
    begun = datetime(2026, 11, 25, 10, tzinfo=UTC)
    finished = (begun + timedelta(seconds=seconds)).isoformat()
    status = {"phase": "Failed", "startTime": begun.isoformat()}
    over = pod(**status, **container("terminated", finishedAt=finished, **ended))
    assert evidence_of(over, (), seen=NOW).reason is not Reason.EXPIRED
    over["spec"]["activeDeadlineSeconds"] = 100
    assert evidence_of(over, (), seen=NOW).reason is reason


def test_what_lives_is_not_over() -> None:
    running = container("running", startedAt="2026-11-25T11:00:00Z")
    found = evidence_of(pod(phase="Running", **running), (), seen=NOW)
    assert (found.life, found.node) == (Life.RUNNING, "one")
    going = pod(phase="Running", **running)
    going["metadata"]["deletionTimestamp"] = "2026-11-25T11:30:00Z"
    assert evidence_of(going, (), seen=NOW).life is Life.ENDING
    lost = evidence_of(pod(phase="Unknown", **running), (), seen=NOW)
    assert (lost.life, lost.reason) == (Life.UNKNOWN, Reason.NODE_LOST)
    told = (event("Evicted", "low on memory"),)
    assert evidence_of(pod(phase="Running", **running), told, seen=NOW).life is Life.RUNNING


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        ({"exitCode": 143}, Reason.SUPERVISOR_LOST),
        ({"exitCode": 137}, Reason.SUPERVISOR_LOST),
        ({"exitCode": 137, "reason": "OOMKilled"}, Reason.OUT_OF_MEMORY),
        ({"exitCode": 0}, Reason.FINISHED),
        ({"exitCode": 3}, Reason.PROGRAM_FAILED),
    ],
)
def test_what_somebody_removed_did_not_fail(ended: dict[str, Any], reason: Reason) -> None:
    removed = pod(phase="Failed", **container("terminated", **ended))
    removed["metadata"]["deletionTimestamp"] = "2026-11-25T11:30:00Z"
    found = evidence_of(removed, (), seen=NOW)
    assert (found.life, found.reason) == (Life.ENDED, reason)


def test_a_lost_machine_is_told_of_while_its_pod_is_still_there() -> None:
    gone = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    going = pod(phase="Running", conditions=[gone], **container("running"))
    going["metadata"]["deletionTimestamp"] = "2026-11-25T11:30:00Z"
    found = evidence_of(going, (), seen=NOW)
    assert (found.life, found.reason) == (Life.ENDING, Reason.NODE_LOST)


def test_a_job_waits_for_its_turn_in_a_queue() -> None:
    gated = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
        "lastTransitionTime": "2026-11-25T11:00:00Z",
    }
    waiting = pod(phase="Pending", conditions=[gated])
    del waiting["spec"]["nodeName"]
    found = evidence_of(waiting, (), seen=NOW)
    assert (found.life, found.phase) == (Life.STARTING, Phase.QUEUED)
    assert found.reason is Reason.WAITING_FOR_RESOURCES
    assert found.detail == "It waits for its turn in the site's queue."


def test_times_and_the_content_of_the_image_are_told() -> None:
    digest = "sha256:" + "0a" * 32
    status = container(
        *("terminated",),
        exitCode=0,
        startedAt="2026-11-25T11:00:00Z",
        finishedAt="2026-11-25T11:00:07Z",
    )
    for image, known in (
        (f"registry.example.org/p/i@{digest}", digest),
        (digest, ""),
        ("registry.example.org/p/i:1", ""),
        (None, ""),
    ):
        status["containerStatuses"][0]["imageID"] = image
        found = evidence_of(pod(phase="Succeeded", **status), (), seen=NOW)
        assert found.image_digest == known, "an id of the runtime's own is no digest"
        assert found.started == datetime(2026, 11, 25, 11, tzinfo=UTC)
        assert found.finished == found.at == datetime(2026, 11, 25, 11, 0, 7, tzinfo=UTC)


def test_a_pull_is_told_with_its_image() -> None:
    creating = container("waiting", reason="ContainerCreating")
    found = evidence_of(
        pod(phase="Pending", **creating), (event("Scheduled"), event("Pulling")), seen=NOW
    )
    assert (found.phase, found.reason) == (Phase.PULLING, Reason.PULLING_IMAGE)
    assert found.detail == "Fetching r/p/i:1."
    done = (event("Pulling"), event("Pulled"))
    found = evidence_of(pod(phase="Pending", **creating), done, seen=NOW)
    assert (found.phase, found.detail) == (Phase.STARTING, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("manifest unknown: manifest unknown", Reason.IMAGE_NOT_FOUND),
        ("name unknown: repository name not known to registry", Reason.IMAGE_NOT_FOUND),
        ("pull access denied, repository does not exist", Reason.IMAGE_REFUSED),
        ("unexpected status: 401 Unauthorized", Reason.IMAGE_REFUSED),
        ("403 Forbidden", Reason.IMAGE_REFUSED),
        ("dial tcp 10.0.0.1:443: i/o timeout", Reason.IMAGE_FAILED),
        ("429 Too Many Requests", Reason.IMAGE_FAILED),
        ("no space left on device", Reason.IMAGE_FAILED),
    ],
)
def test_errors_of_images(text: str, reason: Reason) -> None:
    assert image_reason(text) is reason


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.",
            "No machine has enough free cores and free memory now.",
        ),
        (
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
            "No machine has enough free GPUs now.",
        ),
        (
            "0/2 nodes are available: 2 Insufficient ephemeral-storage.",
            "No machine has enough free scratch now.",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.",
            "The machines that are left are set aside for others.",
        ),
        (
            "pod has unbound immediate PersistentVolumeClaims.",
            "The storage is not there yet.",
        ),
        ("something new\nin two lines", "something new in two lines"),
    ],
)
def test_why_there_is_no_room(message: str, words: str) -> None:
    assert room_detail(message) == words


def test_times() -> None:
    assert moment("2026-11-25T10:00:00Z") == datetime(2026, 11, 25, 10, tzinfo=UTC)
    for wrong in ("2026-11-25T10:00:00", "yesterday", "", None, 3):
        assert moment(wrong) is None, "without a zone it cannot be compared"
    series = {"series": {"lastObservedTime": "2026-11-25T11:00:00.000001Z"}}
    assert event_time({**series, "firstTimestamp": "2026-11-25T10:00:00Z"}) == datetime(
        2026, 11, 25, 11, 0, 0, 1, tzinfo=UTC
    )
    assert event_time({"reason": "Started", "lastTimestamp": None}) is None


# Anything at all that has the shape of a pod.

TEXT = st.none() | st.text(max_size=60) | st.sampled_from(["2026-11-25T10:00:00Z", "True", "False"])
WORD = TEXT | st.sampled_from(
    [
        *("Failed", "Succeeded", "Pending", "Running", "Unknown", "Evicted", "NodeLost"),
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerError"),
        *("OOMKilled", "StartError", "PodScheduled", "DisruptionTarget", "OutOfcpu"),
        *("Pulling", "Pulled", "FailedMount", "DeadlineExceeded", "Preempted", "InspectFailed"),
    ]
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Give objects with any of these fields, or none."""
    return st.fixed_dictionaries({}, optional=fields)


STATES = some(
    waiting=some(reason=WORD, message=TEXT),
    running=some(startedAt=TEXT),
    terminated=some(
        exitCode=st.none() | st.integers(-1, 300), reason=WORD, message=TEXT, finishedAt=TEXT
    ),
)
CONDITIONS = st.lists(
    some(type=WORD, status=TEXT, reason=WORD, message=TEXT, lastTransitionTime=TEXT), max_size=3
)
STATUSES = st.lists(
    some(
        name=st.sampled_from(["notebook", "gateway", "other"]),
        state=st.none() | STATES,
        imageID=TEXT,
    ),
    max_size=2,
)
PODS = st.fixed_dictionaries(
    {"metadata": some(name=TEXT, uid=TEXT, deletionTimestamp=TEXT)},
    optional={
        "spec": some(
            nodeName=TEXT, containers=st.lists(some(name=TEXT, image=TEXT), min_size=1, max_size=2)
        ),
        "status": some(
            phase=WORD,
            reason=WORD,
            message=TEXT,
            conditions=st.none() | CONDITIONS,
            containerStatuses=st.none() | STATUSES,
            initContainerStatuses=st.none() | STATUSES,
            startTime=TEXT,
        ),
    },
)
EVENTS = st.lists(
    some(
        reason=WORD,
        message=TEXT,
        firstTimestamp=TEXT,
        lastTimestamp=TEXT,
        eventTime=TEXT,
        series=st.none() | some(lastObservedTime=TEXT),
    ),
    max_size=4,
)


@given(pod=PODS, events=EVENTS)
def test_nothing_of_the_shape_of_a_pod_is_too_much(
    pod: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    found = evidence_of(pod, events, seen=NOW)
    assert found.detail.isprintable()
    assert len(found.detail) < 400
    over = pod.get("status", {}).get("phase") in {"Failed", "Succeeded"} or any(
        (each.get("state") or {}).get("terminated") is not None
        for each in pod.get("status", {}).get("containerStatuses") or ()
        if each.get("name") == "notebook"
    )
    assert over or found.life is not Life.ENDED, "an end needs a proof"
