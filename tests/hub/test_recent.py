"""What ended lately of itself, as the home page gets it."""

from __future__ import annotations

from datetime import datetime, timedelta

from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.hub.recent import RecentEndings
from tests.core.world import ADA, BEN, NOW, plan

KILLED = Evidence(life=Life.ENDED, reason=Reason.OUT_OF_MEMORY)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def launched(number: int, identity: object = ADA) -> SessionPlan:
    made = plan({"container": "astroml"}, identity)  # type: ignore[arg-type]
    return made.model_copy(update={"launch": LaunchId(f"k3vd81qa-{number:012}")})


def test_the_latest_ten_of_a_user_are_kept_the_latest_first() -> None:
    recent = RecentEndings(Clock())
    for number in range(12):
        recent.add(launched(number), KILLED)
    numbers = [int(ending.plan.launch[-12:]) for ending in recent.of("ada")]
    assert numbers == list(range(11, 1, -1))


def test_nobody_sees_what_ended_for_somebody_else() -> None:
    recent = RecentEndings(Clock())
    recent.add(launched(1, BEN), KILLED)
    assert recent.of("ada") == ()
    assert [ending.plan.owner for ending in recent.of("ben")] == ["ben"]


def test_a_launch_that_is_told_of_twice_counts_once() -> None:
    recent = RecentEndings(Clock())
    recent.add(launched(1), KILLED)
    recent.add(launched(1), Evidence(life=Life.ABSENT, reason=Reason.SUPERVISOR_LOST))
    assert [ending.evidence for ending in recent.of("ada")] == [KILLED]


def test_endings_are_let_go_after_a_day() -> None:
    clock = Clock()
    recent = RecentEndings(clock)
    recent.add(launched(1), KILLED)
    clock.now += timedelta(hours=23)
    recent.add(launched(2), KILLED)
    assert len(recent.of("ada")) == 2
    clock.now += timedelta(hours=2)
    assert [ending.plan.launch for ending in recent.of("ada")] == [launched(2).launch]
    clock.now += timedelta(hours=24)
    assert recent.of("ada") == ()
