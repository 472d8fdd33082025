"""Ending what nobody and nothing uses, where a site wants that.

A session is in use while a kernel computes, a terminal runs a program, more than a tenth of a
core is busy on average over ten minutes, or somebody's browser speaks to it. What cannot be
measured is in use: nothing ends because too little is known of it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from canfar_spawner.core.backend import Use
from canfar_spawner.core.lifetime import Lifetimes
from canfar_spawner.core.names import SessionId
from canfar_spawner.core.status import Life, Reason
from canfar_spawner.manager.intake import Heartbeat
from canfar_spawner.manager.observer import for_ever
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry

TICK: Final = 30.0
_WINDOW: Final = 600.0
"""Seconds over which use is averaged."""
_BUSY_CORES: Final = 0.1
_MEASURED_EVERY: Final = 60.0
"""Seconds that may lie between two measurements of a session that is known well enough."""


class Ender(Protocol):
    """Ends a session and keeps at it."""

    async def end(self, record: SessionRecord, *, reason: Reason, by: str) -> None:
        """End a session for a reason."""


@dataclass
class _Watched:
    """What is known of one session's use; moments are monotonic seconds."""

    used: float
    samples: deque[tuple[float, float]] = field(default_factory=deque)
    """When it was measured, and the cores that were busy."""

    def measure(self, now: float, cores: float) -> None:
        if not self.samples or now - self.samples[-1][0] > _MEASURED_EVERY:
            # What it did before this is not known, so it counts as use.
            self.samples.clear()
            self.used = now
        self.samples.append((now, cores))
        while now - self.samples[0][0] > _WINDOW:
            self.samples.popleft()
        if sum(busy for _, busy in self.samples) / len(self.samples) > _BUSY_CORES:
            self.used = now

    def well_known(self, now: float) -> bool:
        """Say whether it was measured without a gap for the whole time that is averaged over."""
        if not self.samples or now - self.samples[-1][0] > _MEASURED_EVERY:
            return False
        return now - self.samples[0][0] >= _WINDOW - _MEASURED_EVERY


class IdleWatch:
    """Watches how sessions are used and ends idle ones of the kinds that a site names.

    Times are measured by a clock that never jumps, and a manager that has just begun knows of no
    idleness: each session then has its whole time again.

    Parameters
    ----------
    registry : Registry
    lifetimes : callable
        Gives the site's lifetimes.
    ender : Ender
    clock, monotonic : callable
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        registry: Registry,
        lifetimes: Callable[[], Lifetimes],
        ender: Ender,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._lifetimes = lifetimes
        self._ender = ender
        self._clock = clock
        self._monotonic = monotonic
        self._log = log
        self._watched: dict[SessionId, _Watched] = {}

    def _of(self, record: SessionRecord) -> _Watched:
        return self._watched.setdefault(record.id, _Watched(used=self._monotonic()))

    # What is heard.

    def heard(self, record: SessionRecord, beat: Heartbeat) -> None:
        """Take what a session says of itself."""
        if beat.busy_kernels or beat.terminals_busy:
            self.used(record, self._clock())
        elif beat.activity is not None:
            self.used(record, beat.activity)

    def used(self, record: SessionRecord, at: datetime) -> None:
        """Note that a session was used at a time."""
        now = self._monotonic()
        ago = max(0.0, (self._clock() - at).total_seconds())
        watched = self._of(record)
        watched.used = max(watched.used, now - ago)

    def measured(self, record: SessionRecord, use: Use | None) -> None:
        """Take a measurement."""
        if use is not None and use.cores is not None:
            self._of(record).measure(self._monotonic(), float(use.cores))

    # What follows.

    def idle_for(self, record: SessionRecord) -> timedelta | None:
        """Say for how long a session has not been used; None where that is not certain."""
        watched = self._of(record)
        now = self._monotonic()
        if not watched.well_known(now):
            return None
        return timedelta(seconds=now - watched.used)

    async def tick(self) -> None:
        """End what has been idle for as long as the site allows."""
        rules = self._lifetimes().idle
        live = self._registry.live()
        for record in live:
            allowed = rules.get(record.kind)
            known = self._registry.evidence_of(record).life is Life.RUNNING
            if allowed is None or record.ending is not None or record.ready is None or not known:
                continue
            idle = self.idle_for(record)
            if idle is not None and idle >= allowed:
                self._log.info("%s has not been used for %s", record.launch, idle)
                await _tried(
                    self._ender.end(record, reason=Reason.IDLE, by="idle"), record, self._log
                )
        for gone in self._watched.keys() - {record.id for record in live}:
            del self._watched[gone]

    async def run(self) -> None:
        """Go on for as long as the manager runs."""
        await for_ever(
            self.tick, TICK, log=self._log, failing="Idle sessions could not be looked for"
        )


async def _tried(work: Awaitable[None], record: SessionRecord, log: logging.Logger) -> None:
    """Leave what fails to whoever ends sessions: it is written down and goes on."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - the others are still to be looked at
        log.warning("%s could not be ended yet: %r", record.launch, error)
