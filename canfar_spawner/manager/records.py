"""What the session manager knows of one session."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Reason


class SessionRecord(Frozen):
    """A session from when it was asked for to the end of its history; no secret is in it."""

    plan: SessionPlan
    name: str
    """As its owner calls it now; the plan's at first."""
    asked: datetime
    ends: datetime
    """As promised now; the plan's at first, later where extensions move it."""
    url: str = ""
    """Where an interactive session is opened."""
    begun: bool = False
    """The back end has taken it: it is never started again."""
    ready: datetime | None = None
    """Since when its program answers, or a job's runs."""
    ending: Reason | None = None
    """It was told to end, and why."""
    ending_by: str = ""
    """Who told it: a user's name, or a part of the platform."""
    ended: datetime | None = None
    reason: Reason = Reason.NONE
    """Why it ended; what it was told counts before what the back end saw."""
    detail: str = ""
    exit_code: int | None = None
    node: str = ""
    qos: str = ""
    image_digest: str = ""
    peak_cores: Decimal | None = None
    peak_memory: int | None = None
    """Bytes."""
    put_away: bool = False
    """Its owner has deleted it after its end: her lists leave it out, the history has it."""
    warned: int = 0
    """How many seconds before the end the last warning was given for; 0: none yet."""

    @property
    def id(self) -> SessionId:
        """The session's id, never used twice."""
        return self.plan.session

    @property
    def launch(self) -> LaunchId:
        """The id of its launch."""
        return self.plan.launch

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.plan.owner

    @property
    def kind(self) -> SessionKind:
        """What it runs as."""
        return self.plan.kind

    @property
    def interactive(self) -> bool:
        """Whether it has a page; a batch job has none."""
        return KINDS[self.plan.kind].interactive

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.ended is None
