"""Batch jobs that wait for what never comes: an image that is not there, a volume, a program."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.patience import given_up
from canfar_spawner.core.pods import PodsPolicy
from canfar_spawner.core.status import Evidence, Reason
from canfar_spawner.manager.jobs import Jobs
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry

_EVERY: Final = 2.0
PART: Final = "starts"
"""Who ended them, in the history."""


class HopelessStarts:
    """Ends jobs that cannot start, for the reason that they cannot.

    Kubernetes itself would try for ever.

    Parameters
    ----------
    registry : Registry
    jobs : Jobs
    pods : callable
        Gives what the site says of pods, its patience included.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        registry: Registry,
        jobs: Jobs,
        pods: Callable[[], PodsPolicy],
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._jobs = jobs
        self._pods = pods
        self._clock = clock
        self._log = log

    async def run(self) -> None:
        """Look for as long as the manager runs; nothing that goes wrong ends it."""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - the next look may go better
                self._log.exception("Starts could not be looked at")

    async def look(self) -> None:
        """Look at every job that has not started once."""
        pods, now = self._pods(), self._clock()
        for record in self._registry.live():
            if record.interactive or not record.begun:
                continue
            evidence = self._registry.evidence_of(record)
            reason = given_up(evidence, interactive=False, pods=pods, now=now)
            if reason is not None and record.ending in (None, reason):
                await self._end(record, evidence, reason)

    async def _end(self, record: SessionRecord, evidence: Evidence, reason: Reason) -> None:
        self._log.info("%s cannot start: %s", record.launch, evidence.detail or reason.value)
        await self._registry.change(record.id, detail=evidence.detail)
        try:
            await self._jobs.cancel(record, PART, reason=reason)
        except SessionError as error:
            # That it is to end is written down, and it is told so again.
            self._log.warning("%s stays for now: %s", record.launch, error.detail)
