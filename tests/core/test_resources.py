from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canfar_spawner.core.errors import Invalid, SessionError
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.resources import (
    GIB,
    Allocation,
    FlexibleSizes,
    QosClass,
    ResourceChoices,
    ResourceMode,
    ResourcePlan,
    number,
    plan_resources,
)
from tests.core.world import attempt

CHOICES = ResourceChoices(gpus=(0, 1))
BOTH = (ResourceMode.FLEXIBLE, ResourceMode.FIXED)


def sized(
    mode: ResourceMode | None = None,
    cores: str | None = None,
    memory: str | None = None,
    gpus: str | None = None,
    *,
    modes: tuple[ResourceMode, ...] = BOTH,
    choices: ResourceChoices = CHOICES,
) -> ResourcePlan:
    return plan_resources(
        mode=mode,
        cores=None if cores is None else Decimal(cores),
        memory=None if memory is None else Decimal(memory),
        gpus=None if gpus is None else Decimal(gpus),
        choices=choices,
        modes=modes,
        kind_title="Notebook",
    )


def bounds(plan: ResourcePlan) -> tuple[object, ...]:
    return plan.cores_request, plan.cores_limit, plan.memory_request, plan.memory_limit


@pytest.mark.parametrize("mode", [None, ResourceMode.FLEXIBLE])
def test_no_size_is_flexible(mode: ResourceMode | None) -> None:
    plan = sized(mode)
    assert bounds(plan) == (1, 8, 4 * GIB, 32 * GIB)
    assert plan.allocation is Allocation.FLEXIBLE
    assert plan.qos is QosClass.BURSTABLE


@pytest.mark.parametrize("mode", [None, ResourceMode.FIXED])
def test_both_sizes_are_fixed(mode: ResourceMode | None) -> None:
    plan = sized(mode, "2", "16")
    assert bounds(plan) == (2, 2, 16 * GIB, 16 * GIB)
    assert plan.allocation is Allocation.FIXED
    assert plan.qos is QosClass.GUARANTEED


def test_cores_alone_fix_the_cores() -> None:
    plan = sized(cores="2")
    assert bounds(plan) == (2, 2, 4 * GIB, 32 * GIB)
    assert plan.allocation is Allocation.PARTLY_FIXED
    assert plan.qos is QosClass.BURSTABLE


def test_memory_alone_fixes_the_memory() -> None:
    plan = sized(memory="16")
    assert bounds(plan) == (1, 8, 16 * GIB, 16 * GIB)
    assert plan.allocation is Allocation.PARTLY_FIXED
    assert plan.qos is QosClass.BURSTABLE


@pytest.mark.parametrize("kind", [SessionKind.DESKTOP, SessionKind.FIREFLY])
def test_desktop_and_firefly_are_always_flexible(kind: SessionKind) -> None:
    modes = KINDS[kind].modes
    assert sized(modes=modes).allocation is Allocation.FLEXIBLE
    assert sized(ResourceMode.FLEXIBLE, modes=modes).allocation is Allocation.FLEXIBLE
    for options, field in [
        ({"cores": "2"}, "cores"),
        ({"memory": "4"}, "memory"),
        ({"cores": "2", "memory": "4"}, "cores"),
        ({"mode": ResourceMode.FIXED, "cores": "2", "memory": "4"}, "mode"),
        ({"mode": ResourceMode.FLEXIBLE, "cores": "2"}, "cores"),
    ]:
        with pytest.raises(Invalid, match="flexible") as caught:
            sized(**options, modes=modes)  # type: ignore[arg-type]
        assert caught.value.field == field


@pytest.mark.parametrize("kind", set(SessionKind) - {SessionKind.DESKTOP, SessionKind.FIREFLY})
def test_the_other_kinds_have_both_modes(kind: SessionKind) -> None:
    assert KINDS[kind].modes == BOTH


@pytest.mark.parametrize(
    ("cores", "memory", "field"),
    [("2", None, "memory"), (None, "4", "cores"), (None, None, "cores")],
)
def test_fixed_needs_both(cores: str | None, memory: str | None, field: str) -> None:
    with pytest.raises(Invalid, match=f"needs {field}: 1, 2, 4") as caught:
        sized(ResourceMode.FIXED, cores, memory)
    assert caught.value.field == field
    assert caught.value.allowed[:3] == ("1", "2", "4")


def test_sizes_read_the_same_in_every_sentence() -> None:
    choices = ResourceChoices(cores=(Decimal("2.0"), Decimal("1e1")))
    allowed = ("2", "10")
    for mode, cores in ((ResourceMode.FIXED, None), (None, "3")):
        with pytest.raises(Invalid, match="2 or 10") as caught:
            sized(mode, cores, choices=choices)
        assert caught.value.allowed == allowed


@given(
    st.sampled_from([None, *ResourceMode]),
    st.none() | st.sampled_from(["0.5", "1", "1.0", "2", "8", "16"]) | st.decimals(0, 99, places=3),
    st.none() | st.sampled_from(["1", "2", "32", "64", "4.5"]) | st.decimals(0, 99, places=3),
    st.none() | st.sampled_from(["0", "1", "2", "1.5"]),
)
def test_nothing_but_what_is_offered(
    mode: ResourceMode | None, cores: str | None, memory: str | None, gpus: str | None
) -> None:
    plan = attempt(lambda: sized(mode, cores, memory, gpus))
    if isinstance(plan, SessionError):
        assert plan.field in {"mode", "cores", "memory", "gpus"}
        return
    flexible = CHOICES.flexible
    if cores is None:
        expected = (flexible.cores_request, flexible.cores_limit)
        assert (plan.cores_request, plan.cores_limit) == expected
    else:
        assert plan.cores_request == plan.cores_limit == Decimal(cores)
        assert plan.cores_limit in CHOICES.cores
    if memory is None:
        assert plan.memory_request == flexible.memory_request * GIB
        assert plan.memory_limit == flexible.memory_limit * GIB
    else:
        assert plan.memory_request == plan.memory_limit == Decimal(memory) * GIB
        assert plan.memory_limit // GIB in CHOICES.memory
    assert plan.gpus in CHOICES.gpus
    assert (plan.qos is QosClass.GUARANTEED) == (cores is not None and memory is not None)


def test_equal_sizes_give_the_same_digits() -> None:
    one, other = sized(cores="2", memory="4"), sized(cores="2.000", memory="4.0")
    assert one.model_dump_json() == other.model_dump_json()


@pytest.mark.parametrize(
    ("cores", "threads"), [("0.5", 1), ("1", 1), ("1.5", 1), ("2", 2), ("8", 8)]
)
def test_threads_are_the_cores_surely_there(cores: str, threads: int) -> None:
    choices = ResourceChoices(cores=(Decimal(cores),))
    assert sized(cores=cores, choices=choices).threads == threads


@pytest.mark.parametrize(
    ("value", "text"),
    [("2", "2"), ("2.0", "2"), ("0.50", "0.5"), ("1E+3", "1000"), ("100", "100"), ("0", "0")],
)
def test_numbers_are_written_plainly(value: str, text: str) -> None:
    assert number(Decimal(value)) == text


@pytest.mark.parametrize(
    "data",
    [
        {"cores": []},
        {"memory": []},
        {"gpus": []},
        {"cores": [0]},
        {"cores": [-1]},
        {"cores": ["NaN"]},
        {"cores": ["Infinity"]},
        {"cores": ["0.0001"]},
        {"memory": [0]},
        {"memory": [1.5]},
        {"gpus": [-1]},
        {"gpus": [0.5]},
        {"size": [1]},
    ],
    ids=str,
)
def test_choices_that_make_no_sense_are_mistakes(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ResourceChoices.model_validate(data)


@pytest.mark.parametrize(
    "sizes", [{"cores_request": 9}, {"memory_request": 33}, {"cores_limit": "0.5"}], ids=str
)
def test_a_request_beyond_its_limit_is_a_mistake(sizes: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="must not exceed"):
        FlexibleSizes.model_validate(sizes)
