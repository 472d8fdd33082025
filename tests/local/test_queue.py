"""Whose turn it is: pure."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.local.queue import in_order, next_to_start, places
from tests.core.world import plan

_GIB = 2**30
_FIXED = plan(
    {"container": "astroml", "kind": "headless", "mode": "fixed", "cores": 2, "memory": 4}
)


def job(number: int, *, cores: int = 1, memory: int = 1, later: int = 0) -> SessionPlan:
    """Plan a job of a size; equal numbers are equal launches."""
    size = {"cores_request": Decimal(cores), "memory_request": memory * _GIB}
    return _FIXED.model_copy(
        update={
            "launch": LaunchId(f"k3vd81qa-{number:012d}"),
            "started": _FIXED.started + timedelta(seconds=later),
            "resources": _FIXED.resources.model_copy(update=size),
        }
    )


def numbers(plans: list[SessionPlan]) -> list[int]:
    """Give back what jobs were called."""
    return [int(each.launch.partition("-")[2]) for each in plans]


def chosen(
    waiting: list[SessionPlan], running: list[SessionPlan], *, cores: int = 4, memory: int = 8
) -> list[int]:
    """Say whose turn it is on a machine."""
    found = next_to_start(waiting, running, cores=Decimal(cores), memory=memory * _GIB)
    return numbers(found)


def test_as_many_as_fit() -> None:
    assert chosen([job(number) for number in range(6)], []) == [0, 1, 2, 3]
    assert chosen([job(number) for number in range(6)], [job(9, cores=2)]) == [0, 1]
    assert chosen([job(number) for number in range(6)], [job(9, memory=7)]) == [0]
    assert chosen([job(1)], [job(9, cores=4)]) == []
    assert chosen([], [job(9)]) == []


def test_the_order_is_that_of_asking() -> None:
    asked = [job(1, later=2), job(3, later=1), job(2, later=1), job(0, later=3)]
    assert numbers(in_order(asked)) == [2, 3, 1, 0]
    assert chosen(asked, [job(9, cores=2)]) == [2, 3]
    assert list(places(asked).values()) == [
        f"place {place} of 4 in the queue" for place in (1, 2, 3, 4)
    ]
    assert places(asked)[asked[3].launch] == "place 4 of 4 in the queue"


def test_a_large_job_is_not_overtaken() -> None:
    large = job(1, cores=4)
    small = job(2, later=1)
    assert chosen([small, large], [job(9)]) == [], "it would wait for ever"
    assert chosen([small, large], []) == [1]


def test_one_job_may_always_run() -> None:
    assert chosen([job(1, cores=64, memory=512), job(2, later=1)], []) == [1]
    assert chosen([job(1, cores=64)], [job(2)]) == []


_JOBS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(0, 5)), max_size=12)


@given(_JOBS, _JOBS)
def test_what_is_chosen_fits_and_nobody_is_passed_over(
    wanted: list[tuple[int, int, int]], begun: list[tuple[int, int, int]]
) -> None:
    waiting = [job(n, cores=c, memory=m, later=t) for n, (c, m, t) in enumerate(wanted)]
    running = [job(100 + n, cores=c, memory=m) for n, (c, m, _) in enumerate(begun)]
    found = next_to_start(waiting, running, cores=Decimal(4), memory=8 * _GIB)
    assert found == in_order(waiting)[: len(found)], "first come, first served"
    all_of_them = [*running, *found]
    fits = (
        sum(each.resources.cores_request for each in all_of_them) <= 4
        and sum(each.resources.memory_request for each in all_of_them) <= 8 * _GIB
    )
    assert fits or not found or (not running and len(found) == 1)
    if waiting and not running:
        assert found, "an idle machine runs something"
