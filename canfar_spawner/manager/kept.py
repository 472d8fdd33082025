"""What the manager's parts keep in the database beside the sessions themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Connection

from canfar_spawner.manager.refusals import Refusal
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.tables import IdentityRow, NewsRow, RefusalRow


def kept_identities(db: Connection) -> list[str]:
    """Give what is kept of users."""
    return list(db.scalars(select(IdentityRow.known)))


def keep_identities(db: Connection, kept: Mapping[str, str]) -> None:
    """Keep what is known of users, by name."""
    for name, text in kept.items():
        db.merge(IdentityRow(name=name, known=text))


def forget_identities(db: Connection, names: Iterable[str]) -> None:
    """Forget users."""
    db.execute(delete(IdentityRow).where(IdentityRow.name.in_(list(names))))


def kept_news(db: Connection) -> list[tuple[int, datetime, str]]:
    """Give the news that are kept, the oldest first."""
    rows = db.scalars(select(NewsRow).order_by(NewsRow.number))
    return [(row.number, row.at, row.item) for row in rows]


def keep_news(db: Connection, number: int, at: datetime, text: str, oldest: datetime) -> None:
    """Keep one piece of news and drop those that are older."""
    db.merge(NewsRow(number=number, at=at, item=text))
    db.execute(delete(NewsRow).where(NewsRow.at < oldest))


class RefusalBook:
    """See `canfar_spawner.manager.refusals.Book`.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self, since: datetime) -> tuple[Refusal, ...]:
        """Give the refusals since a moment, the oldest first."""
        chosen = select(RefusalRow.refusal).where(RefusalRow.at >= since)
        found = await self._store.run(
            lambda db: list(db.scalars(chosen.order_by(RefusalRow.number)))
        )
        return tuple(Refusal.model_validate_json(text) for text in found)

    async def keep(self, refusal: Refusal, *, oldest: datetime) -> None:
        """Keep a refusal and drop those that are older."""

        def write(db: Connection) -> None:
            db.add(RefusalRow(at=refusal.at, refusal=refusal.model_dump_json()))
            db.execute(delete(RefusalRow).where(RefusalRow.at < oldest))

        await self._store.run(write)
