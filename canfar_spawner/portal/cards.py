"""Sessions as the hub's pages show them: what one is, how it is, what can be done with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from canfar_spawner.core.backend import Offer
from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.resources import GIB, Allocation, number
from canfar_spawner.core.restart import Restart, restart
from canfar_spawner.core.status import REASONS, Life, Phase, Reason, is_over
from canfar_spawner.core.storage import Area
from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.hub.platform import Platform
from canfar_spawner.hub.recent import Ending
from canfar_spawner.portal.address import hub_page
from canfar_spawner.portal.again import Words, again, again_url, lineage
from canfar_spawner.portal.language import say
from canfar_spawner.portal.views import EndedRow, Larger, SessionCard
from canfar_spawner.portal.words import STILL_COUNTED, duration, iso, mode_text, state

SOON: Final = timedelta(hours=24)
"""An end that is nearer than this is said with emphasis."""
_GUARANTEED: Final = "Guaranteed"


def _said(sentence: str) -> str:
    return say(sentence) if sentence else ""


def _face(plan: SessionPlan, name: str) -> dict[str, Any]:
    """Give what a card and a row say alike of what a session is."""
    spec = KINDS[plan.kind]
    return {
        "id": plan.session,
        "name": name,
        "kind": plan.kind.value,
        "kind_title": say(spec.title),
        "icon": spec.icon,
        "container": plan.title,
        "version": plan.version,
    }


class Cards:
    """Shows sessions; for one page, as it asks for each container once.

    Parameters
    ----------
    platform : Platform
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._policy = platform.policy
        self._offers: dict[str, Offer | None] = {}
        self._now = platform.clock()

    def _container(self, plan: SessionPlan) -> Container | None:
        containers = self._policy.catalogue.containers
        return next((each for each in containers if each.name == plan.container), None)

    def _offer(self, plan: SessionPlan) -> Offer | None:
        """Give how a session's container is offered now; None where it is not."""
        name = plan.container or ""
        if name not in self._offers:
            found = self._container(plan)
            self._offers[name] = self._platform.backend.offer(found) if found else None
        return self._offers[name]

    def _offered(self, plan: SessionPlan) -> bool:
        """Say whether a session like this one could be launched as far as its software goes."""
        if plan.container is None:
            return True
        found, offer = self._container(plan), self._offer(plan)
        if found is None or offer is None:
            return False
        here = offer.narrowed(found).versions
        return offer.available and any(each.name == plan.version for each in here)

    def _mode(self, spawner: SessionSpawnerMixin, plan: SessionPlan) -> str:
        """Say what a session has, as it was really given."""
        got = spawner.evidence.qos
        enforced = self._platform.backend.enforces_sizes
        if got and plan.resources.allocation is Allocation.FIXED:
            return mode_text(plan.resources, enforced=got == _GUARANTEED)
        return mode_text(plan.resources, enforced=enforced)

    def _larger(self, plan: SessionPlan) -> Restart | None:
        if not self._offered(plan):
            return None
        choices = self._policy.resources.of(plan.kind)
        return restart(plan.resources, choices, KINDS[plan.kind].modes)

    def _more(self, plan: SessionPlan, name: str) -> Larger | None:
        found = self._larger(plan)
        if found is None:
            return None
        first = number(found.cores_first)
        words = again(plan, name=name, sizes=(first, str(found.memory[0])))
        return Larger(
            memory=tuple(str(size) for size in found.memory),
            cores=tuple(number(size) for size in found.cores),
            cores_first=first,
            words=(*words, *lineage(plan)),
            variables=plan.env_names,
        )

    def card(self, spawner: SessionSpawnerMixin, plan: SessionPlan) -> SessionCard:
        """Show a session that lives."""
        evidence, news = spawner.evidence, self._platform.news
        reason = REASONS[evidence.reason]
        phase = list(spawner.phases)[-1] if spawner.phases else Phase.STARTING
        failed = is_over(evidence) and reason.failed
        word, meaning = state(evidence.life, phase, ready=bool(spawner.ready), failed=failed)
        if spawner.ready and phase is not Phase.ENDING:
            phase = Phase.READY
        if spawner.pending == "stop":
            word, meaning, phase = say("Stopping"), "busy", Phase.ENDING
        unknown = evidence.life is Life.UNKNOWN and meaning == "warn"
        why = _said(reason.sentence or (STILL_COUNTED if unknown else ""))
        name, ends, offer = news.name(plan), news.ends(plan), self._offer(plan)
        left = ends - self._now
        return SessionCard(
            **_face(plan, name),
            mode_text=self._mode(spawner, plan),
            cores=number(plan.resources.cores_limit),
            memory=str(plan.resources.memory_limit // GIB),
            phase=phase.value,
            state_word=word,
            state_meaning=meaning,
            reason=spawner.hindrance or evidence.detail or why,
            url=f"{spawner.user.server_url(spawner.name)}",
            pending_url=hub_page(f"spawn-pending/{quote(plan.owner, safe='')}/{plan.session}"),
            started_at=iso(plan.started),
            ends_at=iso(ends),
            time_left=duration(left),
            ends_soon=left < SOON,
            projects=tuple(mount.name for mount in plan.storage.find(Area.PROJECT)),
            scratch_note="",
            unknown_since=iso(evidence.seen) if unknown and evidence.seen else None,
            warning=news.warning(plan),
            notice=offer.notice if offer else "",
            larger=self._more(plan, name) if meaning == "good" else None,
        )

    def ended(self, ending: Ending, *, can_launch: bool) -> EndedRow:
        """Show a session that has ended.

        Parameters
        ----------
        ending : Ending
        can_launch : bool
            Whether its owner may launch another now.
        """
        plan, evidence = ending.plan, ending.evidence
        words = REASONS[evidence.reason]
        at_once = can_launch and not plan.env_names and self._offered(plan)
        more = self._memory_short(plan, evidence.reason) if at_once else None
        return EndedRow(
            **_face(plan, plan.name),
            failed=words.failed or bool(ending.sentence and not words.sentence),
            reason=_said(words.sentence) or ending.sentence or say("The session ended."),
            advice=_said(words.advice),
            detail=evidence.detail,
            ended_at=iso(evidence.at or ending.at),
            again_url=again_url(plan),
            again=again(plan) if at_once else (),
            larger=more or (),
            larger_memory=dict(more)["memory"] if more else "",
            fresh=self._platform.fresh_session(),
        )

    def _memory_short(self, plan: SessionPlan, reason: Reason) -> Words | None:
        """Give what to launch in place of a session that had too little memory."""
        found = self._larger(plan) if reason is Reason.OUT_OF_MEMORY else None
        if found is None:
            return None
        sizes = number(found.cores_first), str(found.memory[0])
        return (*again(plan, sizes=sizes), *lineage(plan))
