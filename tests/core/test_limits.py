from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canfar_spawner.core.errors import LimitReached
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.limits import GroupLimits, Limits, Usage, admit

LIMITS = Limits(
    interactive=3,
    batch=40,
    groups=(
        GroupLimits(group="heavy", interactive=10, batch=1000),
        GroupLimits(group="few", interactive=1),
        GroupLimits(group="night", batch=100),
    ),
)
INTERACTIVE = [kind for kind in SessionKind if KINDS[kind].interactive]


@pytest.mark.parametrize(
    ("groups", "limit"),
    [
        (set(), 3),
        ({"other"}, 3),
        ({"heavy"}, 10),
        ({"few"}, 3),
        ({"few", "heavy"}, 10),
        ({"heavy2", "Heavy", "heav"}, 3),
    ],
)
def test_the_most_generous_group_counts(groups: set[str], limit: int) -> None:
    assert LIMITS.interactive_for(frozenset(groups)) == limit


@pytest.mark.parametrize(
    ("groups", "limit"),
    [
        (set(), 40),
        ({"few"}, 40),
        ({"night"}, 100),
        ({"night", "heavy"}, 1000),
        ({"nights", "Night"}, 40),
    ],
)
def test_batch_jobs_have_a_limit_of_their_own(groups: set[str], limit: int) -> None:
    assert LIMITS.batch_for(frozenset(groups)) == limit
    assert LIMITS.interactive_for(frozenset({"night"})) == 3, "which says nothing of sessions"


@given(st.sampled_from(INTERACTIVE), st.integers(0, 20), st.sets(st.sampled_from(["heavy", "few"])))
def test_admits_exactly_below_the_limit(kind: SessionKind, used: int, groups: set[str]) -> None:
    limit = LIMITS.interactive_for(frozenset(groups))
    usage = Usage(interactive=used)
    if used < limit:
        admit(kind, usage=usage, limits=LIMITS, groups=frozenset(groups))
        return
    with pytest.raises(LimitReached) as caught:
        admit(kind, usage=usage, limits=LIMITS, groups=frozenset(groups))
    assert f"{used} of {limit} sessions" in caught.value.sentence
    assert caught.value.allowed == (str(limit),)
    assert caught.value.code == "limit_reached"


def test_batch_jobs_do_not_count() -> None:
    assert set(SessionKind) - set(INTERACTIVE) == {SessionKind.HEADLESS}
    admit(SessionKind.HEADLESS, usage=Usage(interactive=99), limits=LIMITS, groups=frozenset())


def test_a_limit_of_nothing_admits_nobody() -> None:
    with pytest.raises(LimitReached):
        admit(
            SessionKind.NOTEBOOK,
            usage=Usage(),
            limits=Limits(interactive=0),
            groups=frozenset({"heavy"}),
        )


@pytest.mark.parametrize("value", [-1, 100_001, 1.5, "many", None])
@pytest.mark.parametrize("key", ["interactive", "batch"])
def test_limits_are_counts(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate({key: value})
