"""What launches leave behind in the cluster is removed; what nobody knows of is kept and named."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.names import LaunchId
from canfar_spawner.kubernetes import manifests
from canfar_spawner.kubernetes.backend import KubernetesBackend
from canfar_spawner.kubernetes.client import ApiError, Budget, NotFound
from canfar_spawner.kubernetes.observations import launch_of

_FIRST, _EVERY = 5.0, 20.0
"""Seconds until the first sweep, and between two: what is left over is gone within a minute."""
_ASK_WITHIN: Final = 15.0
UNOWNED_FOR: Final = timedelta(hours=24)
"""How long an object of an unknown launch is kept for its owner to come back to."""

Object = Mapping[str, Any]


def of_batch_jobs(kind: str) -> bool:
    """Say whether objects of this kind belong to batch jobs."""
    return kind == SessionKind.HEADLESS


def of_sessions(kind: str) -> bool:
    """Say whether objects of this kind belong to sessions with a page."""
    return not of_batch_jobs(kind)


class Sweeper:
    """Goes over the objects of this hub, again and again.

    Parameters
    ----------
    backend : KubernetesBackend
    mine : callable
        Says, given the kind of what an object was made for, whether it is this sweeper's to judge:
        the hub has records of sessions, the session manager of batch jobs.
    known : callable
        Gives the launches that there is a record of.
    ended : container of LaunchId
        The launches that are known to have ended.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        backend: KubernetesBackend,
        *,
        mine: Callable[[str], bool],
        known: Callable[[], frozenset[LaunchId]],
        ended: Container[LaunchId],
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._backend = backend
        self._mine = mine
        self._known = known
        self._ended = ended
        self._clock = clock
        self._log = log
        self.unowned: dict[str, tuple[str, datetime]] = {}
        """What belongs to no known launch, by kind and name: whose it is, and since when."""

    async def run(self) -> None:
        """Sweep for ever; nothing that goes wrong ends it."""
        self._backend.watch()
        wait = _FIRST
        while True:
            await asyncio.sleep(wait)
            wait = _EVERY
            try:
                await self.sweep()
            except Exception:  # noqa: BLE001 - the next sweep may go better
                self._log.exception("What launches leave behind could not be looked for")

    async def sweep(self) -> None:
        """Look at every object once; does nothing while the cluster does not answer."""
        cache = self._backend.cache
        if not cache.fresh:
            return
        try:
            secrets = await self._backend.client.list(
                "secrets",
                self._backend.namespace,
                Budget(_ASK_WITHIN),
                labels=manifests.selector(self._backend.pods),
            )
        except ApiError as error:
            self._log.warning("Secrets of sessions could not be listed: %s", error)
            return
        # Asked last: a launch is written down before anything is made for it.
        known = self._known()
        unowned: dict[str, tuple[str, datetime]] = {}
        for kind, objects in (("pods", cache.all()), ("secrets", secrets)):
            for found in objects:
                await self._judge(kind, found, known, unowned)
        for name in unowned.keys() - self.unowned.keys():
            self._log.warning(
                "%s of %s belongs to a launch that this hub does not know; it is kept for a day",
                name,
                unowned[name][0],
            )
        self.unowned = unowned

    async def _judge(
        self,
        kind: str,
        found: Object,
        known: frozenset[LaunchId],
        unowned: dict[str, tuple[str, datetime]],
    ) -> None:
        launch = launch_of(found)
        if launch is None or launch in known:
            return
        metadata = found["metadata"]
        if not self._mine(metadata["labels"].get(manifests.KIND, "")):
            return
        if launch not in self._ended:
            name = f"{kind}/{metadata['name']}"
            owner = metadata["labels"].get(manifests.OWNER, "nobody")
            # Counted from when the record was missed: a session may be older than that.
            unowned[name] = self.unowned.get(name, (owner, self._clock()))
            if self._clock() - unowned[name][1] < UNOWNED_FOR:
                return
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            return
        self._log.info("Removing %s/%s, left over of %s", kind, metadata["name"], launch)
        try:
            await self._backend.client.delete(
                kind,
                self._backend.namespace,
                metadata["name"],
                Budget(_ASK_WITHIN),
                uid=metadata["uid"],
            )
        except NotFound:
            return
        except ApiError as error:
            self._log.warning("%s/%s stays for now: %s", kind, metadata["name"], error)
