"""What a pod and its events prove about a launch: pure, on objects as the API gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from canfar_spawner.core.errors import shown
from canfar_spawner.core.status import Evidence, Life, Phase, Reason, exit_detail, exit_reason

Object = Mapping[str, Any]

CONTAINER: Final = "notebook"
"""The container of the session's own program, by the name KubeSpawner gives it."""
GATEWAY: Final = "gateway"
"""The container of the gateway, where there is one: its end is nobody's."""
SCRATCH_VOLUME: Final = "scratch"
_LONGEST = 240

_NOT_FOUND: Final = re.compile(
    r"not found|manifest unknown|name unknown|does not exist", re.IGNORECASE
)
_REFUSED: Final = re.compile(
    r"unauthori[sz]ed|denied|forbidden|authorization failed|authentication required|no basic auth",
    re.IGNORECASE,
)
_SCRATCH: Final = re.compile(rf'emptydir volume "{SCRATCH_VOLUME}" exceeds', re.IGNORECASE)
_NO_CAUSE: Final = "Error: "
"""How the events begin that repeat the container's state and nothing else."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_WRAPPING: Final = re.compile(
    r"rpc error: code = \w+ desc = "
    r"|failed to pull and unpack image \S+: |(?<=: )failed to resolve image: "
    r"|failed to create (?:containerd|shim) task: |(?:OCI runtime|runc) create failed: "
)
"""What layer upon layer puts in front of the cause of an error."""
_FAILURES: Final = frozenset({"Failed", "InspectFailed"})
_ENDINGS: Final = frozenset({"Evicted", "Preempted", "DeadlineExceeded"})
"""Events of a pod that is told to end by the cluster."""
_IMAGE_WAITS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "ImageInspectError",
        "SignatureValidationFailed",
    }
)
_CONFIG_WAITS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_CRASHES: Final = "CrashLoopBackOff"
_NO_GATEWAY: Final = "The gateway in front of it ends again and again."
_GATEWAYS_FIELD: Final = f"{{{GATEWAY}}}"
"""How an event says which container of a pod it is about."""
_LOST_NODE: Final = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
"""Why Kubernetes itself lets a pod go whose node has not answered, or is there no more."""
_TOLD_TO_END: Final = frozenset({137, 143})
"""Exit codes of programs that a signal has ended: the one to end, or the one that cannot be refused."""
_STORAGE_EVENTS: Final = frozenset({"FailedMount", "FailedAttachVolume"})
_ROOM: Final = (
    (re.compile(r"insufficient cpu", re.IGNORECASE), "free cores"),
    (re.compile(r"insufficient memory", re.IGNORECASE), "free memory"),
    (re.compile(r"insufficient [\w.-]+/[\w.-]+", re.IGNORECASE), "free GPUs"),
    (re.compile(r"insufficient ephemeral-storage", re.IGNORECASE), "free scratch"),
    (re.compile(r"too many pods", re.IGNORECASE), "room for another session"),
)
_FIT: Final = (
    (
        re.compile(r"node affinity|node selector", re.IGNORECASE),
        "no machine is of the kind asked for",
    ),
    (
        re.compile(r"untolerated taint", re.IGNORECASE),
        "the machines that are left are set aside for others",
    ),
    (re.compile(r"persistentvolumeclaim|unbound", re.IGNORECASE), "the storage is not there yet"),
)


def moment(text: object) -> datetime | None:
    """Read a time as Kubernetes writes it, with its zone; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def event_time(event: Object) -> datetime | None:
    """Say when an event was last seen."""
    series = event.get("series") or {}
    for text in (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    ):
        found = moment(text)
        if found is not None:
            return found
    return None


def event_begin(event: Object) -> datetime | None:
    """Say when an event was first seen."""
    return moment(event.get("firstTimestamp")) or event_time(event)


def _plain(text: object) -> str:
    return shown(_WRAPPING.sub("", " ".join(str(text or "").split())), limit=_LONGEST)


def _image_error(waiting: Object, failed: Sequence[Object]) -> str:
    """Give the line that says why an image is not had; most lines only say that it is not."""
    texts = [str(event.get("message") or "") for event in reversed(failed)]
    told = str(waiting.get("message") or "")
    causes = [text for text in (*texts, told) if text and not text.startswith(_NO_CAUSE)]
    # The newest cause that means something, else the newest one.
    known = [text for text in causes if image_reason(text) is not Reason.IMAGE_FAILED]
    return next(iter((*known, *causes, told)))


def image_reason(text: str) -> Reason:
    """Say what an error of fetching an image comes to."""
    if _REFUSED.search(text):
        return Reason.IMAGE_REFUSED
    return Reason.IMAGE_NOT_FOUND if _NOT_FOUND.search(text) else Reason.IMAGE_FAILED


def room_detail(message: str) -> str:
    """Say in plain words why the scheduler finds no place."""
    lacking = [words for pattern, words in _ROOM if pattern.search(message)]
    if lacking:
        return f"No machine has enough {' and '.join(lacking)} now."
    fitting = [words for pattern, words in _FIT if pattern.search(message)]
    if fitting:
        return f"{fitting[0][0].upper()}{fitting[0][1:]}."
    return _plain(message)


def _condition(status: Object, kind: str) -> Object:
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind:
            return dict(condition)
    return {}


def _named(statuses: Iterable[Object] | None, name: str) -> Object:
    for each in statuses or ():
        if each.get("name") == name:
            return dict(each)
    return {}


def _container(status: Object) -> Object:
    return _named(status.get("containerStatuses"), CONTAINER)


def _why_waiting(container: Object) -> tuple[str, Object]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    return str(waiting.get("reason") or ""), waiting


def _last(events: Iterable[Object], reasons: frozenset[str]) -> Object | None:
    found = None
    for event in events:
        if event.get("reason") in reasons:
            found = event
    return found


def _digest(container: Object) -> str:
    """Give what the name of a container's image stood for; other runtimes give a mere id."""
    digest = str(container.get("imageID") or "").partition("@")[2]
    return digest if _DIGEST.fullmatch(digest) else ""


def _disruption(status: Object) -> tuple[Reason, str]:
    """Say whether the cluster, not the program, has brought a pod to its end, and why."""
    disrupted = _condition(status, "DisruptionTarget")
    if disrupted.get("status") != "True":
        return Reason.NONE, ""
    if disrupted.get("reason") in _LOST_NODE:
        return Reason.NODE_LOST, ""
    return Reason.EVICTED, _plain(disrupted.get("message"))


def _outlasted(pod: Object, terminated: Object | None) -> bool:
    """Say whether a program went on until its pod's time was over, when the kubelet tells it to end.

    Of how it ended then, nothing tells this from an end by itself, and the event may come later.
    """
    given = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    begun = moment((pod.get("status") or {}).get("startTime"))
    if given is None or begun is None or terminated is None:
        return False
    ended = moment(terminated.get("finishedAt"))
    # Both are cut to seconds, so that this is never missed.
    return ended is not None and ended - begun >= timedelta(seconds=given)


def _failure(
    pod: Object, terminated: Object | None, events: Iterable[Object], *, deleted: bool
) -> tuple[Reason, str]:
    """Say why a pod is over, from its own status, its container's, and its events."""
    status = pod.get("status") or {}
    cause, message = str(status.get("reason") or ""), str(status.get("message") or "")
    told = _last(events, _ENDINGS)
    if told is not None and not cause:
        # A program that ends well when it is told to has its pod succeed, whyever it was told.
        cause = "DeadlineExceeded" if told["reason"] == "DeadlineExceeded" else "Evicted"
        message = str(told.get("message") or "")
    killed_for_memory = terminated is not None and terminated.get("reason") == "OOMKilled"
    if not (cause or killed_for_memory) and _outlasted(pod, terminated):
        cause = "DeadlineExceeded"
    if cause == "Evicted":
        full = bool(_SCRATCH.search(message))
        return (Reason.SCRATCH_FULL if full else Reason.EVICTED), "" if full else _plain(message)
    if cause == "DeadlineExceeded":
        return Reason.EXPIRED, ""
    if cause == "NodeLost":
        return Reason.NODE_LOST, ""
    disruption = _disruption(status)
    if disruption[0] is not Reason.NONE and (deleted or status.get("phase") == "Failed"):
        # However it ended: whoever ends well when told to was still told to.
        return disruption
    if terminated is not None:
        return _exit(terminated, deleted=deleted)
    if cause.startswith("OutOf") or cause == "UnexpectedAdmissionError":
        return Reason.UNSCHEDULABLE, _plain(message)
    return Reason.PROGRAM_FAILED, _plain(message)


def _exit(terminated: Object, *, deleted: bool) -> tuple[Reason, str]:
    """Say why a program is over, from what the kernel and the runtime report of it."""
    why, code = str(terminated.get("reason") or ""), terminated.get("exitCode")
    if why in {"StartError", "ContainerCannotRun"}:
        return Reason.PROGRAM_MISSING, _plain(terminated.get("message"))
    if deleted and code in _TOLD_TO_END and why != "OOMKilled":
        # Somebody has removed the pod; whoever did knows of a better reason.
        return Reason.SUPERVISOR_LOST, ""
    reason = exit_reason(code, out_of_memory=why == "OOMKilled", asked_to_stop=False)
    return reason, exit_detail(reason, code)


def _gateway(
    status: Object, events: Sequence[Object]
) -> tuple[Phase, Reason, str, datetime | None] | None:
    """Say what keeps the gateway, which is the site's, from letting a program begin after it."""
    why, waiting = _why_waiting(_named(status.get("initContainerStatuses"), GATEWAY))
    if why in _IMAGE_WAITS:
        failed = [event for event in events if event.get("reason") in _FAILURES]
        since = min(filter(None, map(event_begin, failed)), default=None)
        text = _plain(f"The gateway's image: {_image_error(waiting, failed) or why}")
        # Its owner can do nothing about it, whatever the registry says.
        return Phase.PULLING, Reason.IMAGE_FAILED, text, since
    if why in _CONFIG_WAITS or why == _CRASHES:
        told = _NO_GATEWAY if why == _CRASHES else f"The gateway: {waiting.get('message') or why}"
        text = _plain(told)
        return Phase.STARTING, Reason.PROGRAM_MISSING, text, moment(status.get("startTime"))
    return None


def _waiting(
    pod: Object, container: Object, events: Sequence[Object]
) -> tuple[Phase, Reason, str, datetime | None]:
    """Say how far a pod is that has a node but does not run."""
    gateway = _gateway(pod.get("status") or {}, events)
    if gateway is not None:
        return gateway
    why, waiting = _why_waiting(container)
    failed = [event for event in events if event.get("reason") in _FAILURES]
    since = min(filter(None, map(event_begin, failed)), default=None)
    if why in _IMAGE_WAITS:
        text = _image_error(waiting, failed) or why
        reason = Reason.IMAGE_NOT_FOUND if why == "InvalidImageName" else image_reason(text)
        return Phase.PULLING, reason, _plain(text), since
    if why in _CONFIG_WAITS:
        return Phase.STARTING, Reason.PROGRAM_MISSING, _plain(waiting.get("message")), since
    unmounted = _last(events, _STORAGE_EVENTS)
    steps = _last(events, frozenset({"Pulling", "Pulled", "Created", "Started"}))
    if steps is None and unmounted is not None:
        text = _plain(unmounted.get("message"))
        return Phase.PLACING, Reason.STORAGE_FAILED, text, moment(unmounted.get("firstTimestamp"))
    if steps is None:
        return Phase.PLACING, Reason.NONE, "", None
    if steps.get("reason") == "Pulling":
        of = _named(pod["spec"].get("containers"), CONTAINER)
        if _GATEWAYS_FIELD in str((steps.get("involvedObject") or {}).get("fieldPath")):
            of = _named(pod["spec"].get("initContainers"), GATEWAY)
        image = of.get("image")
        detail = f"Fetching {shown(image, limit=120)}." if image else ""
        return Phase.PULLING, Reason.PULLING_IMAGE, detail, event_time(steps)
    return Phase.STARTING, Reason.NONE, "", event_time(steps)


def evidence_of(pod: Object, events: Sequence[Object], *, seen: datetime | None) -> Evidence:
    """Say what is known of a launch.

    Parameters
    ----------
    pod : mapping
        The pod as the API gives it.
    events : sequence of mapping
        What was reported of it, oldest first.
    seen : datetime or None
        When the API last answered.
    """
    status = pod.get("status") or {}
    container = _container(status)
    state = container.get("state") or {}
    terminated = state.get("terminated")
    program = terminated or state.get("running") or {}
    common: dict[str, Any] = {
        "node": str((pod.get("spec") or {}).get("nodeName") or ""),
        "qos": str(status.get("qosClass") or ""),
        "image_digest": _digest(container),
        "started": moment(program.get("startedAt")),
        "seen": seen,
    }
    deleted = moment(pod["metadata"].get("deletionTimestamp"))
    if terminated is not None or status.get("phase") in {"Failed", "Succeeded"}:
        reason, detail = _failure(pod, terminated, events, deleted=deleted is not None)
        finished = moment((terminated or {}).get("finishedAt"))
        return Evidence(
            life=Life.ENDED,
            phase=Phase.ENDING,
            reason=reason,
            detail=detail,
            exit_code=None if terminated is None else terminated.get("exitCode"),
            finished=finished,
            at=finished,
            **common,
        )
    if status.get("phase") == "Unknown" or status.get("reason") == "NodeLost":
        return Evidence(life=Life.UNKNOWN, reason=Reason.NODE_LOST, **common)
    if pod["metadata"].get("deletionTimestamp"):
        reason, detail = _disruption(status)
        return Evidence(
            life=Life.ENDING,
            phase=Phase.ENDING,
            reason=reason,
            detail=detail,
            at=deleted,
            **common,
        )
    if "running" in state:
        # It lives, whatever becomes of what stands in front of it.
        why, _ = _why_waiting(_named(status.get("initContainerStatuses"), GATEWAY))
        crashes = why == _CRASHES
        return Evidence(
            life=Life.RUNNING,
            phase=Phase.STARTING,
            reason=Reason.NOT_ANSWERING if crashes else Reason.NONE,
            detail=_NO_GATEWAY if crashes else "",
            at=common["started"],
            **common,
        )
    if not common["node"]:
        return _placing(_condition(status, "PodScheduled"), common)
    phase, reason, detail, at = _waiting(pod, container, events)
    return Evidence(life=Life.STARTING, phase=phase, reason=reason, detail=detail, at=at, **common)


def _placing(condition: Object, common: Mapping[str, Any]) -> Evidence:
    """Say what a pod without a node waits for: its turn in a queue, or room."""
    waits = condition.get("status") == "False"
    queued = waits and condition.get("reason") == "SchedulingGated"
    return Evidence(
        life=Life.STARTING,
        phase=Phase.QUEUED if queued else Phase.PLACING,
        reason=Reason.WAITING_FOR_RESOURCES if waits else Reason.NONE,
        detail=(
            "It waits for its turn in the site's queue."
            if queued
            else room_detail(str(condition.get("message") or ""))
            if waits
            else ""
        ),
        at=moment(condition.get("lastTransitionTime")),
        **common,
    )
