"""Records of sessions that never ran, for what is kept of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.plan import plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import parse_request
from canfar_spawner.manager.records import SessionRecord
from tests.core.world import ADA, NOW, site

_SITE = site()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def session_id(number: int) -> SessionId:
    """Give the same id for the same number."""
    text = ""
    for _ in range(7):
        number, place = divmod(number, len(LETTERS))
        text = LETTERS[place] + text
    return SessionId(f"s{text}")


def recorded(
    number: int,
    owner: PosixIdentity = ADA,
    *,
    asked: datetime = NOW,
    policy: SitePolicy = _SITE,
    options: dict[str, object] | None = None,
    **more: Any,
) -> SessionRecord:
    """Give the record of an interactive session."""
    session = session_id(number)
    plan = plan_session(
        parse_request({"container": "astroml", **(options or {})}),
        identity=owner,
        policy=policy,
        usage=Usage(),
        now=asked,
        session=session,
        launch=LaunchId(f"{session}-{number:012x}"),
    )
    return SessionRecord(plan=plan, name=plan.name, **{"asked": asked, "ends": plan.ends, **more})


def job(number: int, owner: PosixIdentity = ADA, **more: Any) -> SessionRecord:
    """Give the record of a batch job."""
    return recorded(number, owner, options={"kind": "headless", "cmd": "true"}, **more)
