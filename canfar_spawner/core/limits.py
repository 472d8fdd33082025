"""How much one user may have at the same time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from canfar_spawner.core.errors import LimitReached
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import KINDS, SessionKind

Count = Annotated[int, Field(ge=0, le=100_000)]


class GroupLimits(Frozen):
    """Limits for the members of a group, where they differ."""

    group: str
    interactive: Count


class Limits(Frozen):
    """The limits of a site."""

    interactive: Count = 3
    """Interactive sessions of one user at the same time."""
    groups: tuple[GroupLimits, ...] = ()

    def interactive_for(self, groups: frozenset[str]) -> int:
        """Give the highest limit that a user of these groups enjoys."""
        own = [limit.interactive for limit in self.groups if limit.group in groups]
        return max([self.interactive, *own])


class Usage(Frozen):
    """What a user has running or starting now."""

    interactive: Count = 0


def admit(kind: SessionKind, *, usage: Usage, limits: Limits, groups: frozenset[str]) -> None:
    """Refuse a session beyond the limit.

    Raises
    ------
    LimitReached
        The user has as many interactive sessions as the site grants.
    """
    if not KINDS[kind].interactive:
        return
    limit = limits.interactive_for(groups)
    if usage.interactive >= limit:
        raise LimitReached(
            f"You have {usage.interactive} of {limit} sessions. Stop one to launch another.",
            allowed=(limit,),
        )
