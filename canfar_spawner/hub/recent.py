"""What ended lately, for the home page of its owner; the history is kept elsewhere."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence

SHOWN_FOR: Final = timedelta(hours=24)
_OF_EACH: Final = 10


class Ending(Frozen):
    """A session that ended, by itself or because it was told to."""

    plan: SessionPlan
    evidence: Evidence
    """The last that was seen of it; says why."""
    at: datetime
    sentence: str = ""
    """Why, where it was refused or failed before there was anything to look at."""


class RecentEndings:
    """The endings of the last day, at most ten of each user, in the hub's memory only.

    Parameters
    ----------
    clock : callable
        Gives the time in UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._endings: dict[str, deque[Ending]] = defaultdict(lambda: deque(maxlen=_OF_EACH))

    def add(
        self,
        plan: SessionPlan,
        evidence: Evidence,
        *,
        sentence: str = "",
        at: datetime | None = None,
    ) -> None:
        """Keep an ending; a launch that is told of twice counts once, as it was told first.

        Parameters
        ----------
        plan : SessionPlan
        evidence : Evidence
        sentence : str
            Why, where the evidence says nothing.
        at : datetime, optional
            When it ended, by default now.
        """
        at = at or self._clock()
        if self._clock() - at > SHOWN_FOR:
            return
        kept = self._endings[plan.owner]
        if all(ending.plan.launch != plan.launch for ending in kept):
            kept.append(Ending(plan=plan, evidence=evidence, at=at, sentence=sentence))
            # What the session manager tells may have happened before what the hub has seen.
            in_order = sorted(kept, key=lambda ending: ending.at)
            kept.clear()
            kept.extend(in_order)

    def of(self, owner: str) -> tuple[Ending, ...]:
        """Give a user's endings of the last day, the latest first."""
        kept = self._endings.get(owner)
        if not kept:
            return ()
        now = self._clock()
        while kept and now - kept[0].at > SHOWN_FOR:
            kept.popleft()
        if not kept:
            del self._endings[owner]
            return ()
        return tuple(reversed(kept))
