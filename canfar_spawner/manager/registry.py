"""Every session that lives or ended lately, in memory, and written to the database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session as Connection

from canfar_spawner.core.backend import Use
from canfar_spawner.core.errors import LimitReached, SessionError
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.tables import SessionRow

KEPT_FOR: Final = timedelta(hours=24)
"""How long an ended session stays in memory."""
_BATCH: Final = tuple(str(kind) for kind, spec in KINDS.items() if not spec.interactive)

Called = Callable[[SessionRecord, str], None]


def _write(db: Connection, record: SessionRecord) -> None:
    row = db.get(SessionRow, record.id)
    if row is None:
        row = SessionRow(
            id=record.id,
            launch=record.launch,
            owner=record.owner,
            kind=record.kind.value,
            asked=record.asked,
        )
        db.add(row)
    row.ended = record.ended
    row.record = record.model_dump_json()


def _writable(text: str) -> str:
    """Give a text that every database takes: what programs report may hold anything."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _joined(kept: SessionRecord, known: SessionRecord) -> SessionRecord:
    """Give what is kept of a session together with what was heard before that could be read."""
    news: dict[str, Any] = {
        name: value
        for name, value in known
        if name not in ("plan", "name", "asked", "ends") and value != _UNSAID[name]
    }
    return kept.model_copy(update={**news, "ends": max(kept.ends, known.ends)})


_UNSAID: Final = {name: field.default for name, field in SessionRecord.model_fields.items()}


class Registry:
    """What the manager knows of sessions.

    Reading never touches the database. Where that fails, changes are kept in memory and written
    as soon as it works again.

    Parameters
    ----------
    store : Store
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(self, store: Store, *, clock: Callable[[], datetime], log: logging.Logger) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._records: dict[str, SessionRecord] = {}
        self._launches: dict[LaunchId, str] = {}
        self._owners: dict[str, dict[str, None]] = {}
        """The sessions of each owner, in the order in which they became known."""
        self._dirty: dict[str, None] = {}
        """What has changed and is not written yet, the oldest change first."""
        self._written_to: tuple[str, int | None] | None = None
        """Which database has everything but what is dirty."""
        self._writing = asyncio.Lock()
        self._tried = 0
        self._failed = 0
        """Which attempts at writing there were, and the last that failed."""
        self._called: list[Called] = []
        self.evidence: dict[LaunchId, Evidence] = {}
        """What the back end has said last of each launch."""
        self.uses: dict[LaunchId, Use] = {}
        """What each launch used when that was measured last."""

    # Reading.

    def live(self) -> tuple[SessionRecord, ...]:
        """Give every session that has not ended."""
        return tuple(record for record in self._records.values() if record.ended is None)

    def of(self, owner: str, *, ended: bool = False) -> tuple[SessionRecord, ...]:
        """Give an owner's sessions, the newest first.

        Parameters
        ----------
        owner : str
        ended : bool
            Also those that ended within a day.
        """
        found = [self._records[session] for session in self._owners.get(owner, ())]
        chosen = found if ended else [record for record in found if record.ended is None]
        return tuple(sorted(chosen, key=attrgetter("asked"), reverse=True))

    def get(self, session: str) -> SessionRecord | None:
        """Give a session that lives or ended within a day."""
        return self._records.get(session)

    def by_launch(self, launch: LaunchId) -> SessionRecord | None:
        """Give the session of a launch."""
        session = self._launches.get(launch)
        return None if session is None else self._records.get(session)

    def evidence_of(self, record: SessionRecord) -> Evidence:
        """Give what the back end has said last of a session."""
        found = self.evidence.get(record.launch)
        if found is not None:
            return found
        if not record.live:
            life, reason = Life.ENDED, record.reason
            return Evidence(
                life=life, reason=reason, exit_code=record.exit_code, detail=record.detail
            )
        return Evidence(life=Life.UNKNOWN if record.begun else Life.STARTING)

    # Changing.

    def subscribe(self, called: Called) -> None:
        """Have something called at each change: ``added``, ``changed`` or ``ended``."""
        self._called.append(called)

    def _tell(self, record: SessionRecord, what: str) -> None:
        for called in self._called:
            try:
                called(record, what)
            except Exception:  # noqa: BLE001 - one listener must not harm the record
                self._log.exception("What is told of %s came to grief", record.launch)

    def _put(self, record: SessionRecord) -> None:
        self._records[record.id] = record
        self._launches[record.launch] = record.id
        self._owners.setdefault(record.owner, {})[record.id] = None

    def _forget(self, session: str) -> None:
        record = self._records.pop(session)
        self._launches.pop(record.launch, None)
        self.evidence.pop(record.launch, None)
        self.uses.pop(record.launch, None)
        mine = self._owners[record.owner]
        del mine[session]
        if not mine:
            del self._owners[record.owner]

    async def load(self) -> None:
        """Take up what an earlier manager knew; raises Unavailable."""
        oldest = self._clock() - KEPT_FOR
        chosen = select(SessionRow.record).where(
            or_(SessionRow.ended.is_(None), SessionRow.ended > oldest)
        )
        for text in await self._store.run(
            lambda db: list(db.scalars(chosen.order_by(SessionRow.asked)))
        ):
            try:
                kept = SessionRecord.model_validate_json(text)
            except ValueError as error:
                self._log.error("A session that was kept cannot be read: %s", str(error)[:300])
                continue
            known = self._records.get(kept.id)
            self._put(kept if known is None else _joined(kept, known))
        self._written_to = self._store.which

    def _known(self, record: SessionRecord) -> bool:
        return record.id in self._records or record.launch in self._launches

    async def _past(self, record: SessionRecord) -> bool:
        """Say whether it has ended so long ago that only the database knows it."""
        same = or_(SessionRow.id == record.id, SessionRow.launch == record.launch)
        chosen = select(SessionRow.id).where(same, SessionRow.ended.is_not(None))
        try:
            return await self._store.run(lambda db: db.scalar(chosen)) is not None
        except SessionError:
            # A session that runs is listed, whatever is wrong with the database.
            return False

    async def add(self, record: SessionRecord) -> bool:
        """Take up a session; says no where it is known already."""
        if self._known(record) or await self._past(record) or self._known(record):
            return False
        self._put(record)
        self._dirty[record.id] = None
        self._tell(record, "added")
        await self.flush()
        return True

    async def add_job(self, record: SessionRecord, *, most: int) -> None:
        """Take up a batch job, unless its owner has as many as she may.

        Parameters
        ----------
        record : SessionRecord
        most : int
            How many of an owner's jobs may wait or run at the same time.

        Raises
        ------
        LimitReached
        Unavailable
            It could not be written down, so it must not be started either.
        """
        await self.flush()
        owner = record.owner

        def write(db: Connection) -> int:
            counted = select(func.count()).select_from(SessionRow)
            mine = SessionRow.owner == owner, SessionRow.ended.is_(None)
            live = db.scalar(counted.where(*mine, SessionRow.kind.in_(_BATCH))) or 0
            # A database that was lost just now knows less than is remembered.
            live = max(live, remembered)
            if live < most:
                _write(db, record)
            return live

        async with self._writing:
            # Others may have changed something since; what is not written yet counts as live.
            remembered = sum(not each.interactive for each in self.of(owner))
            live = await self._store.run(write)
            if live >= most:
                raise LimitReached(
                    f"You have {live} of {most} batch jobs waiting or running. Wait until some"
                    " are done, or cancel some.",
                    allowed=(most,),
                )
            self._put(record)
        self._tell(record, "added")
        if self._store.which != self._written_to:
            await self.flush()

    async def change(self, session: str, **news: Any) -> SessionRecord:
        """Write down what has changed of a session; raises KeyError where it is not known."""
        before = self._records[session]
        after = before.model_copy(
            update={
                # A word of ours is a text too, and stays what it is.
                name: _writable(value) if type(value) is str else value
                for name, value in news.items()
            }
        )
        if after != before:
            self._records[session] = after
            self._dirty[session] = None
            self._tell(after, "changed")
            await self.flush()
        return after

    async def end(
        self,
        session: str,
        *,
        reason: Reason,
        at: datetime,
        detail: str = "",
        exit_code: int | None = None,
    ) -> SessionRecord | None:
        """Write down that a session has ended; None where that is known already.

        What it was told counts before what the back end has seen of it.
        """
        before = self._records.get(session)
        if before is None or before.ended is not None:
            return None
        after = before.model_copy(
            update={
                "ended": at,
                "reason": before.ending or reason,
                "detail": _writable(detail) or before.detail,
                "exit_code": before.exit_code if exit_code is None else exit_code,
            }
        )
        self._records[session] = after
        self._dirty[session] = None
        self._tell(after, "ended")
        await self.flush()
        return after

    async def drop(self, session: str) -> None:
        """Take a session back that never came to be."""
        if session not in self._records:
            return
        self._forget(session)
        self._dirty.pop(session, None)

        def delete(db: Connection) -> None:
            row = db.get(SessionRow, session)
            if row is not None:
                db.delete(row)

        try:
            await self._store.run(delete)
        except SessionError as error:
            self._log.warning("%s stays in the database: %s", session, error.detail)

    async def flush(self) -> bool:
        """Write what is not written yet; says whether nothing is left."""
        tried = self._tried
        async with self._writing:
            if self._failed > tried:
                # One that began after this was asked for has failed: nobody waits twice.
                return False
            self._tried += 1
            if not await self._write_dirty():
                self._failed = self._tried
                return False
            if self._written_to not in (None, self._store.which):
                # It was lost and made anew, or another was put in its place.
                self._log.warning("Everything that is known of sessions is written again")
                self._dirty |= dict.fromkeys(self._records)
                self._written_to = self._store.which
                await self._write_dirty()
        return not self._dirty

    async def _write_dirty(self) -> bool:
        records = [self._records[session] for session in self._dirty if session in self._records]
        if not records:
            self._dirty.clear()
            return True

        def write(db: Connection) -> None:
            for record in records:
                _write(db, record)

        try:
            await self._store.run(write)
        except SessionError:
            return False
        for record in records:
            # One that has changed meanwhile is written again.
            if self._records.get(record.id) in (record, None):
                self._dirty.pop(record.id, None)
        return True

    async def tidy(self) -> None:
        """Write what waits, and let go of what ended more than a day ago."""
        # Where nothing is to be written, nobody else would notice that the database is lost.
        with contextlib.suppress(SessionError):
            await self._store.open()
        await self.flush()
        oldest = self._clock() - KEPT_FOR
        for record in list(self._records.values()):
            if record.ended and record.ended < oldest and record.id not in self._dirty:
                self._forget(record.id)
