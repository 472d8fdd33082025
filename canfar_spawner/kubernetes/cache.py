"""The pods of sessions and their events, followed for as long as the hub lives.

One failure of the API server, or ten minutes of them, makes what is known old; it never ends the
following, and old is not gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

from typing_extensions import override

from canfar_spawner.kubernetes.client import ApiError, Budget, Forbidden, KubeClient
from canfar_spawner.kubernetes.mirror import Happenings, Pods, version_of

Object = dict[str, Any]

_WATCH: Final = 8
"""Seconds after which the server ends a watch, so that silence is soon a sign of something wrong."""
_SILENCE: Final = 9.5
_FRESH: Final = 20.0
"""Age at which what is known still counts as the present: a watch that stalls and a list."""
_LIST_AGAIN: Final = 300.0
_PAGE_WITHIN: Final = 12.0
_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
_TOLD: Final = 3
_AT_ONCE: Final = 1.0
"""A watch that ends sooner, with no news, has not worked."""


def _clock() -> float:
    """Count seconds, also those for which the machine was asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Selectors(TypedDict, total=False):
    labels: str
    fields: str


class _Follower(ABC):
    """Lists, watches, and begins anew whatever happens."""

    forbidden_wait = _LONGEST_WAIT

    def __init__(self, client: KubeClient, kind: str, namespace: str, log: logging.Logger) -> None:
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._log = log
        self._selectors: _Selectors = {}
        self._failures = 0
        self._failing_since: float | None = None
        self.answered: float | None = None
        self.seen: datetime | None = None
        self.listed = asyncio.Event()

    @abstractmethod
    async def list(self) -> int:
        """Take in a list and give its version."""

    @abstractmethod
    def take(self, event: Mapping[str, Any]) -> None:
        """Take in an event."""

    @property
    @abstractmethod
    def version(self) -> int:
        """How far the stream has been read."""

    @property
    @abstractmethod
    def doubted(self) -> bool:
        """Whether only a list can tell what is true."""

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            error: Exception
            try:
                await self._follow()
                continue
            except ApiError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - nothing may end it
                error = failure
            await asyncio.sleep(self._pause(error))

    async def _follow(self) -> None:
        """List, then watch until a list is due."""
        await self.list()
        self.listed.set()
        self._heard()
        due = _clock() + _LIST_AGAIN
        while _clock() < due:
            await self._watch()

    async def _watch(self) -> None:
        begun, news = _clock(), False
        events = self._client.watch(
            self._kind,
            self._namespace,
            str(self.version),
            seconds=_WATCH,
            silence=_SILENCE,
            **self._selectors,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                if event is not None:
                    self.take(event)
                    news = True
                self._heard()
                if _clock() - begun >= _AT_ONCE:
                    self._well()
        self._heard()
        if self.doubted:
            raise ApiError(0, "OutOfOrder")
        if _clock() - begun >= _AT_ONCE:
            self._well()
        elif not news:
            raise ApiError(0, "WatchEndsAtOnce")

    def _heard(self) -> None:
        self.answered, self.seen = _clock(), datetime.now(UTC)

    def _well(self) -> None:
        if self._failing_since is not None and self._failures > 1:
            self._log.info(
                "The %s of %s are followed again after %.0f s",
                self._kind,
                self._namespace,
                _clock() - self._failing_since,
            )
        self._failures, self._failing_since = 0, None

    def _pause(self, error: Exception) -> float:
        """Give the seconds until the next try; tell of the first failure and of each bug."""
        self._failures += 1
        if self._failing_since is None:
            self._failing_since = _clock()
        if not isinstance(error, ApiError):
            if self._failures <= _TOLD:
                self._log.error("What came of %s is of no use", self._kind, exc_info=error)
        elif self._failures <= 2:
            # A single failure is nothing; a second one in a row may be the beginning of an outage.
            self._log.log(
                logging.INFO if self._failures == 1 else logging.WARNING,
                "The %s of %s are not followed now: %s",
                self._kind,
                self._namespace,
                error,
            )
        if isinstance(error, Forbidden) and self._failures > _TOLD:
            return self.forbidden_wait
        wait = min(_FIRST_WAIT * 2 ** min(self._failures - 1, 10), _LONGEST_WAIT)
        wait = random.uniform(wait / 2, wait)  # noqa: S311 - spreads requests, hides nothing
        asked = error.retry_after if isinstance(error, ApiError) else None
        return max(wait, min(asked or 0.0, _LONGEST_WAIT))


class _PodFollower(_Follower):
    def __init__(self, cache: ObjectCache, client: KubeClient, log: logging.Logger) -> None:
        super().__init__(client, "pods", cache.namespace, log)
        self._cache = cache
        self._selectors = {"labels": cache.labels}

    @override
    async def list(self) -> int:
        pods: list[Object] = []
        version = 0
        async for page in self._client.pages(
            self._kind, self._namespace, lambda: Budget(_PAGE_WITHIN), **self._selectors
        ):
            version = version or version_of(page)
            pods += page["items"]
        changed = self._cache.pods.replace(pods, version)
        self._cache.pods_changed(changed | self._cache.overlooked())
        return version

    @override
    def take(self, event: Mapping[str, Any]) -> None:
        self._cache.pods_changed(self._cache.pods.apply(event))

    @property
    @override
    def version(self) -> int:
        return self._cache.pods.position.version

    @property
    @override
    def doubted(self) -> bool:
        return self._cache.pods.position.doubted


class _EventFollower(_Follower):
    # Sessions run without them; their rights do not come back by asking.
    forbidden_wait = 60.0

    def __init__(self, cache: ObjectCache, client: KubeClient, log: logging.Logger) -> None:
        super().__init__(client, "events", cache.namespace, log)
        self._cache = cache
        self._selectors = {"fields": "involvedObject.kind=Pod"}

    @override
    async def list(self) -> int:
        # Whose events are to be kept is known only then.
        await self._cache.listed()
        filling = self._cache.happenings.begin()
        version = 0
        async for page in self._client.pages(
            self._kind, self._namespace, lambda: Budget(_PAGE_WITHIN), **self._selectors
        ):
            version = version or version_of(page)
            filling.add(page["items"])
        for uid in self._cache.happenings.replace(filling, version):
            self._cache.happened(uid)
        return version

    @override
    def take(self, event: Mapping[str, Any]) -> None:
        uid = self._cache.happenings.apply(event)
        if uid:
            self._cache.happened(uid)

    @property
    @override
    def version(self) -> int:
        return self._cache.happenings.position.version

    @property
    @override
    def doubted(self) -> bool:
        return self._cache.happenings.position.doubted


class ObjectCache:
    """The pods of a namespace that have certain labels.

    What it gives is shared: not to be changed.

    Parameters
    ----------
    client : KubeClient
    namespace : str
    labels : str
        A selector.
    log : logging.Logger, optional
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        labels: str,
        *,
        log: logging.Logger | None = None,
    ) -> None:
        self.namespace = namespace
        self.labels = labels
        self.pods = Pods()
        self.happenings = Happenings()
        log = log or logging.getLogger(__name__)
        self._pods = _PodFollower(self, client, log)
        self._events = _EventFollower(self, client, log)
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._uids: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self.on_departure: Callable[[Object, tuple[Object, ...]], None] = lambda _pod, _events: None
        """Told of a pod that is gone: its last state, and what had happened to it."""

    def start(self) -> None:
        """Begin to follow; needs a running event loop."""
        if not self._tasks:
            self._tasks = tuple(
                asyncio.create_task(each.run(), name=f"follow {each.__class__.__name__}")
                for each in (self._pods, self._events)
            )

    async def stop(self) -> None:
        """End it."""
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def synced(self) -> bool:
        """Whether there has been a list."""
        return self._pods.listed.is_set()

    async def listed(self) -> None:
        """Wait for the first list."""
        await self._pods.listed.wait()

    @property
    def age(self) -> float:
        """Seconds since the server last said that what is known is so."""
        return float("inf") if self._pods.answered is None else _clock() - self._pods.answered

    @property
    def seen(self) -> datetime | None:
        """When that was."""
        return self._pods.seen

    @property
    def fresh(self) -> bool:
        """Whether what is known counts as the present."""
        return self.synced and self.age < _FRESH

    def get(self, name: str) -> Object | None:
        """Give a pod."""
        return self.pods.get(name)

    def all(self) -> tuple[Object, ...]:
        """Give every pod."""
        return self.pods.all()

    def events_of(self, uid: str) -> tuple[Object, ...]:
        """Give what happened to a pod lately, the last heard of last."""
        return self.happenings.of(uid)

    async def changed(self, name: str, timeout: float) -> bool:  # noqa: ASYNC109 - no is an answer
        """Wait until a pod, or what is known of its events, is different.

        Parameters
        ----------
        name : str
            The pod's.
        timeout : float
            Seconds.

        Returns
        -------
        bool
            False where nothing changed in that time.
        """
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(name, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            return False
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(name) is waiting:
                del self._waiting[name]
        return True

    def pods_changed(self, names: set[str]) -> None:
        """Take note of pods that are different now."""
        for name in names:
            pod, old = self.get(name), self._uids.pop(name, "")
            uid = pod["metadata"]["uid"] if pod else ""
            gone = self.pods.departed(name)
            if gone is not None and pod is None:
                self.on_departure(gone, self.events_of(old))
            if old and old != uid:
                self._names.pop(old, None)
                self.happenings.forget(old)
            if uid:
                self._uids[name], self._names[uid] = uid, name
                self.happenings.follow(uid)
            self._wake(name)

    def overlooked(self) -> set[str]:
        """Give the names of pods that no note was taken of, because something went wrong then."""
        uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.all()}
        return {name for name, _ in uids.items() ^ self._uids.items()}

    def happened(self, uid: str) -> None:
        """Take note of an event of a pod."""
        self._wake(self._names.get(uid, ""))

    def _wake(self, name: str) -> None:
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(None)
