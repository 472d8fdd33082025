"""Records what a real cluster says of pods that go wrong, for the tests of evidence.

``python3 -m tests.support.cluster exec -- PYTHON -m tests.kubernetes.record``; takes two minutes.
States of sessions are recorded by ``CANFAR_RECORD=1`` with the tests of reasons on the cluster.
"""

from __future__ import annotations

import json
import time
from typing import Any

from tests.support.cluster.cluster import NODE, Cluster
from tests.support.told import RECORDED, state_of

SECONDS = 90
MOST = 4
PROBE = "registry.example.org/canfar-hub/probe"


def _pod(image: str = f"{PROBE}:1", *command: str, **container: Any) -> dict[str, Any]:
    if command:
        container["command"] = list(command)
    return {
        "containers": [{"name": "notebook", "image": image, **container}],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
    }


def pods() -> dict[str, dict[str, Any]]:
    """Give the pods by the names of their recordings."""
    fill = "sleep 5; fallocate -l 50M /scratch/x; sleep 600"
    one = f"{PROBE}:1"
    return {
        "finished": _pod(one, "true"),
        "image-not-found": _pod(f"{PROBE}:no-such-tag"),
        "image-refused": _pod("private.example.org/canfar-hub/probe:1"),
        "killed-when-evicted": {
            **_pod(
                *(one, "sh", "-c", fill),
                volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
            ),
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "10Mi"}}],
        },
        "node-too-small": {**_pod(resources={"requests": {"cpu": "64"}}), "nodeName": NODE},
        "out-of-time": {**_pod(one, "sleep", "600"), "activeDeadlineSeconds": 5},
        "program-missing": _pod(one, "/no/such/program"),
        "secret-missing": _pod(
            env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "nothing", "key": "a"}}}]
        ),
        "volume-missing": {
            **_pod(volumeMounts=[{"name": "none", "mountPath": "/none"}]),
            "volumes": [{"name": "none", "secret": {"secretName": "nothing"}}],
        },
        "wrong-kind-of-node": {**_pod(), "nodeSelector": {"example.org/kind": "fast"}},
    }


def main() -> None:
    """Make the pods, look at them and write down each state that is different."""
    cluster = Cluster.load()
    here = ("--namespace", "default")
    for name, spec in pods().items():
        content = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        cluster.kubectl("create", *here, "--filename", "-", input=json.dumps(content))
    states: dict[str, list[dict[str, Any]]] = {name: [] for name in pods()}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for name, seen in states.items():
            state = state_of(cluster, "default", name)
            if seen and seen[-1]["pod"] == state["pod"]:
                # The same pod, told of in more events.
                seen[-1] = state
            else:
                seen.append(state)
    cluster.kubectl("delete", "pods", *here, "--grace-period", "0", "--force", *states)
    for name, seen in states.items():
        kept = [each for each in seen if each["pod"]["status"].get("containerStatuses")] or seen
        text = json.dumps(kept if len(kept) <= MOST else kept[:MOST], indent=1, sort_keys=True)
        (RECORDED / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
