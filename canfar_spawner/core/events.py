"""What happened to a session, for the history."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Phase, Reason


class What(StrEnum):
    """The kinds of event."""

    ASKED = "asked"
    PHASE = "phase"
    READY = "ready"
    ENDED = "ended"


class SessionEvent(Frozen):
    """One line of the outbox; an event is the same event however often it is delivered."""

    launch: LaunchId
    owner: str
    session: SessionId
    at: datetime
    what: What
    phase: Phase | None = None
    reason: Reason = Reason.NONE
    by: str = "hub"
    """Who caused it: a user's name, or a part of the platform."""
    plan: SessionPlan | None = None
    """What was asked for; of `What.ASKED` alone, and of the form of today alone."""
    url: str = ""
    """Where the session is opened, absolute; of `What.ASKED` alone."""
    detail: str = ""
    """What the back end said beyond the reason; of `What.ENDED` alone, as are the last two."""
    exit_code: int | None = None
    node: str = ""
