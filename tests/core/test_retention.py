"""For how long a site remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canfar_spawner.core.retention import Retention, cutoffs
from tests.core.world import site

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LENGTHS = st.timedeltas(min_value=timedelta(days=2), max_value=timedelta(days=3660))


@given(sessions=LENGTHS, events=LENGTHS, audit=LENGTHS, logs=LENGTHS)
def test_nothing_of_a_session_outlives_what_is_known_of_it(
    sessions: timedelta, events: timedelta, audit: timedelta, logs: timedelta
) -> None:
    found = cutoffs(Retention(sessions=sessions, events=events, audit=audit, logs=logs), NOW)
    assert found.sessions == NOW - sessions
    for each, kept_for in ((found.events, events), (found.audit, audit), (found.logs, logs)):
        assert each == NOW - min(kept_for, sessions)


@pytest.mark.parametrize("wrong", ["PT1H", "P1D", "-P3D", "P20Y"])
def test_what_ended_today_is_always_kept(wrong: str) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate({"logs": wrong})


def test_a_site_remembers_sessions_for_a_year_where_it_does_not_say() -> None:
    assert site().history.sessions == timedelta(days=365)
    assert site(history={"logs": "P7D"}).history.logs == timedelta(days=7)
