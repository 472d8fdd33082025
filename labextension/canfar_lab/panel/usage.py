"""How much memory and how many cores a session uses now, as the kernel itself counts them.

Only where the kernel holds the session to its size is its count the session's own: elsewhere its
control group is a larger one, and what the session manager has measured is all there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_SLACK = 1.01
"""The kernel rounds limits to whole pages."""


@dataclass(frozen=True)
class Count:
    """What a control group has counted."""

    memory: int
    """Bytes, without what the kernel would give back at once."""
    limit: int
    cpu: float
    """Seconds of one core."""


def _number(path: Path) -> int:
    return int(path.read_text())


def _word(path: Path, word: str) -> int:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == word:
            return int(value)
    raise ValueError(f"{path} has no {word}")


def _second(root: Path) -> Count:
    """Read a group of version 2."""
    memory = _number(root / "memory.current") - _word(root / "memory.stat", "inactive_file")
    cpu = _word(root / "cpu.stat", "usage_usec") / 1e6
    return Count(memory, _number(root / "memory.max"), cpu)


def _first(root: Path) -> Count:
    """Read a group of version 1."""
    place = root / "memory"
    memory = _number(place / "memory.usage_in_bytes")
    memory -= _word(place / "memory.stat", "total_inactive_file")
    cpu = _number(root / "cpuacct" / "cpuacct.usage") / 1e9
    return Count(memory, _number(place / "memory.limit_in_bytes"), cpu)


def count(root: Path = _GROUPS) -> Count | None:
    """Read the control group that this process sees as its own; None where there is none."""
    for read in (_second, _first):
        try:
            return read(root)
        except (OSError, ValueError):
            continue
    return None


class Meter:
    """Turns two counts into cores in use.

    Parameters
    ----------
    memory : int
        Bytes that the session may use.
    read : callable
        Gives a `Count`, or None.
    monotonic : callable
        Gives seconds that only ever grow.
    """

    _LEAST = 0.5
    """Seconds between two counts, below which the older one still serves."""

    def __init__(
        self,
        memory: int,
        read: Callable[[], Count | None] = count,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._read = read
        self._monotonic = monotonic
        self._last: tuple[float, Count] | None = None
        self._cores: float | None = None

    def read(self) -> dict[str, float | int | None] | None:
        """Measure now; None where the kernel's count is not the session's."""
        now = self._monotonic()
        found = self._read()
        if found is None or not 0 < found.limit <= self._memory * _SLACK:
            return None
        if self._last is None:
            self._last = now, found
        elif now - self._last[0] >= self._LEAST:
            at, before = self._last
            self._cores = max(0.0, found.cpu - before.cpu) / (now - at)
            self._last = now, found
        return {
            "memory": max(0, found.memory),
            "memoryLimit": found.limit,
            "cores": None if self._cores is None else round(self._cores, 3),
        }
