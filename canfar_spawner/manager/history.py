"""What sessions there were: asked of the database, and forgotten when its time is over."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.orm import Session as Connection

from canfar_spawner.core.errors import Invalid, SessionError
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.names import LaunchId, SessionId, session_id
from canfar_spawner.core.retention import Cutoffs, Retention, cutoffs
from canfar_spawner.core.status import Reason
from canfar_spawner.core.times import utc
from canfar_spawner.manager.milestones import Milestone, Step, milestones, steps_of
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.shares import Line, Share
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.tables import AuditRow, EventRow, SessionRow, ShareRow

MOST: Final = 200
"""Sessions on one page."""
_WAITING: Final = 20_000
"""Milestones that wait for the database; of more the oldest are lost."""
_AT_ONCE: Final = 500
"""Rows that are removed in one transaction, so that nobody waits long for the database."""


class Page(Frozen):
    """A part of a list of sessions, the newest first."""

    sessions: tuple[SessionRecord, ...]
    cursor: str = ""
    """Where the next page begins; empty on the last."""


class Story(Frozen):
    """Everything that is kept of one session."""

    record: SessionRecord
    milestones: tuple[Milestone, ...]
    shares: tuple[Share, ...]
    audit: tuple[Line, ...]


def plan_digest(record: SessionRecord) -> str:
    """Give twelve hexadecimal digits that are the same for the same plan alone."""
    return hashlib.sha256(record.plan.model_dump_json().encode()).hexdigest()[:12]


def _cursor(record: SessionRecord) -> str:
    return base64.urlsafe_b64encode(f"{record.asked.isoformat()} {record.id}".encode()).decode()


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        at, _, session = base64.urlsafe_b64decode(cursor.encode("ascii")).decode().partition(" ")
        return utc(datetime.fromisoformat(at)), session_id(session)
    except (ValueError, binascii.Error, Invalid):
        raise Invalid(
            "The cursor must be one that an earlier answer gave.", field="cursor"
        ) from None


class History:
    """The sessions of the past.

    Parameters
    ----------
    store : Store
    registry : Registry
        Whose changes are followed.
    policy : callable
        Says for how long what is kept.
    logs : Path
        Where the logs of ended jobs are.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        policy: Callable[[], Retention],
        logs: Path,
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._registry = registry
        self._policy = policy
        self._logs = logs
        self._clock = clock
        self._log = log
        self._before: dict[SessionId, SessionRecord] = {}
        self._waiting: deque[Milestone] = deque(maxlen=_WAITING)
        registry.subscribe(self._follow)

    # Writing down.

    def load(self) -> None:
        """Begin from what the registry has taken up of an earlier manager."""
        for record in self._registry.live():
            self._before.setdefault(record.id, record)

    def _follow(self, record: SessionRecord, what: str) -> None:
        before = None if what == "added" else self._before.get(record.id, record)
        self._waiting.extend(milestones(before, record, self._clock()))
        if record.live:
            self._before[record.id] = record
        else:
            self._before.pop(record.id, None)

    async def flush(self) -> bool:
        """Write what has happened; says whether all of it is written."""
        while self._waiting:
            part = list(islice(self._waiting, _AT_ONCE))

            def write(db: Connection, part: list[Milestone] = part) -> None:
                _note(db, part)

            try:
                await self._store.run(write)
            except SessionError:
                return False
            written = {id(each) for each in part}
            # Where very many wait, the oldest may have gone meanwhile.
            while self._waiting and id(self._waiting[0]) in written:
                self._waiting.popleft()
        return True

    # Looking.

    async def find(
        self,
        owner: str | None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kind: SessionKind | None = None,
        cursor: str = "",
        most: int = 50,
    ) -> Page:
        """Find sessions that lived at some time between two moments.

        Parameters
        ----------
        owner : str or None
            Whose; None for everybody's.
        since, until : datetime, optional
        kind : SessionKind, optional
        cursor : str
            From an earlier page.
        most : int
            So many at most.

        Raises
        ------
        Invalid
            The cursor is none.
        Unavailable
        """
        await self._registry.flush()
        most = max(1, min(most, MOST))
        chosen = select(SessionRow.record).order_by(SessionRow.asked.desc(), SessionRow.id.desc())
        if owner is not None:
            chosen = chosen.where(SessionRow.owner == owner)
        if kind is not None:
            chosen = chosen.where(SessionRow.kind == kind.value)
        if until is not None:
            chosen = chosen.where(SessionRow.asked <= until)
        if since is not None:
            chosen = chosen.where(or_(SessionRow.ended.is_(None), SessionRow.ended >= since))
        if cursor:
            asked, session = _place(cursor)
            chosen = chosen.where(
                or_(
                    SessionRow.asked < asked,
                    and_(SessionRow.asked == asked, SessionRow.id < session),
                )
            )
        texts = await self._store.run(lambda db: list(db.scalars(chosen.limit(most + 1))))
        found = [SessionRecord.model_validate_json(text) for text in texts[:most]]
        return Page(
            sessions=tuple(self._registry.get(each.id) or each for each in found),
            cursor=_cursor(found[-1]) if len(texts) > most else "",
        )

    async def of(self, session: str) -> Story | None:
        """Give everything that is kept of a session, however long ago it ended.

        Raises
        ------
        Unavailable
        """
        try:
            session_id(session)
        except Invalid:
            # Not every database can even be asked for whatever stands in an address.
            return None
        await self._registry.flush()
        await self.flush()

        def read(db: Connection) -> Story | None:
            row = db.get(SessionRow, session)
            if row is None:
                return None
            record = SessionRecord.model_validate_json(row.record)
            events = db.scalars(select(EventRow).where(EventRow.session == session))
            steps = [_milestone(event) for event in events]
            known = {each.step for each in steps}
            steps += [each for each in steps_of(record) if each.step not in known]
            shares = db.scalars(select(ShareRow.share).where(ShareRow.session == session))
            lines = select(AuditRow.line).where(AuditRow.session == session)
            return Story(
                record=record,
                milestones=tuple(sorted(steps, key=lambda each: each.at)),
                shares=tuple(
                    sorted(
                        (Share.model_validate_json(text) for text in shares),
                        key=lambda share: share.made,
                    )
                ),
                audit=tuple(
                    Line.model_validate_json(text)
                    for text in db.scalars(lines.order_by(AuditRow.number))
                ),
            )

        return await self._store.run(read)

    # Forgetting.

    async def sweep(self, now: datetime | None = None) -> int:
        """Forget what need not be kept any longer; says how many sessions.

        Raises
        ------
        Unavailable
        """
        oldest = cutoffs(self._policy(), now or self._clock())
        count = 0
        while ids := await self._store.run(lambda db: _forget_sessions(db, oldest)):
            count += len(ids)
        for column, number, before in (
            (EventRow.at, EventRow.number, oldest.events),
            (AuditRow.at, AuditRow.number, oldest.audit),
            (ShareRow.over, ShareRow.id, oldest.audit),
        ):
            work = partial(_forget, number=number, column=column, before=before)
            while await self._store.run(work):
                pass
        removed = await asyncio.to_thread(self._remove_logs, oldest.logs)
        if count or removed:
            self._log.info("%d sessions and %d logs are kept no longer", count, removed)
        return count

    def _remove_logs(self, oldest: datetime) -> int:
        """Remove what jobs wrote that ended before; half-written files of a killed manager too."""
        count = 0
        for path in self._logs.glob("*.*") if self._logs.is_dir() else ():
            try:
                if path.stat().st_mtime < oldest.timestamp():
                    path.unlink()
                    count += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                self._log.warning("The log %s cannot be removed: %s", path.name, error.strerror)
        return count


def _note(db: Connection, steps: Iterable[Milestone]) -> None:
    """Write down what is not there yet."""
    new = {(each.launch, each.step.value, each.at): each for each in steps}
    same = select(EventRow.launch, EventRow.what, EventRow.at).where(
        EventRow.launch.in_({launch for launch, _, _ in new})
    )
    known = {(launch, what, at) for launch, what, at in db.execute(same)}
    db.add_all(
        EventRow(
            launch=each.launch,
            session=each.session,
            owner=each.owner,
            at=each.at,
            what=each.step.value,
            phase="",
            reason=each.reason.value,
            detail=each.detail,
            by=each.by[:64],
        )
        for key, each in new.items()
        if key not in known
    )


def _milestone(row: EventRow) -> Milestone:
    return Milestone(
        launch=LaunchId(row.launch),
        session=SessionId(row.session),
        owner=row.owner,
        at=row.at,
        step=Step(row.what),
        reason=Reason(row.reason),
        detail=row.detail,
        by=row.by,
    )


def _forget_sessions(db: Connection, oldest: Cutoffs) -> list[str]:
    chosen = select(SessionRow.id).where(SessionRow.ended < oldest.sessions)
    ids = list(db.scalars(chosen.limit(_AT_ONCE)))
    for column in (EventRow.session, ShareRow.session, AuditRow.session, SessionRow.id):
        db.execute(delete(column.class_).where(column.in_(ids)))
    return ids


def _forget(
    db: Connection,
    number: InstrumentedAttribute[Any],
    column: InstrumentedAttribute[Any],
    before: datetime,
) -> Iterable[Any]:
    found = list(db.scalars(select(number).where(column < before).limit(_AT_ONCE)))
    db.execute(delete(number.class_).where(number.in_(found)))
    return found
