"""What the hub's pages are told: extended ends, warnings, endings, refusals; kept for a day."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from canfar_spawner.core.errors import shown
from canfar_spawner.core.status import REASONS
from canfar_spawner.manager.kept import keep_news, kept_news
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.store import Store

KEPT_FOR: Final = timedelta(hours=24)
MOST_AT_ONCE: Final = 100
"""Pieces of news in one answer: an ending carries its whole plan."""
_MOST: Final = 20_000
"""Pieces that are kept; of a day with more the oldest go early."""
_LONGEST: Final = 300


class News:
    """A day's news, numbered in the order in which they came.

    Parameters
    ----------
    registry : Registry
        Whose ends are news.
    store : Store
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        registry: Registry,
        store: Store,
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._store = store
        self._clock = clock
        self._log = log
        self._items: deque[tuple[int, datetime, Mapping[str, Any]]] = deque()
        self._last = 0

    async def load(self) -> None:
        """Take up what an earlier manager had to tell."""
        kept = [
            (number, at, json.loads(text)) for number, at, text in await self._store.run(kept_news)
        ]
        # Where the database comes late, there are news already: they come after those.
        last = kept[-1][0] if kept else 0
        early = [(last + number, at, item) for number, at, item in self._items]
        self._items = deque([*kept, *early])
        self._last += last

    def since(self, cursor: int) -> tuple[list[Mapping[str, Any]], int, bool]:
        """Give what came after a number, the number to ask from next, and whether there is more.

        A hub that begins, at 0, is also told of every end that has moved and of every name that
        was changed, however long ago.
        """
        self._drop_old()
        # One that is ahead knows a database of which this is an older copy.
        cursor = min(cursor, self._last)
        found: list[Mapping[str, Any]] = []
        if cursor <= 0:
            live = self._registry.live()
            found += [self._extended(each) for each in live if each.ends != each.plan.ends]
            found += [self._renamed(each) for each in live if each.name != each.plan.name]
        last = max(cursor, 0)
        count = 0
        for number, _, item in self._items:
            if number <= cursor:
                continue
            if count == MOST_AT_ONCE:
                return found, last, True
            found.append(item)
            last = number
            count += 1
        return found, self._last, False

    @staticmethod
    def _extended(record: SessionRecord) -> dict[str, Any]:
        return {
            "kind": "extended",
            "session": record.id,
            "launch": record.launch,
            "ends": record.ends.isoformat(),
        }

    @staticmethod
    def _renamed(record: SessionRecord) -> dict[str, Any]:
        return {
            "kind": "renamed",
            "session": record.id,
            "launch": record.launch,
            "name": record.name,
        }

    async def renamed(self, record: SessionRecord) -> None:
        """Tell what a session is called now."""
        await self._tell(self._renamed(record))

    async def extended(self, record: SessionRecord) -> None:
        """Tell that a session lasts longer."""
        await self._tell(self._extended(record))

    async def warned(self, record: SessionRecord, sentence: str) -> None:
        """Tell that an end is near."""
        await self._tell(
            {
                "kind": "warned",
                "session": record.id,
                "launch": record.launch,
                "owner": record.owner,
                "sentence": sentence,
                "before": record.warned,
            }
        )

    async def refused(self, owner: str, *, name: str, sentence: str) -> None:
        """Tell what a script asked for in vain: its client does not show why."""
        await self._tell(
            {
                "kind": "refused",
                "owner": owner,
                "name": shown(name),
                "sentence": sentence[:_LONGEST],
                "at": self._clock().isoformat(),
            }
        )

    async def ended(self, record: SessionRecord) -> None:
        """Tell of an end, also of one that the owner has asked for: she may launch it again."""
        reason = record.reason
        if not record.interactive:
            return
        await self._tell(
            {
                "kind": "ended",
                "session": record.id,
                "launch": record.launch,
                "reason": reason.value,
                "sentence": REASONS[reason].sentence,
                "detail": record.detail[:_LONGEST],
                "at": (record.ended or self._clock()).isoformat(),
                "by": record.ending_by,
                # The hub has forgotten the session by then.
                "plan": record.plan.model_copy(update={"name": record.name}).model_dump(
                    mode="json"
                ),
            }
        )

    async def _tell(self, item: Mapping[str, Any]) -> None:
        self._last += 1
        number, at = self._last, self._clock()
        self._items.append((number, at, item))
        self._drop_old()
        text = json.dumps(item)
        try:
            await self._store.run(lambda db: keep_news(db, number, at, text, at - KEPT_FOR))
        except Exception as error:  # noqa: BLE001 - pages are told now, if not after a restart
            self._log.warning("News could not be kept: %s", error)

    def _drop_old(self) -> None:
        oldest = self._clock() - KEPT_FOR
        while self._items and (self._items[0][1] < oldest or len(self._items) > _MOST):
            self._items.popleft()
