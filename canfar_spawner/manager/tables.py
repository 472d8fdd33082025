"""The tables of the session manager's database."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import DateTime, Index, String, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from typing_extensions import override

from canfar_spawner.core.times import utc


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store the time of UTC."""
        return None if value is None else value.astimezone(UTC)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give a time with its zone."""
        return None if value is None else utc(value)


class Table(DeclarativeBase):
    """What every table is made from."""


class Meta(Table):
    """What is true of the database as a whole."""

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(255))


class SessionRow(Table):
    """A session from its request to the end of its history."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    launch: Mapped[str] = mapped_column(String(21), unique=True)
    owner: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    asked: Mapped[datetime] = mapped_column(Moment)
    ended: Mapped[datetime | None] = mapped_column(Moment)
    record: Mapped[str] = mapped_column(Text)
    """The whole `SessionRecord` as JSON; the other columns are for finding it."""
    __table_args__ = (
        Index("sessions_of_owner", "owner", "ended"),
        Index("sessions_by_end", "ended"),
        Index("sessions_by_start", "owner", "asked"),
    )


class EventRow(Table):
    """One thing that happened to a session; told twice, it is there once."""

    __tablename__ = "events"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    launch: Mapped[str] = mapped_column(String(21))
    session: Mapped[str] = mapped_column(String(8))
    owner: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Moment)
    what: Mapped[str] = mapped_column(String(16))
    phase: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(64))
    __table_args__ = (
        UniqueConstraint("launch", "what", "phase", "at", name="events_once"),
        Index("events_of_session", "session", "at"),
        Index("events_by_time", "at"),
    )


class ShareRow(Table):
    """One way by which others may enter a session."""

    __tablename__ = "shares"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    session: Mapped[str] = mapped_column(String(8))
    code: Mapped[str] = mapped_column(String(64))
    """The digest of a link's code, empty for others."""
    until: Mapped[datetime] = mapped_column(Moment)
    over: Mapped[datetime | None] = mapped_column(Moment)
    share: Mapped[str] = mapped_column(Text)
    """The whole share as JSON."""
    __table_args__ = (
        Index("shares_of_session", "session", "over"),
        Index("shares_by_code", "code"),
        Index("shares_by_end", "over"),
    )


class AuditRow(Table):
    """One line of what happened to a session's sharing."""

    __tablename__ = "audit"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    session: Mapped[str] = mapped_column(String(8))
    at: Mapped[datetime] = mapped_column(Moment)
    line: Mapped[str] = mapped_column(Text)
    __table_args__ = (Index("audit_of_session", "session"), Index("audit_by_time", "at"))


class RefusalRow(Table):
    """A create that came to nothing."""

    __tablename__ = "refusals"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(Moment, index=True)
    refusal: Mapped[str] = mapped_column(Text)


class NewsRow(Table):
    """What the hub is told, for a day."""

    __tablename__ = "news"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Moment, index=True)
    item: Mapped[str] = mapped_column(Text)


class IdentityRow(Table):
    """Who a user is, as the hub has said last."""

    __tablename__ = "identities"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    known: Mapped[str] = mapped_column(Text)
