"""A user's home: her sessions, what she can launch, what ended, what was refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.hub.gate import active_sessions
from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.hub.platform import Platform
from canfar_spawner.portal.address import hub_page
from canfar_spawner.portal.cards import Cards
from canfar_spawner.portal.form import container_cards
from canfar_spawner.portal.views import Continued, HomeView, RefusedRow, SessionCard
from canfar_spawner.portal.words import iso

_BUSY = "busy"


def _last_used(spawner: Any, plan: SessionPlan) -> datetime:
    at: datetime | None = spawner.orm_spawner.last_activity
    return plan.started if at is None else at.replace(tzinfo=at.tzinfo or UTC)


def order(card: SessionCard, used: datetime) -> tuple[int, float]:
    """Put what runs first, then what starts, then what stops; what was used last comes first.

    Parameters
    ----------
    card : SessionCard
    used : datetime
        When it was used last, or launched.
    """
    rank = 2 if card.phase == "ending" else 1 if card.state_meaning == _BUSY else 0
    return rank, -used.timestamp()


def _live(user: Any) -> list[tuple[SessionSpawnerMixin, SessionPlan]]:
    return [
        (spawner, spawner.plan)
        for name, spawner in user.spawners.items()
        if name and spawner.active and spawner.plan is not None
    ]


def home(platform: Platform, user: Any) -> HomeView:
    """Show a user's sessions and what she can launch.

    Parameters
    ----------
    platform : Platform
    user : jupyterhub.user.User
    """
    cards = Cards(platform)
    found = []
    for spawner, plan in _live(user):
        card = cards.card(spawner, plan)
        found.append((order(card, _last_used(spawner, plan)), card))
    policy = platform.policy
    try:
        identity = platform.identities.identity(user.name)
        groups, refusal = identity.group_names, ""
    except SessionError as error:
        groups, refusal = frozenset[str](), error.sentence
    limit = policy.limits.interactive_for(groups)
    can_launch = not refusal and len(active_sessions(user)) < limit
    return HomeView(
        sessions=tuple(card for _, card in sorted(found, key=lambda pair: pair[0])),
        limit=limit,
        launchable=container_cards(platform, groups),
        can_launch=can_launch,
        owner=user.name,
        launch_url=hub_page(f"spawn/{quote(user.name, safe='')}/"),
        fresh=platform.fresh_session(),
        ended=tuple(
            cards.ended(ending, can_launch=can_launch) for ending in platform.recent.of(user.name)
        ),
        refusal=refusal,
        refused=tuple(
            RefusedRow(name=refused.name, sentence=refused.sentence, at=iso(refused.at))
            for refused in platform.news.refused(user.name)
        ),
    )


def continued(platform: Platform, user: Any, address: str) -> Continued | None:
    """Say what took the place of a session whose link leads nowhere now.

    Parameters
    ----------
    platform : Platform
    user : jupyterhub.user.User
        Whose session it was.
    address : str
        Where JupyterHub would launch it anew; its ``next`` is the link.
    """
    wanted = parse_qs(urlsplit(address).query).get("next", [""])[0]
    parts = urlsplit(wanted).path.split("/user/", 1)[-1].split("/")
    session = parts[1] if len(parts) > 1 else ""
    if not session:
        return None
    for spawner, plan in _live(user):
        if session in plan.continues:
            return Continued(card=Cards(platform).card(spawner, plan), over=False)
    for ending in platform.recent.of(user.name):
        if session in ending.plan.continues:
            return Continued(card=None, over=True, name=ending.plan.name)
    return None
