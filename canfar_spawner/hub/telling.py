"""What the hub tells the session manager of a session, in the words of an event."""

from __future__ import annotations

from typing import Any

from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Phase, Reason


def event_of(
    spawner: Any, plan: SessionPlan, what: What, *, phase: Phase | None = None, by: str = "hub"
) -> SessionEvent:
    """Write down what has just happened to a session.

    Parameters
    ----------
    spawner : SessionSpawnerMixin
    plan : SessionPlan
        The session's.
    what : What
    phase : Phase, optional
    by : str
        Who caused it.
    """
    event = SessionEvent(
        launch=plan.launch,
        owner=plan.owner,
        session=plan.session,
        at=spawner.platform.clock(),
        what=what,
        phase=phase,
        by=by,
    )
    if what is What.ASKED:
        user = spawner.user
        # Absolute where the hub knows how browsers write it.
        url = user.public_url(spawner.name) or user.server_url(spawner.name)
        return event.model_copy(update={"plan": plan, "url": str(url)})
    if what is What.ENDED:
        evidence = spawner.evidence
        return event.model_copy(
            update={
                # What is left after a stop looks like many things.
                "reason": Reason.STOPPED if spawner.stopped_alive else evidence.reason,
                "detail": evidence.detail,
                "exit_code": evidence.exit_code,
                "node": evidence.node,
            }
        )
    return event
