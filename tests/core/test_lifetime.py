from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.lifetime import (
    WARNINGS,
    Lifetimes,
    due_warning,
    first_end,
    renewed_end,
)
from tests.core.world import NOW

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
LIFETIMES = Lifetimes(kinds={SessionKind.CARTA: 2 * HOUR}, longest=10 * DAY)

AGES = st.timedeltas(min_value=timedelta(0), max_value=40 * DAY)


@pytest.mark.parametrize(
    ("kind", "lifetime"),
    [
        (SessionKind.NOTEBOOK, 4 * DAY),
        (SessionKind.DESKTOP, 4 * DAY),
        (SessionKind.CONTRIBUTED, 4 * DAY),
        (SessionKind.CARTA, 2 * HOUR),
        (SessionKind.HEADLESS, 14 * DAY),
    ],
)
def test_each_kind_has_its_time(kind: SessionKind, lifetime: timedelta) -> None:
    assert first_end(kind, NOW, LIFETIMES) == NOW + lifetime


def renewed(kind: SessionKind, ends: datetime, now: datetime) -> datetime:
    return renewed_end(kind, started=NOW, ends=ends, now=now, lifetimes=LIFETIMES)


@given(st.sampled_from(SessionKind), AGES, AGES)
def test_renewing_twice_is_renewing_once(
    kind: SessionKind, age: timedelta, left: timedelta
) -> None:
    ends, now = NOW + left, NOW + age
    once = renewed(kind, ends, now)
    assert renewed(kind, once, now) == once


@given(st.sampled_from(SessionKind), AGES, AGES)
def test_renewing_is_capped_and_never_shortens(
    kind: SessionKind, age: timedelta, left: timedelta
) -> None:
    ends, now = NOW + left, NOW + age
    later = renewed(kind, ends, now)
    assert later >= ends
    if later > ends:
        assert later <= NOW + LIFETIMES.longest
        assert later <= now + LIFETIMES.of(kind)


def test_renewing_gives_a_whole_lifetime_from_now() -> None:
    ends = NOW + 4 * DAY
    assert renewed(SessionKind.NOTEBOOK, ends, NOW + 3 * DAY) == NOW + 7 * DAY
    assert renewed(SessionKind.NOTEBOOK, ends, NOW + 8 * DAY) == NOW + 10 * DAY
    assert renewed(SessionKind.HEADLESS, NOW + 14 * DAY, NOW + DAY) == NOW + 14 * DAY


@pytest.mark.parametrize(
    ("left", "warning"),
    [
        (30 * DAY, None),
        (DAY + timedelta(microseconds=1), None),
        (DAY, DAY),
        (HOUR + MINUTE, DAY),
        (HOUR, HOUR),
        (6 * MINUTE, HOUR),
        (5 * MINUTE, 5 * MINUTE),
        (timedelta(0), 5 * MINUTE),
        (-DAY, 5 * MINUTE),
    ],
)
def test_warnings_come_in_time(left: timedelta, warning: timedelta | None) -> None:
    assert due_warning(NOW + left, NOW) == warning


def test_warnings_are_in_order() -> None:
    assert list(WARNINGS) == sorted(WARNINGS, reverse=True)


@pytest.mark.parametrize("days", [0, -1, 367, float("nan"), "soon"])
def test_lifetimes_have_bounds(days: object) -> None:
    value = timedelta(days=days) if isinstance(days, int) else days
    with pytest.raises(ValidationError):
        Lifetimes.model_validate({"interactive": value})


@pytest.mark.parametrize(
    ("lifetime", "left", "warning"),
    [
        (2 * DAY, DAY, DAY),
        (DAY, DAY, None),
        (12 * HOUR, HOUR, HOUR),
        (HOUR, 59 * MINUTE, None),
        (HOUR, 5 * MINUTE, 5 * MINUTE),
        (5 * MINUTE, MINUTE, None),
    ],
)
def test_no_warning_comes_with_the_launch(
    lifetime: timedelta, left: timedelta, warning: timedelta | None
) -> None:
    assert due_warning(NOW + left, NOW, lifetime=lifetime) == warning


def test_nothing_is_idle_unless_the_site_says_so() -> None:
    assert Lifetimes().idle == {}
    assert Lifetimes(idle={SessionKind.CARTA: HOUR}).idle == {SessionKind.CARTA: HOUR}


@pytest.mark.parametrize(
    "idle", [{SessionKind.HEADLESS: HOUR}, {SessionKind.CARTA: 5 * MINUTE}, {"carto": HOUR}]
)
def test_what_cannot_be_idle_is_refused(idle: dict[SessionKind, timedelta]) -> None:
    with pytest.raises(ValidationError):
        Lifetimes(idle=idle)
