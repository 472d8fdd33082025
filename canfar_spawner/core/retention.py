"""For how long it is kept what sessions there were, and what is then forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from canfar_spawner.core.frozen import Frozen

KeptFor = Annotated[timedelta, Field(ge=timedelta(days=2), le=timedelta(days=3660))]
"""Pages and scripts show what has ended for a day; what they show is not taken from under them."""


class Retention(Frozen):
    """How long a site remembers."""

    sessions: KeptFor = timedelta(days=365)
    """After its end: what was asked for, where it ran, how it ended, what it used."""
    events: KeptFor = timedelta(days=90)
    """What happened to a session on its way."""
    audit: KeptFor = timedelta(days=365)
    """With whom sessions were shared, and who was in them; not longer than the sessions."""
    logs: KeptFor = timedelta(days=30)
    """What batch jobs wrote; not longer than the sessions."""


class Cutoffs(Frozen):
    """What is older than these is forgotten."""

    sessions: datetime
    events: datetime
    audit: datetime
    logs: datetime


def cutoffs(retention: Retention, now: datetime) -> Cutoffs:
    """Say from when what is kept dates at the earliest."""
    oldest = now - retention.sessions
    return Cutoffs(
        sessions=oldest,
        events=max(oldest, now - retention.events),
        audit=max(oldest, now - retention.audit),
        logs=max(oldest, now - retention.logs),
    )
