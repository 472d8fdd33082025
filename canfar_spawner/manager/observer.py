"""What the back end says of every session, looked at all the time.

Nothing ends here without proof: a back end that does not answer makes everything unknown and
nothing dead, and a job that has left no trace is looked for twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

from canfar_spawner.core.backend import Backend, Use
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.status import Evidence, Life, Phase, is_over
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry

LOOK_EVERY: Final = 1.5
USE_EVERY: Final = 10.0
_PROOFS: Final = 2
_PROVE_EVERY: Final = 5.0
"""Seconds between two proofs of the same absence."""
_AT_ONCE: Final = 8
_WORTH_WRITING: Final = 1.05
"""By how much a peak has to grow to be written down."""
_AWAY_AFTER: Final = 15.0
"""Seconds without an answer after which that is a problem worth telling."""

Finished = Callable[[SessionRecord, Evidence], Awaitable[None]]
Measured = Callable[[SessionRecord, Use | None], None]


async def for_ever(
    work: Callable[[], Awaitable[None]], every: float, *, log: logging.Logger, failing: str
) -> None:
    """Do something again and again, whatever becomes of it.

    Parameters
    ----------
    work : callable
    every : float
        Seconds between two times.
    log : logging.Logger
    failing : str
        What to say where it raises.
    """
    while True:
        try:
            await work()
        except Exception:
            log.exception("%s; it is tried again", failing)
        await asyncio.sleep(every)


class Observer:
    """Keeps the registry's evidence and uses as fresh as the back end allows.

    Parameters
    ----------
    registry : Registry
    backend : Backend
    finished : callable
        Takes a job and the proof of its end.
    clock, monotonic : callable
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        registry: Registry,
        backend: Backend,
        finished: Finished,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._finished = finished
        self._clock = clock
        self._monotonic = monotonic
        self._log = log
        self._proofs: dict[LaunchId, tuple[int, float]] = {}
        """How often an absence was proven, and when last."""
        self._finishing: dict[LaunchId, asyncio.Task[None]] = {}
        self._answered = monotonic()
        self._away = ""
        self._looks = asyncio.Semaphore(_AT_ONCE)
        self._finishes = asyncio.Semaphore(_AT_ONCE)
        """Apart: what is put away slowly must not keep others from being looked at."""
        self.measured: list[Measured] = []
        """Told of every measurement, also of one that failed."""

    def answered_ago(self) -> float:
        """Say how many seconds ago the back end answered last, or could answer from what is new."""
        return max(self._monotonic() - self._answered, self._backend.answered_ago())

    def proven_absent(self, launch: LaunchId) -> bool:
        """Say whether it was proven often enough that nothing is left of a launch."""
        return self._proofs.get(launch, (0, 0.0))[0] >= _PROOFS

    # Evidence.

    async def look(self) -> None:
        """Ask the back end of everything once."""
        try:
            found = await self._backend.observe()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no proof of an end
            self._unknown(error)
            return
        if self._away:
            self._log.info("The back end answers again")
        self._answered, self._away = self._monotonic(), ""
        live = self._registry.live()
        now = self._clock()
        missing = []
        for record in live:
            evidence = found.get(record.launch)
            if evidence is None or evidence.life is Life.ABSENT:
                missing.append(record)
                continue
            self._proofs.pop(record.launch, None)
            await self._note(record, _seen(evidence, now))
        await asyncio.gather(*(self._prove(record) for record in missing))
        # Those that came meanwhile among them: the hub's word for them counts until the next look.
        self._forget(frozenset(record.launch for record in self._registry.live()))

    def _unknown(self, error: Exception) -> None:
        if not self._away:
            self._log.warning("The back end does not answer; nothing ends for it: %r", error)
        self._away = repr(error)
        for record in self._registry.live():
            before = self._registry.evidence.get(record.launch)
            if before is not None and is_over(before):
                # What has ended stays so.
                continue
            self._registry.evidence[record.launch] = (
                Evidence(life=Life.UNKNOWN)
                if before is None
                else before.model_copy(update={"life": Life.UNKNOWN})
            )

    async def _note(self, record: SessionRecord, evidence: Evidence) -> None:
        self._registry.evidence[record.launch] = evidence
        news = _learned(record, evidence)
        if news:
            record = await self._registry.change(record.id, **news)
        if is_over(evidence) and not record.interactive and record.launch not in self._finishing:
            # Its log is fetched and what is left of it removed; others are looked at meanwhile.
            task = asyncio.ensure_future(self._finish(record, evidence))
            self._finishing[record.launch] = task
            task.add_done_callback(lambda _: self._finishing.pop(record.launch, None))

    async def _prove(self, record: SessionRecord) -> None:
        """Look for the traces of a launch that was not among those that were found."""
        count, at = self._proofs.get(record.launch, (0, float("-inf")))
        if not (record.begun or record.interactive) or self._monotonic() - at < _PROVE_EVERY:
            return
        async with self._looks:
            try:
                evidence = await self._backend.look(record.plan)
            except Exception as error:  # noqa: BLE001 - as above
                self._log.info("%s could not be looked for: %r", record.launch, error)
                return
        if evidence.life is not Life.ABSENT:
            self._proofs.pop(record.launch, None)
            if evidence.life is not Life.UNKNOWN:
                await self._note(record, _seen(evidence, self._clock()))
            return
        self._proofs[record.launch] = (count + 1, self._monotonic())
        if self.proven_absent(record.launch):
            await self._note(record, _seen(evidence, self._clock()))

    async def _finish(self, record: SessionRecord, evidence: Evidence) -> None:
        """Hand a job over that has ended; one that cannot be put away is handed over again."""
        try:
            async with self._finishes:
                await self._finished(record, evidence)
        except Exception:  # noqa: BLE001 - it is handed over again
            self._log.exception("The end of %s is not written down yet", record.launch)

    async def settle(self) -> None:
        """Wait until the jobs that were found to have ended are put away, well or not."""
        await asyncio.gather(*self._finishing.values(), return_exceptions=True)

    def _forget(self, live: frozenset[LaunchId]) -> None:
        kept: tuple[dict[LaunchId, Any], ...] = (
            self._registry.evidence,
            self._registry.uses,
            self._proofs,
        )
        for each in kept:
            for launch in each.keys() - live:
                del each[launch]

    # Use.

    async def measure(self) -> None:
        """Measure what every running session uses, and keep its peaks."""
        running = [
            record
            for record in self._registry.live()
            if self._registry.evidence_of(record).life is Life.RUNNING
        ]
        await asyncio.gather(*(self._measure(record) for record in running))

    async def _measure(self, record: SessionRecord) -> None:
        async with self._looks:
            try:
                use = await self._backend.usage(record.launch)
            except Exception as error:  # noqa: BLE001 - what is not known now is known later
                self._log.debug("%s could not be measured: %r", record.launch, error)
                use = None
        for told in self.measured:
            told(record, use)
        if use is None:
            self._registry.uses.pop(record.launch, None)
            return
        self._registry.uses[record.launch] = use
        peaks = _peaks(record, use)
        current = self._registry.get(record.id)
        if peaks and current is not None and current.live:
            await self._registry.change(record.id, **peaks)

    # For ever.

    async def run(self) -> None:
        """Look for as long as the manager runs."""
        failing = "Sessions could not be looked at"
        await asyncio.gather(
            for_ever(self.look, LOOK_EVERY, log=self._log, failing=failing),
            for_ever(self.measure, USE_EVERY, log=self._log, failing=failing),
        )

    def problems(self) -> list[str]:
        """Say whether the back end answers."""
        learned = self._backend.answered_ago()
        away = max(learned, self._monotonic() - self._answered) if self._away else learned
        if away < _AWAY_AFTER:
            return []
        return [f"The back end has not answered for {away:.0f} s. Nothing ends meanwhile."]


def _seen(evidence: Evidence, now: datetime) -> Evidence:
    return evidence if evidence.seen else evidence.model_copy(update={"seen": now})


def _learned(record: SessionRecord, evidence: Evidence) -> Mapping[str, Any]:
    """Give what evidence tells that a record does not have yet."""
    news: dict[str, Any] = {
        name: getattr(evidence, name)
        for name in ("node", "qos", "image_digest")
        if getattr(evidence, name) and getattr(evidence, name) != getattr(record, name)
    }
    runs = evidence.life is Life.RUNNING and evidence.phase in (Phase.STARTING, Phase.READY)
    if not record.interactive and record.ready is None and (runs or evidence.started):
        news["ready"] = evidence.started or evidence.at or evidence.seen
    if evidence.peak_memory and evidence.peak_memory > (record.peak_memory or 0):
        news["peak_memory"] = evidence.peak_memory
    return news


def _peaks(record: SessionRecord, use: Use) -> Mapping[str, Any]:
    """Give the peaks that are worth writing down."""
    news: dict[str, Any] = {}
    if use.cores is not None and float(use.cores) > _WORTH_WRITING * float(record.peak_cores or 0):
        news["peak_cores"] = use.cores
    if use.memory is not None and use.memory > _WORTH_WRITING * (record.peak_memory or 0):
        news["peak_memory"] = use.memory
    return news
