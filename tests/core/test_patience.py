"""How long a start is waited for: for each reason, on both sides of its patience."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from canfar_spawner.core.patience import given_up
from canfar_spawner.core.pods import PodsPolicy
from canfar_spawner.core.status import Evidence, Life, Phase, Reason

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
PODS = PodsPolicy(image_seconds=45, unschedulable_seconds=300)


def starting(reason: Reason, waited: float | None, life: Life = Life.STARTING) -> Evidence:
    at = None if waited is None else NOW - timedelta(seconds=waited)
    return Evidence(life=life, phase=Phase.PULLING, reason=reason, at=at, seen=NOW)


@pytest.mark.parametrize("interactive", [True, False])
@pytest.mark.parametrize("reason", [Reason.IMAGE_NOT_FOUND, Reason.IMAGE_REFUSED])
def test_an_image_that_is_not_to_be_had_is_not_waited_for(
    reason: Reason,
    interactive: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert given_up(starting(reason, 0), interactive=interactive, pods=PODS, now=NOW) is reason


@pytest.mark.parametrize(
    "reason", [Reason.IMAGE_FAILED, Reason.PROGRAM_MISSING, Reason.STORAGE_FAILED]
)
def test_what_may_pass_is_waited_for(reason: Reason) -> None:
    for waited, found in ((None, None), (0, None), (45, None), (46, reason)):
        evidence = starting(reason, waited)
        assert given_up(evidence, interactive=False, pods=PODS, now=NOW) is found


def test_a_person_does_not_wait_for_room_for_ever_but_a_job_does() -> None:
    full = Reason.WAITING_FOR_RESOURCES
    for waited, found in ((300, None), (301, Reason.UNSCHEDULABLE)):
        evidence = starting(full, waited)
        assert given_up(evidence, interactive=True, pods=PODS, now=NOW) is found
    for waited in (301, 10**7):
        assert given_up(starting(full, waited), interactive=False, pods=PODS, now=NOW) is None


@pytest.mark.parametrize("life", [life for life in Life if life is not Life.STARTING])
def test_only_a_start_is_given_up(life: Life) -> None:
    for reason in Reason:
        evidence = starting(reason, 10**6, life)
        assert given_up(evidence, interactive=True, pods=PODS, now=NOW) is None


def test_a_start_that_goes_on_is_waited_for() -> None:
    for reason in (Reason.NONE, Reason.PULLING_IMAGE):
        evidence = starting(reason, 10**6)
        assert given_up(evidence, interactive=True, pods=PODS, now=NOW) is None
