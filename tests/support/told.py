"""What the pages of a hub on the cluster tell of sessions that do not go well, and when."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from canfar_spawner.kubernetes.manifests import SESSION
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.programs import ClusterError
from tests.support.cluster.site import SESSIONS
from tests.support.cluster_hub import ClusterHub
from tests.support.hub import ROOT, Visitor, wait_for

RECORDED = ROOT / "tests" / "kubernetes" / "recorded"
_ENDED = re.compile(r'<li class="ended-(?:failed|well)">.*?</li>', re.DOTALL)
_FAILURE = re.compile(r'<p class="notice notice-bad"[^>]*>(.*?)</p>', re.DOTALL)
_NOW = re.compile(r'<li class="phase phase-now" data-phase="(\w+)".*?</li>', re.DOTALL)
_KEPT_METADATA = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "labels")
_KEPT_STATUS = ("phase", "reason", "message", "podIP", "qosClass", "startTime")
_KEPT_CONDITION = ("type", "status", "reason", "message", "lastTransitionTime")


def words(text: str) -> str:
    """Give the words of a piece of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def ended(visitor: Visitor, session: str) -> str:
    """Give what home tells under 'recently ended' of a session that is called by its id."""
    page = visitor.client.get("/hub/home").text
    rows = [row for row in _ENDED.findall(page) if f"<strong>{session}</strong>" in row]
    return words(rows[0]) if rows else ""


@dataclass(frozen=True)
class Progress:
    """What the page of a start shows."""

    phase: str
    now: str
    """The words of the phase that the start is in."""
    failure: str
    """Why it failed and what to do, once it has."""
    page: str


def progress(visitor: Visitor, session: str) -> Progress:
    """Look at the page of a start."""
    answer = visitor.client.get(f"/hub/spawn-pending/{visitor.name}/{session}")
    now = _NOW.search(answer.text)
    # The page of the start for as long as JupyterHub counts it as one, then another.
    failed = "data-failed" in answer.text or "did not start" in answer.text
    failure = _FAILURE.search(answer.text) if failed else None
    return Progress(
        phase=now[1] if now else "",
        now=words(now[0]) if now else "",
        failure=words(failure[1]) if failure else "",
        page=words(answer.text),
    )


@dataclass(frozen=True)
class Told:
    """How a session that went wrong was told of."""

    session: str
    seconds: float
    """From the cause to the page."""
    sentence: str
    home: str


def left(hub: ClusterHub, session: str) -> list[str]:
    """Give what the cluster has of a session."""
    return [
        f"{kind}/{each['metadata']['name']}"
        for kind in ("pods", "secrets")
        for each in hub.cluster.listed(kind, SESSIONS, f"{SESSION}={session}")
    ]


def secrets_of(hub: ClusterHub, session: str) -> dict[str, dict[str, Any]]:
    """Give the Secrets of a session by name."""
    found = hub.cluster.listed("secrets", SESSIONS, f"{SESSION}={session}")
    return {each["metadata"]["name"]: each for each in found}


def docker_config(secret: dict[str, Any]) -> Any:
    """Give what a Secret says to registries."""
    return json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))


def launch_aside(visitor: Visitor, session: str, **options: object) -> threading.Thread:
    """Launch a session without waiting for the hub's answer, which may take ten seconds."""
    arguments = {"name": session, **options}
    thread = threading.Thread(
        target=lambda: visitor.launch(session, **arguments), name=session, daemon=True
    )
    thread.start()
    return thread


def fails(
    visitor: Visitor, session: str, *, seconds: float, record: str = "", **options: object
) -> Told:
    """Launch a session that cannot start; gives what its owner is told when it has failed.

    Parameters
    ----------
    visitor : Visitor
    session : str
    seconds : float
        How long that may take.
    record : str
        A name for what the cluster says of it, in the recordings.
    **options
        Of the launch.
    """
    hub = visitor.hub
    assert isinstance(hub, ClusterHub)
    begun = time.monotonic()
    with Recorder(hub, session, record):
        launching = launch_aside(visitor, session, **options)
        sentence = wait_for(
            lambda: progress(visitor, session).failure,
            f"{session} to fail: {options}",
            seconds=seconds,
        )
        took = time.monotonic() - begun
    launching.join(60)
    home = wait_for(lambda: ended(visitor, session), f"home to tell of {session}", seconds=60)
    wait_for(lambda: not left(hub, session), f"what {session} left to go", seconds=120)
    return Told(session, took, sentence, home)


def ends(
    visitor: Visitor,
    session: str,
    cause: Callable[[], object],
    *,
    seconds: float,
    record: str = "",
    **options: object,
) -> Told:
    """Launch a session, end it by something that happens in it; gives what its owner is told."""
    hub = visitor.hub
    assert isinstance(hub, ClusterHub)
    with Recorder(hub, session, record):
        launch_aside(visitor, session, **options).join(60)
        visitor.wait_ready(session)
        cause()
        begun = time.monotonic()
        home = wait_for(
            lambda: ended(visitor, session), f"home to tell of {session}", seconds=seconds
        )
        took = time.monotonic() - begun
    wait_for(lambda: not left(hub, session), f"what {session} left to go", seconds=120)
    return Told(session, took, home, home)


# Recordings: what a cluster says of a pod, for tests without one.


def _trimmed(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: pod["metadata"][key] for key in _KEPT_METADATA if key in pod["metadata"]}
    containers = [
        {key: each[key] for key in ("name", "image", "resources") if key in each}
        for each in pod["spec"]["containers"]
    ]
    spec = {
        key: pod["spec"][key]
        for key in ("nodeName", "resources", "nodeSelector")
        if key in pod["spec"]
    }
    return {
        "metadata": metadata,
        "spec": {**spec, "containers": containers},
        "status": _status(pod.get("status", {})),
    }


def _status(status: dict[str, Any]) -> dict[str, Any]:
    found = {key: status[key] for key in _KEPT_STATUS if key in status}
    for key, kept in (("conditions", _KEPT_CONDITION), ("containerStatuses", ("name", "state"))):
        if key in status:
            found[key] = [
                {name: each[name] for name in kept if name in each} for each in status[key]
            ]
    return found


def _trimmed_event(event: dict[str, Any]) -> dict[str, Any]:
    kept = ("type", "reason", "message", "count", "firstTimestamp", "lastTimestamp")
    found = {key: event[key] for key in (*kept, "eventTime", "series") if event.get(key)}
    return {
        "metadata": {"name": event["metadata"]["name"]},
        "involvedObject": {"uid": event["involvedObject"].get("uid", "")},
        **found,
    }


def state_of(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """Give what the cluster says of a pod: itself and its events, the last heard of last."""
    where = ("--namespace", namespace, "--output", "json")
    pod = json.loads(cluster.kubectl("get", "pod", name, *where))
    selector = f"involvedObject.uid={pod['metadata']['uid']}"
    text = cluster.kubectl("get", "events", "--field-selector", selector, *where)
    events = sorted(
        json.loads(text)["items"], key=lambda event: int(event["metadata"]["resourceVersion"])
    )
    return {"pod": _trimmed(pod), "events": [_trimmed_event(event) for event in events]}


class Recorder:
    """Writes down each state of a session's pod that is different, where CANFAR_RECORD is 1.

    Parameters
    ----------
    hub : ClusterHub
    session : str
    name : str
        Of the file; nothing is recorded without one.
    """

    def __init__(self, hub: ClusterHub, session: str, name: str) -> None:
        self._hub = hub
        self._session = session
        self._name = name if os.environ.get("CANFAR_RECORD") == "1" else ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._states: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        if self._name:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._name:
            self._thread.join(30)
            self.path.write_text(json.dumps(self._states, indent=1, sort_keys=True) + "\n")

    @property
    def path(self) -> Path:
        """Where it is written."""
        return RECORDED / f"{self._name}.json"

    def _run(self) -> None:
        while not self._over.wait(0.2):
            for pod in self._hub.pods(f"{SESSION}={self._session}"):
                name = pod["metadata"]["name"]
                with contextlib.suppress(ClusterError):  # gone meanwhile
                    state = state_of(self._hub.cluster, SESSIONS, name)
                    if state not in self._states:
                        self._states.append(state)
