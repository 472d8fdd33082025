"""How long starts have taken, so that whoever waits knows what is usual."""

from __future__ import annotations

import json
import logging
from collections import deque
from pathlib import Path
from statistics import median
from typing import Final

from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.replacing import replace_file

_KEPT: Final = 20
_ENOUGH: Final = 3
"""Fewer say nothing of what is usual."""
_MOST: Final = 500
"""Containers and images that are remembered; those of long ago are forgotten first."""


def _of(plan: SessionPlan) -> str:
    image = plan.image
    return plan.container or f"{image.registry}/{image.project}/{image.repository}"


class StartTimes:
    """The seconds that the last starts of each container took, in a file of the hub's directory.

    Parameters
    ----------
    path : Path
    log : logging.Logger
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log
        self._took = self._read()

    def _read(self) -> dict[str, deque[float]]:
        try:
            kept = json.loads(self._path.read_text())
            return {
                str(name): deque((float(each) for each in seconds), maxlen=_KEPT)
                for name, seconds in kept.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self._log.warning("How long starts have taken is not known: %s", error)
            return {}

    def add(self, plan: SessionPlan, seconds: float) -> None:
        """Note a start; where that cannot be written down, it is known until the hub ends."""
        took = self._took.pop(_of(plan), deque(maxlen=_KEPT))
        took.append(round(seconds, 1))
        self._took[_of(plan)] = took
        while len(self._took) > _MOST:
            del self._took[next(iter(self._took))]
        text = json.dumps({name: list(each) for name, each in self._took.items()})
        try:
            replace_file(self._path, text, lasting=False)
        except OSError as error:
            self._log.warning("How long a start took is not written down: %s", error)

    def typical(self, plan: SessionPlan) -> int | None:
        """Give the usual seconds of a container's start; None while too few were seen."""
        took = self._took.get(_of(plan), ())
        return max(1, round(median(took))) if len(took) >= _ENOUGH else None
