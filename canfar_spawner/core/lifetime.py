"""When a session ends, how far it can be extended, and when its owner is warned."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field, field_validator

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import KINDS, IdleRule, SessionKind

LONGEST: Final = timedelta(days=366)
"""No site can have sessions that last longer."""
Lifetime = Annotated[timedelta, Field(gt=timedelta(0), le=LONGEST)]

IDLE_AT_LEAST: Final = timedelta(minutes=15)
"""Shorter would end what merely paused: use is averaged over ten minutes."""
IdleTime = Annotated[timedelta, Field(ge=IDLE_AT_LEAST, le=timedelta(days=366))]

WARNINGS: Final = (timedelta(hours=24), timedelta(hours=1), timedelta(minutes=5))
"""How long before the end the owner is told."""


class Lifetimes(Frozen):
    """How long sessions live at a site."""

    interactive: Lifetime = timedelta(days=4)
    headless: Lifetime = timedelta(days=14)
    kinds: dict[SessionKind, Lifetime] = Field(default_factory=dict)
    """Kinds that differ from the two above."""
    longest: Lifetime = timedelta(days=30)
    """No extension reaches further from the start than this."""
    idle: dict[SessionKind, IdleTime] = Field(default_factory=dict)
    """After how long without use sessions of a kind end; of kinds that are not here, never."""

    @field_validator("idle")
    @classmethod
    def _can_be_idle(cls, idle: dict[SessionKind, timedelta]) -> dict[SessionKind, timedelta]:
        for kind in idle:
            if KINDS[kind].idle is IdleRule.NEVER:
                raise ValueError(f"{kind} is never idle")
        return idle

    def of(self, kind: SessionKind) -> timedelta:
        """Give the time a new session of this kind has."""
        default = self.interactive if KINDS[kind].interactive else self.headless
        return self.kinds.get(kind, default)


def first_end(kind: SessionKind, started: datetime, lifetimes: Lifetimes) -> datetime:
    """Give the end that a session is promised at its start."""
    return started + lifetimes.of(kind)


def renewed_end(
    kind: SessionKind, *, started: datetime, ends: datetime, now: datetime, lifetimes: Lifetimes
) -> datetime:
    """Give the end after an extension: a whole lifetime from now, never earlier than before.

    Renewing twice at the same moment changes nothing the second time.
    """
    latest = started + lifetimes.longest
    return max(ends, min(now + lifetimes.of(kind), latest))


def due_warning(
    ends: datetime, now: datetime, *, lifetime: timedelta | None = None
) -> timedelta | None:
    """Give the shortest warning whose time has come, or None before the first.

    Parameters
    ----------
    ends : datetime
    now : datetime
    lifetime : timedelta, optional
        What the session was promised at its start: a warning that is not shorter would come with
        the launch.
    """
    left = ends - now
    reached = [
        warning
        for warning in WARNINGS
        if left <= warning and (lifetime is None or warning < lifetime)
    ]
    return min(reached) if reached else None
