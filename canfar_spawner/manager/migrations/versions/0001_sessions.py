"""Sessions, their events and shares, refusals, news and identities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "meta",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(255), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(8), primary_key=True),
        sa.Column("launch", sa.String(21), nullable=False, unique=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("asked", _MOMENT, nullable=False),
        sa.Column("ended", _MOMENT),
        sa.Column("record", sa.Text, nullable=False),
    )
    op.create_index("sessions_of_owner", "sessions", ["owner", "ended"])
    op.create_index("sessions_by_end", "sessions", ["ended"])
    op.create_index("sessions_by_start", "sessions", ["owner", "asked"])
    op.create_table(
        "events",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("launch", sa.String(21), nullable=False),
        sa.Column("session", sa.String(8), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.UniqueConstraint("launch", "what", "phase", "at", name="events_once"),
    )
    op.create_index("events_of_session", "events", ["session", "at"])
    op.create_index("events_by_time", "events", ["at"])
    op.create_table(
        "shares",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("session", sa.String(8), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.Column("over", _MOMENT),
        sa.Column("share", sa.Text, nullable=False),
    )
    op.create_index("shares_of_session", "shares", ["session", "over"])
    op.create_index("shares_by_code", "shares", ["code"])
    op.create_index("shares_by_end", "shares", ["over"])
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("session", sa.String(8), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    op.create_index("audit_of_session", "audit", ["session"])
    op.create_index("audit_by_time", "audit", ["at"])
    op.create_table(
        "refusals",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("refusal", sa.Text, nullable=False),
    )
    op.create_index("ix_refusals_at", "refusals", ["at"])
    op.create_table(
        "news",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
    )
    op.create_index("ix_news_at", "news", ["at"])
    op.create_table(
        "identities",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("known", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in (
        *("identities", "news", "refusals", "audit", "shares", "events", "sessions", "meta"),
    ):
        op.drop_table(table)
