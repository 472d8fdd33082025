"""Which session shows a file: what fits it, and who of those that run can see it."""

from __future__ import annotations

from typing import Final

from canfar_spawner.core.errors import Invalid
from canfar_spawner.core.gateway import start_url
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.storage import StoragePlan, check_open

TABLES: Final = (".csv", ".tsv", ".tbl", ".vot", ".vot.gz", ".votable", ".xml", ".parquet")
"""How the names of files end that hold tables and no image."""


def viewers(path: str) -> tuple[SessionKind, ...]:
    """Give the kinds that show a file, the most fitting first."""
    if path.lower().endswith(TABLES):
        return (SessionKind.FIREFLY,)
    return (SessionKind.CARTA, SessionKind.FIREFLY)


def sees(storage: StoragePlan, path: str) -> bool:
    """Say whether a session with this storage finds a file."""
    try:
        check_open(path, storage)
    except Invalid:
        return False
    return True


def page_with(plan: SessionPlan, path: str) -> str:
    """Give the page of a running session that shows a file, below the session's address."""
    return start_url(plan.model_copy(update={"open": path}))
