"""With what a session can be started anew when it needs more memory."""

from __future__ import annotations

from decimal import Decimal

import pytest

from canfar_spawner.core.resources import ResourceChoices, ResourceMode, plan_resources
from canfar_spawner.core.restart import Restart, restart

BOTH = (ResourceMode.FLEXIBLE, ResourceMode.FIXED)
CHOICES = ResourceChoices(memory=(32, 1, 2, 4, 8, 16, 64))


def of(
    cores: int | None,
    memory: int | None,
    *,
    modes: tuple[ResourceMode, ...] = BOTH,
    choices: ResourceChoices = CHOICES,
) -> Restart | None:
    planned = plan_resources(
        mode=None,
        cores=None if cores is None else Decimal(cores),
        memory=None if memory is None else Decimal(memory),
        gpus=None,
        choices=choices,
        modes=BOTH,
        kind_title="Notebook",
    )
    return restart(planned, choices, modes)


def test_a_fixed_session_keeps_its_cores_and_may_have_each_larger_memory() -> None:
    found = of(4, 8)
    assert found is not None
    assert found.memory == (16, 32, 64)
    assert found.cores_first == 4


def test_a_flexible_one_gets_more_than_it_may_use_already_and_the_cores_it_is_sure_of() -> None:
    found = of(None, None)
    assert found is not None
    assert found.memory == (64,)
    flexible = CHOICES.flexible
    assert found.cores_first >= flexible.cores_request
    assert all(size < flexible.cores_request for size in found.cores if size < found.cores_first)


@pytest.mark.parametrize("memory", [64])
def test_what_has_the_most_already_cannot_have_more(memory: int) -> None:
    assert of(1, memory) is None


def test_a_kind_without_fixed_sizes_cannot_have_more() -> None:
    assert of(None, None, modes=(ResourceMode.FLEXIBLE,)) is None


def test_cores_that_are_offered_no_more_become_the_largest_that_are() -> None:
    planned = plan_resources(
        mode=None,
        cores=Decimal(8),
        memory=Decimal(4),
        gpus=None,
        choices=CHOICES,
        modes=BOTH,
        kind_title="Notebook",
    )
    fewer = ResourceChoices(cores=(Decimal(1), Decimal(2)))
    found = restart(planned, fewer, BOTH)
    assert found is not None
    assert found.cores_first == 2
