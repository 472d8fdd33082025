"""Whose turn it is among the batch jobs of one machine; pure.

Jobs run one after the other as far as their own requests fit the machine's cores and memory.
Interactive sessions are not counted: a machine full of notebooks would never run a job, and it is
shared with whoever sits at it anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.plan import SessionPlan


def in_order(waiting: Iterable[SessionPlan]) -> list[SessionPlan]:
    """Give jobs in the order of their turn: as they were asked for, each before later ones."""
    return sorted(waiting, key=lambda plan: (plan.started, plan.launch))


def places(waiting: Iterable[SessionPlan]) -> dict[LaunchId, str]:
    """Say for each waiting job where in the queue it is."""
    ordered = in_order(waiting)
    return {
        plan.launch: f"place {place} of {len(ordered)} in the queue"
        for place, plan in enumerate(ordered, 1)
    }


def next_to_start(
    waiting: Iterable[SessionPlan],
    running: Collection[SessionPlan],
    *,
    cores: Decimal,
    memory: int,
) -> list[SessionPlan]:
    """Give the jobs whose turn has come.

    Nobody is overtaken: a large job at the head waits until there is room for it, and those
    behind it wait with it. One job may always run, however large it is.

    Parameters
    ----------
    waiting : iterable of SessionPlan
    running : collection of SessionPlan
        The jobs that run or start.
    cores : Decimal
    memory : int
        What the machine has, in cores and in bytes.
    """
    cores_left = cores - sum((plan.resources.cores_request for plan in running), Decimal(0))
    memory_left = memory - sum(plan.resources.memory_request for plan in running)
    alone = not running
    chosen = []
    for plan in in_order(waiting):
        cores_left -= plan.resources.cores_request
        memory_left -= plan.resources.memory_request
        if not alone and (cores_left < 0 or memory_left < 0):
            break
        chosen.append(plan)
        alone = False
    return chosen
