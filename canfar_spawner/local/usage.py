"""What the processes of a local session use, read from ``/proc``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from canfar_spawner.core.backend import Capacity, Free, Use
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.resources import GIB

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC: Final = Path("/proc")
_FRESH: Final = 0.5
"""Seconds for which one look at all processes serves: a hundred sessions cost one."""


@dataclass(frozen=True)
class _Shot:
    """One look at every process of the machine, for all sessions that are asked about then."""

    taken: float
    at: datetime
    children: dict[int, list[int]]
    measured: dict[int, tuple[int, int]]
    """Processor ticks, of ended children too, and resident bytes by pid."""

    def below(self, pid: int) -> list[int]:
        """Give the processes below one, itself left out."""
        found: list[int] = []
        waiting = [pid]
        while waiting:
            fresh = self.children.get(waiting.pop(), [])
            found += fresh
            waiting += fresh
        return found


def _look(now: datetime) -> _Shot:
    children: dict[int, list[int]] = {}
    measured: dict[int, tuple[int, int]] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        pid = int(entry.name)
        children.setdefault(int(fields[1]), []).append(pid)
        measured[pid] = sum(map(int, fields[11:15])), int(fields[21]) * _PAGE
    return _Shot(time.monotonic(), now, children, measured)


class UsageMeter:
    """Turns two looks at the processes of each session into cores in use."""

    def __init__(self) -> None:
        self._shot: _Shot | None = None
        self._last: dict[LaunchId, tuple[datetime, int, Use]] = {}

    def read(self, launch: LaunchId, supervisor: int, now: datetime) -> Use:
        """Measure everything below a supervisor; the first look knows no cores yet."""
        shot = self._shot
        if shot is None or time.monotonic() - shot.taken > _FRESH:
            self._shot = shot = _look(now)
        before = self._last.get(launch)
        if before is not None and before[0] == shot.at:
            return before[2]
        measured = [shot.measured[pid] for pid in shot.below(supervisor)]
        ticks = sum(ticks for ticks, _ in measured)
        cores = None
        if before is not None and shot.at > before[0]:
            busy = max(0, ticks - before[1]) / _TICKS / (shot.at - before[0]).total_seconds()
            cores = Decimal(f"{busy:.3f}")
        use = Use(cores=cores, memory=sum(resident for _, resident in measured), at=shot.at)
        self._last[launch] = shot.at, ticks, use
        return use

    def forget(self, launch: LaunchId) -> None:
        """Drop what is remembered of an ended launch."""
        self._last.pop(launch, None)


def machine(cores_taken: Decimal, memory_taken: int) -> Capacity:
    """Say what this machine has, given what sessions were promised of it."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    cores = Decimal(os.cpu_count() or 1)
    left = Free(
        cores=max(Decimal(0), cores - cores_taken), memory=max(0, total - memory_taken) // GIB * GIB
    )
    return Capacity(
        cores=cores,
        cores_taken=cores_taken,
        memory=total,
        memory_taken=memory_taken,
        free=(left,),
    )
