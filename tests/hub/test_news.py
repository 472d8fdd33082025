"""What the session manager tells the hub, as pages find it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.hub.news import HubNews
from canfar_spawner.hub.recent import RecentEndings
from tests.core.world import LAUNCH, NOW, plan

PLAN = plan({"container": "astroml", "name": "photometry"})
HOUR = timedelta(hours=1)


class Clock:
    """The time as a test sets it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recent(clock: Clock) -> RecentEndings:
    return RecentEndings(clock)


@pytest.fixture
def news(clock: Clock, recent: RecentEndings) -> HubNews:
    return HubNews(recent, clock, logging.getLogger("tests.news"))


def extended(ends: datetime) -> dict[str, Any]:
    return {"kind": "extended", "session": PLAN.session, "launch": LAUNCH, "ends": ends.isoformat()}


WARNED = {"kind": "warned", "launch": LAUNCH, "sentence": "photometry ends at 12:00 UTC."}


def ended(**changes: object) -> dict[str, Any]:
    return {
        "kind": "ended",
        "session": PLAN.session,
        "launch": LAUNCH,
        "reason": "expired",
        "sentence": "The session reached the end of its lifetime.",
        "detail": "",
        "at": NOW.isoformat(),
        "by": "lifetimes",
        "plan": PLAN.model_dump(mode="json"),
        **changes,
    }


def refused(number: int, at: datetime = NOW) -> dict[str, Any]:
    return {
        "kind": "refused",
        "owner": "ada",
        "name": f"fit-{number}",
        "sentence": "16.9 is no size.",
        "at": at.isoformat(),
    }


def test_an_extended_end_is_the_end(news: HubNews) -> None:
    assert news.ends(PLAN) == PLAN.ends
    news.take([extended(PLAN.ends + HOUR)])
    assert news.ends(PLAN) == PLAN.ends + HOUR


def test_an_extension_ends_the_warning(news: HubNews) -> None:
    news.take([WARNED])
    assert news.warning(PLAN) == "photometry ends at 12:00 UTC."
    news.take([extended(PLAN.ends + HOUR)])
    assert news.warning(PLAN) == ""


def test_an_end_is_shown_once_with_its_reason(news: HubNews, recent: RecentEndings) -> None:
    news.take([WARNED, ended(), ended()])
    (ending,) = recent.of("ada")
    assert (ending.plan, ending.evidence.reason) == (PLAN, Reason.EXPIRED)
    assert news.warning(PLAN) == ""


def test_a_days_news_come_again_in_their_order(
    news: HubNews, recent: RecentEndings, clock: Clock
) -> None:
    """As after a restart of the hub; what is older than a day is not shown."""
    other = PLAN.model_copy(update={"launch": "k3vd81qb-0123456789ab"})
    clock.now = NOW + 20 * HOUR
    recent.add(other, ending_evidence())
    news.take([ended()])
    assert [each.plan.launch for each in recent.of("ada")] == [other.launch, LAUNCH]
    clock.now = NOW + 25 * HOUR
    assert [each.plan.launch for each in recent.of("ada")] == [other.launch]
    news.take([ended()])
    assert [each.plan.launch for each in recent.of("ada")] == [other.launch]


def ending_evidence() -> Evidence:
    return Evidence(life=Life.ENDED, reason=Reason.OUT_OF_MEMORY)


def test_refusals_are_kept_for_a_day_and_not_without_bound(news: HubNews, clock: Clock) -> None:
    news.take([refused(number, NOW + number * HOUR / 10) for number in range(30)])
    kept = news.refused("ada")
    assert [each.name for each in kept] == [f"fit-{number}" for number in range(29, 19, -1)]
    news.take([refused(29, NOW + 2.9 * HOUR)])
    assert len(news.refused("ada")) == 10
    assert news.refused("ben") == ()
    clock.now = NOW + 26.5 * HOUR
    assert [each.name for each in news.refused("ada")] == ["fit-29", "fit-28", "fit-27", "fit-26"]


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        "extended",
        [],
        {},
        {"kind": "extended"},
        {"kind": "extended", "launch": LAUNCH, "ends": "soon"},
        {"kind": "warned", "launch": LAUNCH},
        ended(plan={}),
        ended(reason="of tomorrow"),
        ended(at=None),
        {"kind": "refused", "owner": "ada"},
        {"kind": "of tomorrow", "launch": LAUNCH},
    ],
    ids=repr,
)
def test_news_that_cannot_be_read_cost_no_others(
    news: HubNews, recent: RecentEndings, item: object
) -> None:
    news.take([item, extended(PLAN.ends + HOUR)])
    assert news.ends(PLAN) == PLAN.ends + HOUR
    assert recent.of("ada") == ()
