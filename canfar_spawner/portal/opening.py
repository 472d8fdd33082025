"""What a page offers for a file: sessions that run and can show it, and the form for a new one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlencode

from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.errors import Invalid, SessionError
from canfar_spawner.core.gateway import opens_at_file
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.opening import page_with, sees, viewers
from canfar_spawner.core.storage import StoragePlan, check_open, plan_storage
from canfar_spawner.hub.gate import active_sessions
from canfar_spawner.hub.platform import Platform
from canfar_spawner.portal.address import hub_page
from canfar_spawner.portal.language import say
from canfar_spawner.portal.views import OpenChoice, OpenView


def opening(platform: Platform, user: Any, path: str) -> OpenView | None:
    """Show what can be done with a file; nothing is launched by it.

    Parameters
    ----------
    platform : Platform
    user : jupyterhub.user.User
    path : str
        As sessions see it; empty: no file was asked for.
    """
    if not path:
        return None
    try:
        identity = platform.identities.identity(user.name)
        storage = _all_storage(platform, identity)
        check_open(path, storage)
    except Invalid as error:
        return OpenView(path=path, name="", error=error.sentence)
    except SessionError as error:
        return OpenView(path=path, name=PurePosixPath(path).name, error=error.sentence)
    kinds = viewers(path)
    running = [choice for kind in kinds for choice in _running(user, kind, path)]
    launchable = [choice for kind in kinds for choice in _forms(platform, identity, kind, path)]
    limit = platform.policy.limits.interactive_for(identity.group_names)
    full = 0 < limit <= len(active_sessions(user))
    return OpenView(
        path=path,
        name=PurePosixPath(path).name,
        running=tuple(running),
        launchable=tuple(launchable),
        limit=limit if full else 0,
    )


def _all_storage(platform: Platform, identity: PosixIdentity) -> StoragePlan:
    policy = platform.policy
    return plan_storage(
        projects=None,
        identity=identity,
        policy=policy.storage,
        known_projects=policy.project_names,
    )


def _how(kind: SessionKind, path: str) -> str:
    if opens_at_file(kind, path):
        return ""
    return say("Opens without the file; choose it there, at the path above.")


def _running(user: Any, kind: SessionKind, path: str) -> list[OpenChoice]:
    found = []
    for name, spawner in user.spawners.items():
        plan = spawner.plan if name and spawner.ready else None
        if plan is None or plan.kind is not kind or not sees(plan.storage, path):
            continue
        address = str(user.server_url(name)).rstrip("/")
        found.append(
            OpenChoice(
                title=spawner.platform.news.name(plan),
                kind=kind.value,
                kind_title=say(KINDS[kind].title),
                icon=KINDS[kind].icon,
                url=f"{address}{page_with(plan, path)}",
                text=_how(kind, path),
            )
        )
    return found


def _forms(
    platform: Platform, identity: PosixIdentity, kind: SessionKind, path: str
) -> list[OpenChoice]:
    """Give the launch form, filled in, for each container that shows such files."""
    found = []
    for container in platform.policy.catalogue.offered(identity.group_names):
        if container.kinds[0] is not kind:
            continue
        offer = platform.backend.offer(container)
        found.append(
            OpenChoice(
                title=container.title,
                kind=kind.value,
                kind_title=say(KINDS[kind].title),
                icon=KINDS[kind].icon,
                url=_form(container, path) if offer.available else "",
                text=_how(kind, path) if offer.available else offer.reason,
            )
        )
    return found


def _form(container: Container, path: str) -> str:
    words = [("opt-container", container.name), ("opt-open", path), ("opt-projects", "")]
    parts = PurePosixPath(path).parts
    # Beneath a project that one is enough; beneath the home none is needed.
    if parts[:3] == ("/", "arc", "projects"):
        words.append(("opt-projects", parts[3]))
    return hub_page(f"spawn?{urlencode(words)}")
