"""Runs migrations on the connection that the store has opened; alembic loads this file."""

from __future__ import annotations

from alembic import context

from canfar_spawner.manager.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
