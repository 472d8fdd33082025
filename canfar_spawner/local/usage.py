"""What the processes of a local session use, read from ``/proc``."""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from canfar_spawner.core.backend import Capacity, Use

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """Give the processes below one, itself left out."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            # A child is listed with the thread that made it.
            tasks = [*(_PROC / str(waiting.pop()) / "task").iterdir()]
            text = " ".join((task / "children").read_text() for task in tasks)
        except OSError:
            continue
        children = [int(child) for child in text.split()]
        found += children
        waiting += children
    return found


def _measure(pid: int) -> tuple[int, int]:
    """Give processor ticks and resident bytes of a process, nothing where it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        resident = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0, 0
    return sum(map(int, fields[11:15])), resident * _PAGE


class UsageMeter:
    """Turns two looks at a session's processes into cores in use."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[datetime, int]] = {}

    def read(self, supervisor: int, now: datetime) -> Use:
        """Look at everything below a supervisor; the first look knows no cores yet."""
        measured = [_measure(pid) for pid in descendants(supervisor)]
        ticks = sum(ticks for ticks, _ in measured)
        before = self._last.get(supervisor)
        self._last[supervisor] = (now, ticks)
        cores = None
        if before is not None and now > before[0]:
            busy = max(0, ticks - before[1]) / _TICKS / (now - before[0]).total_seconds()
            cores = Decimal(f"{busy:.3f}")
        return Use(cores=cores, memory=sum(resident for _, resident in measured), at=now)

    def forget(self, supervisor: int) -> None:
        """Drop what is remembered of an ended session."""
        self._last.pop(supervisor, None)


def machine(cores_taken: Decimal, memory_taken: int) -> Capacity:
    """Say what this machine has, given what sessions were promised of it."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    return Capacity(
        cores=Decimal(os.cpu_count() or 1),
        cores_taken=cores_taken,
        memory=total,
        memory_taken=memory_taken,
    )
