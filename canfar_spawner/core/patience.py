"""How long a start is waited for that may never succeed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from canfar_spawner.core.pods import PodsPolicy
from canfar_spawner.core.status import Evidence, Life, Reason

_FOR_GOOD: Final = frozenset({Reason.IMAGE_NOT_FOUND, Reason.IMAGE_REFUSED})
"""No waiting mends these."""
_FOR_NOW: Final = frozenset({Reason.IMAGE_FAILED, Reason.PROGRAM_MISSING, Reason.STORAGE_FAILED})
"""What may pass by itself: waited for before a start is given up."""


def given_up(
    evidence: Evidence, *, interactive: bool, pods: PodsPolicy, now: datetime
) -> Reason | None:
    """Say why a start is given up before its time, if it is.

    Parameters
    ----------
    evidence : Evidence
    interactive : bool
        Somebody sits and waits for it. A batch job waits for room as long as it takes.
    pods : PodsPolicy
    now : datetime
        In UTC.
    """
    if evidence.life is not Life.STARTING:
        return None
    if evidence.reason in _FOR_GOOD:
        return evidence.reason
    waited = now - evidence.at if evidence.at else timedelta(0)
    if evidence.reason in _FOR_NOW and waited > timedelta(seconds=pods.image_seconds):
        return evidence.reason
    if (
        interactive
        and evidence.reason is Reason.WAITING_FOR_RESOURCES
        and waited > timedelta(seconds=pods.unschedulable_seconds)
    ):
        return Reason.UNSCHEDULABLE
    return None
