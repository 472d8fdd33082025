"""When a launch's time is over, for the supervisor; standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from canfar_spawner.local.state import read_ends

LOOK_EVERY: Final = 20.0
"""Seconds after which clock and promise are looked at again, whatever they said before."""
_JUMP: Final = 5.0
_SETTLES_IN: Final = 30.0
"""Seconds for which a clock that has jumped ends nothing. A jump is noticed within one look, so
that both together stay below the minute by which an end may be late."""


class Deadline:
    """The promised end of one launch, later than ordered where it has been extended since.

    Parameters
    ----------
    launch_dir : Path
    ordered : float or None
        The end that the order names, in seconds since 1970; None for no end.
    wall, steady : callable
        The clock that promises are made by, and one that never jumps.
    """

    def __init__(
        self,
        launch_dir: Path,
        ordered: float | None,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dir = launch_dir
        self._ends = ordered
        self._wall = wall
        self._steady = steady
        self._seen = wall(), steady()
        self._trusted_at = self._seen[1]

    def left(self) -> float:
        """Give the seconds until the next look; none are left once the time is over."""
        wall, steady = self._wall(), self._steady()
        apart = abs((wall - self._seen[0]) - (steady - self._seen[1]))
        self._seen = wall, steady
        if apart > _JUMP:
            self._trusted_at = steady + _SETTLES_IN
        try:
            later = read_ends(self._dir)
        except (OSError, ValueError):
            # Something later has been promised, and unknown is not over.
            return LOOK_EVERY
        self._ends = max((end for end in (self._ends, later) if end is not None), default=None)
        if self._ends is None:
            return LOOK_EVERY
        left = self._ends - wall if wall < self._ends else self._trusted_at - steady
        return min(max(0.0, left), LOOK_EVERY)
