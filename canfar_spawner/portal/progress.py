"""How far a start has come, or why it failed."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from canfar_spawner.core.status import REASONS, Phase, Reason
from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.hub.platform import Platform
from canfar_spawner.portal.address import hub_page
from canfar_spawner.portal.again import again_url
from canfar_spawner.portal.cards import Cards
from canfar_spawner.portal.language import say
from canfar_spawner.portal.views import PhaseRow, ProgressView
from canfar_spawner.portal.words import PHASES


def _cause(spawner: SessionSpawnerMixin) -> str:
    """Say why a start failed, without the advice that the page gives apart."""
    words = REASONS[spawner.evidence.reason]
    told = (spawner.failure or "").removesuffix(words.advice).strip()
    if words.sentence and told.startswith(words.sentence):
        return say(words.sentence) + told.removeprefix(words.sentence)
    return told


def _advice(spawner: SessionSpawnerMixin) -> str:
    reason = spawner.evidence.reason
    return say(REASONS[reason].advice) if reason is not Reason.NONE else ""


def _phases(spawner: SessionSpawnerMixin, *, failed: bool) -> tuple[PhaseRow, ...]:
    reached = list(spawner.phases)
    shown = [*spawner.expected_phases]
    last = max((shown.index(phase) for phase in reached if phase in shown), default=0)
    rows = []
    for index, phase in enumerate(shown):
        title, text = map(say, PHASES[phase])
        now = index == last and phase is not Phase.READY
        if now:
            text = _cause(spawner) if failed else spawner.evidence.detail or text
        rows.append(
            PhaseRow(
                key=phase.value,
                title=title,
                state=(
                    ("failed" if failed else "now") if now else "done" if index <= last else "todo"
                ),
                at=spawner.phases.get(phase),
                text=text,
            )
        )
    return tuple(rows)


def progress(platform: Platform, user: Any, spawner: SessionSpawnerMixin) -> ProgressView | None:
    """Show a start; None where there is nothing to show.

    Parameters
    ----------
    platform : Platform
    user : jupyterhub.user.User
        Whose session it is.
    spawner : SessionSpawnerMixin
    """
    plan = getattr(spawner, "plan", None) or getattr(spawner, "last_plan", None)
    if plan is None:
        return None
    failed = spawner.failure is not None
    return ProgressView(
        session=Cards(platform).card(spawner, plan),
        phases=_phases(spawner, failed=failed),
        advice=_advice(spawner) if failed else "",
        typical_seconds=platform.starts.typical(plan),
        failed=failed,
        again_url=again_url(plan),
        progress_url=hub_page(
            f"api/users/{quote(user.name, safe='')}/servers/{plan.session}/progress"
        ),
        last_words=spawner.last_words if failed else "",
    )
