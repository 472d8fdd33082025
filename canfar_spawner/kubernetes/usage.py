"""What sessions use and what a cluster has: pure, from objects as the API gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any, Final

from canfar_spawner.core.backend import Capacity, Free, Use
from canfar_spawner.core.pods import Placement, PodsPolicy, Toleration
from canfar_spawner.core.resources import GIB
from canfar_spawner.kubernetes.evidence import CONTAINER, moment

Object = Mapping[str, Any]

_KEEPS_AWAY: Final = frozenset({"NoSchedule", "NoExecute"})
_MILLI: Final = Decimal("0.001")

_UNITS: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def quantity(text: object) -> Decimal:
    """Read a quantity as Kubernetes writes it; nothing where it is none.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    written = str(text or "0").strip()
    unit = written.lstrip("+-0123456789.")
    number = written[: len(written) - len(unit)]
    try:
        if unit[:1] in {"e", "E"} and unit[1:].lstrip("+-").isdigit():
            return Decimal(written)
        return Decimal(number or "0") * _UNITS.get(unit, Decimal(0))
    except InvalidOperation:
        return Decimal(0)


def use_of(metrics: Object) -> Use | None:
    """Read the metrics of a pod: the session's own program alone."""
    for container in metrics.get("containers") or ():
        if container.get("name") == CONTAINER:
            used = container.get("usage") or {}
            return Use(
                cores=quantity(used.get("cpu")),
                memory=int(quantity(used.get("memory"))),
                at=moment(metrics.get("timestamp")) or datetime.now(UTC),
            )
    return None


def _requests(pod: Object) -> Mapping[str, Any]:
    spec = pod.get("spec") or {}
    whole: dict[str, Any] = dict((spec.get("resources") or {}).get("requests") or {})
    for container in spec.get("containers") or ():
        for name, size in ((container.get("resources") or {}).get("requests") or {}).items():
            whole.setdefault(name, size)
    return whole


def _left(room: Mapping[str, dict[str, Decimal]], gpu: str) -> tuple[Free, ...]:
    """Count the machines that have equally much left, the most memory first."""
    found = Counter(
        (
            max(Decimal(0), left["cpu"]).quantize(_MILLI, ROUND_DOWN),
            max(0, int(left["memory"])) // GIB * GIB,
            max(0, int(left[gpu])),
        )
        for left in room.values()
    )
    return tuple(
        Free(nodes=nodes, cores=cores, memory=memory, gpus=gpus)
        for (cores, memory, gpus), nodes in sorted(found.items(), key=lambda each: -each[0][1])
    )


def _takes_sessions(node: Object, placements: Iterable[Placement]) -> bool:
    """Say whether some session could be put on a node: it is ready, and its taints are put up with."""
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    if any(each.get("type") == "Ready" and each.get("status") != "True" for each in conditions):
        return False
    taints = [each for each in spec.get("taints") or () if each.get("effect") in _KEEPS_AWAY]
    return any(
        all(any(_tolerates(each, taint) for each in placement.tolerations) for taint in taints)
        for placement in placements
    )


def _tolerates(toleration: Toleration, taint: Object) -> bool:
    """Say whether a pod puts up with a taint, as the scheduler reads it."""
    if toleration.effect not in (None, taint.get("effect")):
        return False
    if toleration.operator == "Exists":
        return toleration.key in (None, "", taint.get("key"))
    same = (toleration.key or "", toleration.value or "")
    return same == (taint.get("key") or "", taint.get("value") or "")


def capacity_of(nodes: Iterable[Object], pods: Iterable[Object], *, policy: PodsPolicy) -> Capacity:
    """Say what the nodes that take sessions have, and what sessions were promised of it.

    Parameters
    ----------
    nodes, pods : iterable of mapping
    policy : PodsPolicy
        Where sessions are put, and what the resource is called that GPUs are.
    """
    gpu = policy.gpu_resource
    placements = [policy.placement, *policy.kinds.values(), *([policy.gpus] if policy.gpus else [])]
    names = ("cpu", "memory", gpu)
    room = {
        (node.get("metadata") or {}).get("name", ""): {
            name: quantity(((node.get("status") or {}).get("allocatable") or {}).get(name))
            for name in names
        }
        for node in nodes
        if _takes_sessions(node, placements)
    }
    total = {name: sum((has[name] for has in room.values()), Decimal(0)) for name in names}
    taken = dict.fromkeys(names, Decimal(0))
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
            continue
        requests = _requests(pod)
        there = room.get((pod.get("spec") or {}).get("nodeName") or "")
        for name in names:
            size = quantity(requests.get(name))
            taken[name] += size
            if there is not None:
                there[name] -= size
    return Capacity(
        cores=total["cpu"],
        cores_taken=taken["cpu"],
        memory=int(total["memory"]),
        memory_taken=int(taken["memory"]),
        gpus=int(total[gpu]),
        gpus_taken=int(taken[gpu]),
        free=_left(room, gpu),
    )
