"""When a session ends, how far it can be extended, and when its owner is warned."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import KINDS, SessionKind

Lifetime = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=366))]

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


def due_warning(ends: datetime, now: datetime) -> timedelta | None:
    """Give the shortest warning whose time has come, or None before the first."""
    left = ends - now
    reached = [warning for warning in WARNINGS if left <= warning]
    return min(reached) if reached else None
