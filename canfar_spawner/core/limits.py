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
    interactive: Count | None = None
    batch: Count | None = None


class Limits(Frozen):
    """The limits of a site."""

    interactive: Count = 3
    """Interactive sessions of one user at the same time."""
    batch: Count = 500
    """Batch jobs of one user that wait or run at the same time."""
    groups: tuple[GroupLimits, ...] = ()

    def interactive_for(self, groups: frozenset[str]) -> int:
        """Give the highest limit that a user of these groups enjoys."""
        return self._most(
            self.interactive, [(each.group, each.interactive) for each in self.groups], groups
        )

    def batch_for(self, groups: frozenset[str]) -> int:
        """Give the most batch jobs that a user of these groups may have at the same time."""
        return self._most(self.batch, [(each.group, each.batch) for each in self.groups], groups)

    @staticmethod
    def _most(
        everybody: int, by_group: list[tuple[str, int | None]], groups: frozenset[str]
    ) -> int:
        own = [most for group, most in by_group if group in groups and most is not None]
        return max([everybody, *own])


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
