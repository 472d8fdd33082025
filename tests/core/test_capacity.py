"""What is left on the machines of a cluster, from its nodes and pods."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from canfar_spawner.core.backend import Free
from canfar_spawner.core.resources import GIB
from canfar_spawner.kubernetes.usage import capacity_of

GPU = "nvidia.com/gpu"


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
    found = capacity_of(nodes, [pod("a", "500m", "4200Mi")], gpu=GPU)
    assert found.free == (
        Free(nodes=2, cores=Decimal(8), memory=32 * GIB),
        Free(nodes=1, cores=Decimal("7.5"), memory=27 * GIB),
    )
    assert (found.cores, found.cores_taken) == (Decimal(24), Decimal("0.5"))


def test_what_takes_no_sessions_and_what_has_ended_counts_for_nothing() -> None:
    nodes = [node("a", "8", "32Gi", gpus=2), node("b", "64", "1Ti", unschedulable=True)]
    pods = [pod("a", "8", "32Gi", "Succeeded"), pod("b", "4", "8Gi"), pod("", "2", "4Gi")]
    found = capacity_of(nodes, pods, gpu=GPU)
    assert found.free == (Free(cores=Decimal(8), memory=32 * GIB, gpus=2),)


def test_a_machine_that_promised_more_than_it_has_has_nothing_left() -> None:
    found = capacity_of([node("a", "1", "2Gi")], [pod("a", "2", "4Gi")], gpu=GPU)
    assert found.free == (Free(cores=Decimal(0), memory=0),)
