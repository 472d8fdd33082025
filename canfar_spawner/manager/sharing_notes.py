"""What is to be written of sharing; a database that is away is tried again until it takes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.names import SessionId
from canfar_spawner.manager.shares import Book, Deed, Line, Share


class Notes:
    """Writes shares and what happened to them, never an older state over a newer one.

    Parameters
    ----------
    book : Book
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(self, book: Book, clock: Callable[[], datetime], log: logging.Logger) -> None:
        self._book = book
        self._clock = clock
        self._log = log
        self._unwritten: dict[str, Share] = {}
        self._unnoted: list[Line] = []
        self._writing = asyncio.Lock()

    async def keep(self, share: Share) -> None:
        """Write a share now.

        Raises
        ------
        SessionError
            The database did not take it; nothing has changed.
        """
        async with self._writing:
            await self._book.keep(share)
            # What still waited to be written of it is older.
            self._unwritten.pop(share.id, None)

    def keep_later(self, shares: Iterable[Share]) -> None:
        """Have shares written with the next `catch_up`."""
        self._unwritten.update({share.id: share for share in shares})

    def note(
        self,
        session: SessionId,
        owner: str,
        deed: Deed,
        *,
        by: str,
        whom: str = "",
        share: Share | None = None,
    ) -> None:
        """Have written with the next `catch_up` what happened."""
        self._log.info("%s/%s: %s by %s %s", owner, session, deed, by, whom)
        self._unnoted.append(
            Line(
                at=self._clock(),
                session=session,
                owner=owner,
                by=by,
                deed=deed,
                whom=whom,
                how=share.how if share else None,
                until=share.until if share and share.over is None else None,
                storage=share is not None and share.storage,
            )
        )

    async def lines(self, session: SessionId) -> tuple[Line, ...]:
        """Give what happened to a session's sharing, the oldest first."""
        written = await self._book.lines(session)
        return (*written, *(line for line in self._unnoted if line.session == session))

    async def catch_up(self) -> None:
        """Write what is not written yet."""
        async with self._writing:
            try:
                for share in list(self._unwritten.values()):
                    await self._book.keep(share)
                    if self._unwritten.get(share.id) is share:
                        del self._unwritten[share.id]
                lines = tuple(self._unnoted)
                if lines:
                    await self._book.note(lines)
                    del self._unnoted[: len(lines)]
            except SessionError as error:
                self._log.warning("Shares are written down later: %s", error.detail or error)
