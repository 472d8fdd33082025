"""With what a session can be started anew when it needs more memory."""

from __future__ import annotations

from decimal import Decimal

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.resources import (
    GIB,
    Allocation,
    ResourceChoices,
    ResourceMode,
    ResourcePlan,
)


class Restart(Frozen):
    """The sizes with which a session may go on as another: always fixed ones."""

    memory: tuple[int, ...]
    """GB, each more than it has, the smallest first."""
    cores: tuple[Decimal, ...]
    cores_first: Decimal
    """What is chosen where nobody says otherwise."""


def restart(
    resources: ResourcePlan, choices: ResourceChoices, modes: tuple[ResourceMode, ...]
) -> Restart | None:
    """Give the sizes for more memory, None where there is no more.

    Only a fixed size can be more than what a flexible session may use already.

    Parameters
    ----------
    resources : ResourcePlan
        What the session has.
    choices : ResourceChoices
        What the site offers for its kind.
    modes : tuple of ResourceMode
        The modes its kind may have.
    """
    more = tuple(sorted(size for size in choices.memory if size * GIB > resources.memory_limit))
    if ResourceMode.FIXED not in modes or not more:
        return None
    cores = tuple(sorted(choices.cores))
    # A flexible session is sure of what it requests; all that it may use would wait for long.
    held = (
        resources.cores_request
        if resources.allocation is Allocation.FLEXIBLE
        else resources.cores_limit
    )
    first = next((size for size in cores if size >= held), cores[-1])
    return Restart(memory=more, cores=cores, cores_first=first)
