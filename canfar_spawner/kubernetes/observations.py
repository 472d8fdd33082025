"""What is known of launches: of those with a pod, and of those whose pod is gone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from canfar_spawner.core.names import LaunchId, launch_id
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.kubernetes import manifests
from canfar_spawner.kubernetes.cache import ObjectCache
from canfar_spawner.kubernetes.evidence import evidence_of

Object = Mapping[str, Any]

_REMEMBERED: Final = 2000


def launch_of(found: Object) -> LaunchId | None:
    """Give the launch that an object was made for."""
    try:
        return launch_id(found["metadata"]["labels"][manifests.LAUNCH])
    except (KeyError, TypeError, ValueError):
        return None


class Observations:
    """Evidence from the pods of a cache.

    Parameters
    ----------
    cache : ObjectCache
    """

    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache
        cache.on_departure = self._departed
        self._stopped: set[LaunchId] = set()
        """Launches that were told to end while they ran."""
        self._last: OrderedDict[LaunchId, Evidence] = OrderedDict()
        """How launches ended whose pods are gone by now."""

    def stopping(self, launch: LaunchId, pod: Object) -> None:
        """Note that a launch is being told to end, unless it has ended by itself."""
        events = self._cache.events_of(pod["metadata"]["uid"])
        found = evidence_of(pod, events, seen=datetime.now(UTC))
        if found.life is Life.ENDED:
            self._remember(launch, found)
        else:
            self._stopped.add(launch)

    def told(self, pod: Object) -> Evidence:
        """Say what a pod of the cache proves; old news prove an end only."""
        events = self._cache.events_of(pod["metadata"]["uid"])
        found = evidence_of(pod, events, seen=self._cache.seen)
        if found.life is Life.ENDED and launch_of(pod) in self._stopped:
            return found.model_copy(update={"reason": Reason.STOPPED, "detail": ""})
        if found.life is Life.ENDED or self._cache.fresh:
            return found
        return Evidence(life=Life.UNKNOWN, node=found.node, seen=self._cache.seen)

    def absent(self, launch: LaunchId, now: datetime) -> Evidence:
        """Say what is known of a launch that the API server has no pod of."""
        if launch in self._last:
            return self._last[launch]
        reason = Reason.STOPPED if launch in self._stopped else Reason.SUPERVISOR_LOST
        return Evidence(life=Life.ABSENT, reason=reason, seen=now)

    def all(self) -> dict[LaunchId, Evidence]:
        """Give what is known of every launch."""
        found = dict(self._last)
        for pod in self._cache.all():
            launch = launch_of(pod)
            if launch is not None:
                found[launch] = self.told(pod)
        return found

    def _departed(self, pod: Object, events: tuple[Object, ...]) -> None:
        """Note how a launch ended whose pod somebody, or the cluster itself, has removed."""
        found = evidence_of(pod, events, seen=self._cache.seen)
        launch = launch_of(pod)
        if launch is None or launch in self._stopped:
            return
        if found.life is Life.ENDED:
            self._remember(launch, found)
        elif found.reason in {Reason.NODE_LOST, Reason.EVICTED}:
            self._remember(launch, found.model_copy(update={"life": Life.ABSENT}))

    def _remember(self, launch: LaunchId, evidence: Evidence) -> None:
        self._last[launch] = evidence
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
