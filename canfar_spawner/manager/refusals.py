"""Creates that were refused, kept for a day: the public client does not show why."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from canfar_spawner.core.errors import SessionError, shown
from canfar_spawner.core.frozen import Frozen

KEPT_FOR: Final = timedelta(hours=24)
_MOST: Final = 20_000
_MOST_EACH: Final = 100
"""Of one owner: a script that asks in vain all day crowds nobody else out."""


class Refusal(Frozen):
    """One create that came to nothing."""

    owner: str
    at: datetime
    name: str
    what: str
    """The container or the image."""
    sentence: str
    code: str
    field: str = ""


class Book(Protocol):
    """Where refusals outlast the process."""

    async def load(self, since: datetime) -> tuple[Refusal, ...]:
        """Give those that are kept, the oldest first."""
        ...

    async def keep(self, refusal: Refusal, *, oldest: datetime) -> None:
        """Keep one, and drop those that are older."""
        ...


class Herald(Protocol):
    """Passes on what the hub's pages are to show."""

    async def refused(self, owner: str, *, name: str, sentence: str) -> None:
        """Tell what a script asked for in vain."""
        ...


class Refusals:
    """A day's refusals.

    Parameters
    ----------
    book : Book
    news : Herald
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self, *, book: Book, news: Herald, clock: Callable[[], datetime], log: logging.Logger
    ) -> None:
        self._book = book
        self._news = news
        self._clock = clock
        self._log = log
        self._kept: deque[Refusal] = deque(maxlen=_MOST)

    async def load(self) -> None:
        """Take up what an earlier manager has kept."""
        self._kept.extend(await self._book.load(self._clock() - KEPT_FOR))

    async def add(self, owner: str, *, name: str, what: str, error: SessionError) -> None:
        """Keep why a create was refused; where that fails, it is told all the same."""
        refusal = Refusal(
            owner=owner,
            at=self._clock(),
            name=shown(name),
            what=shown(what, limit=200),
            sentence=error.sentence,
            code=error.code,
            field=error.field,
        )
        self._kept.append(refusal)
        await self._news.refused(owner, name=refusal.name, sentence=refusal.sentence)
        try:
            await self._book.keep(refusal, oldest=self._clock() - KEPT_FOR)
        except SessionError as failure:
            self._log.warning("A refusal could not be kept: %s", failure.detail)

    def of(self, owner: str) -> tuple[Refusal, ...]:
        """Give those of one owner, the newest first."""
        oldest = self._clock() - KEPT_FOR
        while self._kept and self._kept[0].at < oldest:
            self._kept.popleft()
        mine = [refusal for refusal in self._kept if refusal.owner == owner]
        return tuple(reversed(mine[-_MOST_EACH:]))
