"""How full homes and projects are, and what a session keeps in scratch: measured when asked.

A file system may hang. Whoever asks waits a moment and is then told what was known last, and
nothing else of the manager waits at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol, TypeVar

from canfar_spawner.core.filling import Filling, Measured, Place, filling, latest, places
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.storage import Area
from canfar_spawner.manager.lifetimes import Scratch, scratch_words
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.site.measure import Counted, count, measure

_COUNT_FOR: Final = 1.0
"""Seconds that counting one directory may take."""
_WAIT_FOR: Final = 2.0
"""Seconds that whoever asks waits for a measurement."""
_FRESH: Final = timedelta(seconds=30)
_RESTS: Final = 100
"""A measurement serves so many times as long as it took: it costs a hundredth of a thread."""
_TOLD_LATELY: Final = timedelta(minutes=2)
_AT_ONCE: Final = 2
_MOST: Final = 20_000
"""Directories that are remembered."""

Key = TypeVar("Key")


class ToldFilling(Protocol):
    """What a session says of a home or project that it sees."""

    @property
    def path(self) -> str:
        """As sessions see it."""

    @property
    def used(self) -> int | None:
        """Bytes."""

    @property
    def quota(self) -> int | None:
        """Bytes that the file system allows."""


class _Kept(Frozen):
    measured: Measured
    until: datetime
    """How long it counts as what is so."""


class StorageWatch:
    """Measures storage, where the manager can see it, and remembers what sessions tell of it.

    Parameters
    ----------
    arc : Path or None
        The directory with ``home`` and ``projects``; None where the manager does not see it.
    scratch : Path or None
        The directory with a scratch for each launch.
    identities : IdentitySource
    policy : callable
        Gives the site's policy.
    beaten : callable
        Gives what a session has told of its scratch.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        arc: Path | None,
        scratch: Path | None,
        identities: IdentitySource,
        policy: Callable[[], SitePolicy],
        beaten: Callable[[SessionRecord], Scratch | None],
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._arc = arc
        self._scratch = scratch
        self._identities = identities
        self._policy = policy
        self._beaten = beaten
        self._clock = clock
        self._log = log
        # Of its own: a file system that hangs takes these threads and no others.
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="storage")
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._running: dict[Path, asyncio.Task[None]] = {}
        self._failing: set[Path] = set()

    def close(self) -> None:
        """Begin no more measurements; one that hangs is left to itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Homes and projects.

    async def of(self, owner: str) -> tuple[Filling, ...]:
        """Tell how full a user's home and projects are.

        Raises
        ------
        SessionError
            Who she is to the file system is not known.
        """
        found = places(self._identities.identity(owner), self._policy().storage)
        await self._measure(found)
        return tuple(self._filling(owner, place) for place in found)

    async def _measure(self, found: tuple[Place, ...]) -> None:
        tasks = []
        for directory in filter(None, map(self._directory, found)):
            kept = self._kept.get(directory)
            if kept is not None and self._clock() < kept.until:
                continue
            task = self._running.get(directory)
            if task is None:
                task = asyncio.create_task(self._look(directory))
                self._running[directory] = task
            tasks.append(task)
        if tasks:
            await asyncio.wait(tasks, timeout=_WAIT_FOR)

    def _directory(self, place: Place) -> Path | None:
        if self._arc is None:
            return None
        return self._arc / ("home" if place.area is Area.HOME else "projects") / place.name

    async def _look(self, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        begun = time.monotonic()
        try:
            measured = await loop.run_in_executor(self._pool, self._measured, directory)
        except (OSError, RuntimeError) as error:
            if directory not in self._failing:
                self._failing.add(directory)
                self._log.warning("%s cannot be measured: %r", directory, error)
        else:
            self._failing.discard(directory)
            took = timedelta(seconds=time.monotonic() - begun)
            until = self._clock() + max(_FRESH, _RESTS * took)
            _remember(self._kept, directory, _Kept(measured=measured, until=until))
        finally:
            self._running.pop(directory, None)

    def _measured(self, directory: Path) -> Measured:
        arc = directory.parent.parent
        try:
            return measure(directory, top=arc, seconds=_COUNT_FOR, now=self._clock)
        except FileNotFoundError:
            # Nobody has had a session with it yet; without arc itself nothing is known.
            directory.parent.stat()
            return Measured(at=self._clock(), used=0)

    def _filling(self, owner: str, place: Place) -> Filling:
        now = self._clock()
        directory = self._directory(place)
        seen = self._kept.get(directory) if directory is not None else None
        told = self._told.get((owner, place.path))
        there = [kept for kept in (seen, told) if kept is not None]
        best = latest(*(kept.measured for kept in there))
        until = next((kept.until for kept in there if kept.measured is best), now)
        return filling(place, best, known=now < until)

    def heard(self, record: SessionRecord, filled: tuple[ToldFilling, ...]) -> None:
        """Remember what a session tells of its owner's storage, for her alone."""
        now = self._clock()
        for told in filled:
            measured = Measured(at=now, used=told.used, quota=told.quota)
            kept = _Kept(measured=measured, until=now + _TOLD_LATELY)
            _remember(self._told, (record.owner, told.path), kept)

    # Scratch.

    async def scratch(self, record: SessionRecord) -> Scratch | None:
        """Say what a session has in scratch now, or what it told last; None: that is not known."""
        counted = await self._counted(record)
        if counted is None:
            return self._beaten(record)
        return Scratch(files=counted.files, bytes=counted.size, complete=counted.complete)

    async def _counted(self, record: SessionRecord) -> Counted | None:
        if self._scratch is None:
            return None
        directory = self._scratch / record.launch
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_WAIT_FOR):
                return await loop.run_in_executor(
                    self._pool, lambda: count(directory, seconds=_COUNT_FOR)
                )
        except (OSError, TimeoutError, RuntimeError):
            return None


def lost_words(scratch: Scratch | None) -> str:
    """Say what the end of a session wipes, as far as is known."""
    if scratch is None:
        return "Whatever is in /scratch will be wiped."
    return scratch_words(scratch).strip() or "There is nothing in /scratch."


def _remember(kept: OrderedDict[Key, _Kept], key: Key, value: _Kept) -> None:
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > _MOST:
        kept.popitem(last=False)
