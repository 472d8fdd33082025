"""What the templates ask for: the site, a user's home, the progress of a start."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote, urlencode

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.resources import Allocation, number
from canfar_spawner.core.status import REASONS, Life, Phase, Reason, is_over
from canfar_spawner.core.storage import Area, Persistence
from canfar_spawner.hub.gate import active_sessions
from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.hub.platform import Platform
from canfar_spawner.hub.recent import Ending
from canfar_spawner.portal.form import container_cards
from canfar_spawner.portal.views import (
    EndedRow,
    HomeView,
    Link,
    PhaseRow,
    ProgressView,
    SessionCard,
    Site,
)
from canfar_spawner.portal.words import PHASES, STILL_COUNTED, duration, iso, mode_text, state


def again_url(plan: SessionPlan) -> str:
    """Give the launch form's address with the choice of an earlier session filled in."""
    options: list[tuple[str, str]] = [("opt-name", plan.name)]
    if plan.container:
        options += [("opt-container", plan.container), ("opt-version", plan.version)]
    else:
        options += [("opt-image", str(plan.image)), ("opt-kind", plan.kind.value)]
    resources = plan.resources
    if resources.allocation is Allocation.FIXED:
        options += [
            ("opt-mode", "fixed"),
            ("opt-cores", number(resources.cores_limit)),
            ("opt-memory", str(resources.memory_limit // 2**30)),
        ]
    options += [("opt-projects", mount.name) for mount in plan.storage.find(Area.PROJECT)]
    return f"/hub/spawn?{urlencode(options)}"


def _cause(spawner: SessionSpawnerMixin) -> str:
    """Say why a start failed, without the advice that the page gives apart."""
    advice = REASONS[spawner.evidence.reason].advice
    return (spawner.failure or "").removesuffix(advice).strip()


class Pages:
    """The one value that templates get from this platform, as ``canfar``."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Stay one: traitlets copies what a configuration holds."""
        return self

    @property
    def site(self) -> Site:
        """What every page shows of the site."""
        branding = self._platform.policy.branding
        return Site(
            name=branding.name,
            logo_url=branding.logo,
            links=tuple(Link(label=link.label, href=link.href) for link in branding.links),
            announcement=branding.announcement,
            notices=self._platform.notices,
        )

    def _card(self, spawner: SessionSpawnerMixin, plan: SessionPlan) -> SessionCard:
        evidence = spawner.evidence
        reason = REASONS[evidence.reason]
        phase = list(spawner.phases)[-1] if spawner.phases else Phase.STARTING
        failed = is_over(evidence) and reason.failed
        word, meaning = state(evidence.life, phase, ready=bool(spawner.ready), failed=failed)
        if spawner.pending == "stop":
            word, meaning, phase = "Stopping", "busy", Phase.ENDING
        unknown = evidence.life is Life.UNKNOWN and meaning == "warn"
        why = reason.sentence or (STILL_COUNTED if unknown else "")
        owner = quote(plan.owner)
        return SessionCard(
            id=plan.session,
            name=plan.name,
            kind=plan.kind.value,
            kind_title=KINDS[plan.kind].title,
            icon=KINDS[plan.kind].icon,
            container=plan.title,
            version=plan.version,
            mode_text=mode_text(plan.resources, enforced=self._platform.backend.enforces_sizes),
            phase=phase.value,
            state_word=word,
            state_meaning=meaning,
            reason=spawner.hindrance or evidence.detail or why,
            url=f"{spawner.user.server_url(spawner.name)}",
            pending_url=f"/hub/spawn-pending/{owner}/{plan.session}",
            started_at=iso(plan.started),
            ends_at=iso(plan.ends),
            time_left=duration(plan.ends - self._platform.clock()),
            projects=tuple(mount.name for mount in plan.storage.find(Area.PROJECT)),
            scratch_note="",
            unknown_since=iso(evidence.seen) if unknown and evidence.seen else None,
        )

    @staticmethod
    def _ended(ending: Ending) -> EndedRow:
        plan, evidence = ending.plan, ending.evidence
        words = REASONS[evidence.reason]
        return EndedRow(
            id=plan.session,
            name=plan.name,
            kind=plan.kind.value,
            kind_title=KINDS[plan.kind].title,
            icon=KINDS[plan.kind].icon,
            container=plan.title,
            version=plan.version,
            failed=words.failed or bool(ending.sentence),
            reason=words.sentence or ending.sentence or "The session ended.",
            advice=words.advice,
            detail=evidence.detail,
            ended_at=iso(evidence.at or ending.at),
            again_url=again_url(plan),
        )

    def home(self, user: Any) -> HomeView:
        """Show a user's sessions and what she can launch."""
        platform = self._platform
        cards = []
        for name, spawner in user.spawners.items():
            if name and spawner.active and spawner.plan is not None:
                cards.append((spawner.plan.started, self._card(spawner, spawner.plan)))
        policy = platform.policy
        try:
            identity = platform.identities.identity(user.name)
            groups, projects, refusal = identity.group_names, identity.projects, ""
        except SessionError as error:
            groups, projects, refusal = frozenset[str](), (), error.sentence
        limit = policy.limits.interactive_for(groups)
        storage = [("Home", f"/arc/home/{user.name}", policy.storage.home.persistence.value)]
        storage += [
            (f"Project {name}", f"/arc/projects/{name}", policy.storage.projects.persistence.value)
            for name in projects
        ]
        storage.append(("Scratch", "/scratch", Persistence.WIPED.value))
        return HomeView(
            sessions=tuple(
                card for _, card in sorted(cards, key=lambda pair: pair[0], reverse=True)
            ),
            limit=limit,
            launchable=container_cards(platform, groups),
            can_launch=not refusal and len(active_sessions(user)) < limit,
            storage=tuple(storage),
            owner=user.name,
            ended=tuple(self._ended(ending) for ending in platform.recent.of(user.name)),
            refusal=refusal,
        )

    def progress(self, user: Any, spawner: SessionSpawnerMixin) -> ProgressView | None:
        """Show how far a start has come, or why it failed; None where there is nothing to show."""
        plan = spawner.plan or spawner.last_plan
        if plan is None:
            return None
        failed = spawner.failure is not None
        reason = spawner.evidence.reason
        advice = REASONS[reason].advice if failed and reason is not Reason.NONE else ""
        return ProgressView(
            session=self._card(spawner, plan),
            phases=self._phases(spawner, failed=failed),
            advice=advice,
            typical_seconds=None,
            failed=failed,
            again_url=again_url(plan),
            progress_url=f"/hub/api/users/{quote(user.name)}/servers/{plan.session}/progress",
        )

    @staticmethod
    def _phases(spawner: SessionSpawnerMixin, *, failed: bool) -> tuple[PhaseRow, ...]:
        reached = list(spawner.phases)
        shown = [*spawner.expected_phases]
        last = max((shown.index(phase) for phase in reached if phase in shown), default=0)
        rows = []
        for index, phase in enumerate(shown):
            title, text = PHASES[phase]
            now = index == last and phase is not Phase.READY
            if now:
                text = _cause(spawner) if failed else spawner.evidence.detail or text
            rows.append(
                PhaseRow(
                    key=phase.value,
                    title=title,
                    state=(
                        ("failed" if failed else "now")
                        if now
                        else "done"
                        if index <= last
                        else "todo"
                    ),
                    at=spawner.phases.get(phase),
                    text=text,
                )
            )
        return tuple(rows)
