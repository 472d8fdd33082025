"""What is left on the machines of a cluster, from its nodes and pods."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from canfar_spawner.core.backend import Free
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.pods import Placement, PodsPolicy, Toleration
from canfar_spawner.core.resources import GIB
from canfar_spawner.kubernetes.usage import capacity_of

GPU = "nvidia.com/gpu"
PODS = PodsPolicy()


def node(name: str, cpu: str, memory: str, gpus: int = 0, **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": memory, GPU: str(gpus)}
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}


def pod(on: str, cpu: str, memory: str, phase: str = "Running") -> dict[str, Any]:
    requests = {"cpu": cpu, "memory": memory}
    return {
        "spec": {"nodeName": on, "containers": [{"resources": {"requests": requests}}]},
        "status": {"phase": phase},
    }


def test_equal_machines_are_counted_and_whole_gigabytes_are_free() -> None:
    nodes = [node(name, "8", "32Gi") for name in "abc"]
    found = capacity_of(nodes, [pod("a", "500m", "4200Mi")], policy=PODS)
    assert found.free == (
        Free(nodes=2, cores=Decimal(8), memory=32 * GIB),
        Free(nodes=1, cores=Decimal("7.5"), memory=27 * GIB),
    )
    assert (found.cores, found.cores_taken) == (Decimal(24), Decimal("0.5"))


def test_what_takes_no_sessions_and_what_has_ended_counts_for_nothing() -> None:
    nodes = [node("a", "8", "32Gi", gpus=2), node("b", "64", "1Ti", unschedulable=True)]
    pods = [pod("a", "8", "32Gi", "Succeeded"), pod("b", "4", "8Gi"), pod("", "2", "4Gi")]
    found = capacity_of(nodes, pods, policy=PODS)
    assert found.free == (Free(cores=Decimal(8), memory=32 * GIB, gpus=2),)


def test_a_machine_that_promised_more_than_it_has_has_nothing_left() -> None:
    found = capacity_of([node("a", "1", "2Gi")], [pod("a", "2", "4Gi")], policy=PODS)
    assert found.free == (Free(cores=Decimal(0), memory=0),)


DEDICATED = {"key": "dedicated", "value": "batch", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("taints", "toleration", "counts"),
    [
        ([DEDICATED], None, False),
        ([{**DEDICATED, "effect": "PreferNoSchedule"}], None, True),
        ([DEDICATED], Toleration(key="dedicated", value="batch"), True),
        ([DEDICATED], Toleration(key="dedicated", value="batch", effect="NoSchedule"), True),
        ([DEDICATED], Toleration(key="dedicated", value="batch", effect="NoExecute"), False),
        ([DEDICATED], Toleration(key="dedicated", value="other"), False),
        ([DEDICATED], Toleration(key="dedicated", operator="Exists"), True),
        ([DEDICATED], Toleration(key="other", operator="Exists"), False),
        ([DEDICATED], Toleration(operator="Exists"), True),
        ([{"key": "lonely", "effect": "NoExecute"}], Toleration(key="lonely"), True),
        ([DEDICATED, {"key": "lonely", "effect": "NoExecute"}], Toleration(key="lonely"), False),
    ],
)
@pytest.mark.parametrize("where", ["placement", "kinds", "gpus"])
def test_a_machine_that_keeps_all_sessions_away_counts_for_nothing(
    taints: list[dict[str, str]], toleration: Toleration | None, where: str, *, counts: bool
) -> None:
    placed = Placement(tolerations=(toleration,) if toleration else ())
    value = {SessionKind.HEADLESS: placed} if where == "kinds" else placed
    found = capacity_of(
        [node("a", "8", "32Gi", taints=taints)], [], policy=PodsPolicy(**{where: value})
    )
    assert (found.cores > 0, bool(found.free)) == (counts, counts)


@pytest.mark.parametrize(
    ("status", "counts"), [("True", True), ("False", False), ("Unknown", False)]
)
def test_a_machine_that_is_not_ready_counts_for_nothing(status: str, *, counts: bool) -> None:
    there = node("a", "8", "32Gi")
    pressed = {"type": "MemoryPressure", "status": "False"}
    there["status"]["conditions"] = [pressed, {"type": "Ready", "status": status}]
    found = capacity_of([there], [], policy=PODS)
    assert (found.cores > 0, bool(found.free)) == (counts, counts)
