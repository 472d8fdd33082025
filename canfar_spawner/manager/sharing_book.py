"""Shares and what happened to them, in the manager's database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import select

from canfar_spawner.core.names import SessionId
from canfar_spawner.manager.shares import Line, Share
from canfar_spawner.manager.tables import AuditRow, ShareRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as Connection

    from canfar_spawner.manager.store import Store


class SharingBook:
    """See `canfar_spawner.manager.shares.Book`.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self, sessions: Iterable[SessionId]) -> tuple[Share, ...]:
        """Give the shares of these sessions that are not over."""
        wanted = frozenset(sessions)

        def work(db: Connection) -> tuple[Share, ...]:
            rows = db.scalars(select(ShareRow).where(ShareRow.over.is_(None)))
            return tuple(
                Share.model_validate_json(row.share) for row in rows if row.session in wanted
            )

        return await self._store.run(work)

    async def keep(self, share: Share) -> None:
        """Write a share as it is now."""

        def work(db: Connection) -> None:
            db.merge(
                ShareRow(
                    id=share.id,
                    session=share.session,
                    code=share.code,
                    until=share.until,
                    over=share.over,
                    share=share.model_dump_json(),
                )
            )

        await self._store.run(work)

    async def note(self, lines: Iterable[Line]) -> None:
        """Write down what happened."""
        rows = [
            AuditRow(session=line.session, at=line.at, line=line.model_dump_json())
            for line in lines
        ]
        await self._store.run(lambda db: db.add_all(rows))

    async def lines(self, session: SessionId) -> tuple[Line, ...]:
        """Give what happened to a session's sharing, the oldest first."""

        def work(db: Connection) -> tuple[Line, ...]:
            rows = db.scalars(
                select(AuditRow).where(AuditRow.session == session).order_by(AuditRow.number)
            )
            return tuple(Line.model_validate_json(row.line) for row in rows)

        return await self._store.run(work)

    async def past(self, session: SessionId) -> tuple[Share, ...]:
        """Give all shares that a session ever had, in the order in which they were made."""

        def work(db: Connection) -> tuple[Share, ...]:
            rows = db.scalars(select(ShareRow).where(ShareRow.session == session))
            found = [Share.model_validate_json(row.share) for row in rows]
            return tuple(sorted(found, key=lambda share: share.made))

        return await self._store.run(work)
