"""What the directory of a launch proves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Phase, Reason, exit_detail, exit_reason
from canfar_spawner.local.state import QUEUED, LaunchState, is_alive, read_state

PREPARED_WITHIN: Final = 60.0
"""Seconds after which a launch without an order was given up by whoever prepared it."""
_SIGNAL_BASE = 128

_REASONS = {
    "stopped": Reason.STOPPED,
    "deadline": Reason.EXPIRED,
    "start_failed": Reason.PROGRAM_MISSING,
    "supervisor_lost": Reason.SUPERVISOR_LOST,
}


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the directory of a launch."""

    alive: bool
    """A supervisor has it."""
    state: LaunchState | None
    ordered: bool
    queued: bool
    """The order waits for its turn."""
    age: float
    """Seconds since something was last made or removed in it."""

    @property
    def ended(self) -> bool:
        """Whether it was written down that the launch has ended."""
        return self.state is not None and self.state.phase == "ended"

    @property
    def abandoned(self) -> bool:
        """Whether there is an order, or something that was begun, and nobody who sees to it."""
        return not (self.ended or self.alive or self.queued) and (
            self.ordered or self.state is not None
        )


def look_at(path: Path, now: datetime) -> Look:
    """Look at the directory of a launch.

    Raises
    ------
    OSError, ValueError
        It cannot be looked at, so nothing is known.
    """
    # The mark is gone before a supervisor is begun, so that there is none to be looked for.
    if (path / QUEUED).exists() and (path / "spec.json").exists() and read_state(path) is None:
        return Look(alive=False, state=None, ordered=True, queued=True, age=0.0)
    # A supervisor that begins after the first look is found by the second.
    alive = is_alive(path)
    return Look(
        alive=alive,
        state=read_state(path),
        ordered=(path / "spec.json").exists(),
        queued=False,
        age=now.timestamp() - path.stat().st_mtime,
    )


def evidence_of(look: Look, plan: SessionPlan | None, now: datetime, *, place: str) -> Evidence:
    """Say what one look proves.

    Parameters
    ----------
    look : Look
    plan : SessionPlan or None
    now : datetime
        In UTC.
    place : str
        Where in the queue it is, if it waits.
    """
    state = look.state
    if state is not None and state.phase == "ended":
        return _ended(state)
    if look.queued:
        return Evidence(
            life=Life.STARTING,
            phase=Phase.QUEUED,
            reason=Reason.WAITING_FOR_RESOURCES,
            detail=place,
            at=plan.started if plan else None,
            seen=now,
        )
    if look.alive and state is not None and state.phase == "running":
        # Whether a session's program answers is for others to find out; a job's has to do nothing.
        is_job = plan is not None and not KINDS[plan.kind].interactive
        started = _time(state.started_at)
        return Evidence(
            life=Life.RUNNING,
            phase=Phase.READY if is_job else Phase.STARTING,
            started=started,
            at=started,
            seen=now,
        )
    if state is None and not look.ordered and not look.alive and look.age > PREPARED_WITHIN:
        return Evidence(life=Life.ABSENT, reason=Reason.NEVER_STARTED, seen=now)
    return Evidence(life=Life.STARTING, phase=Phase.PREPARING, seen=now)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _ended(state: LaunchState) -> Evidence:
    code = state.exit_code
    if code is None and state.signal is not None:
        code = _SIGNAL_BASE + state.signal
    reason = _REASONS.get(state.reason or "") or exit_reason(
        code, out_of_memory=bool(state.out_of_memory), asked_to_stop=False
    )
    at = _time(state.ended_at)
    return Evidence(
        life=Life.ENDED,
        reason=reason,
        exit_code=code,
        detail=state.detail or exit_detail(reason, code),
        started=_time(state.started_at),
        finished=at,
        peak_memory=state.peak_memory_bytes,
        at=at,
    )
