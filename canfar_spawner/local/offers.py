"""Which containers' programs are on this machine, and what would get the others."""

from __future__ import annotations

import sys
from typing import Final

from canfar_spawner.core.backend import Offer, Preparation
from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.local import environments
from canfar_spawner.local.programs import (
    command_of,
    find,
    lacking,
    opens_port,
)
from canfar_spawner.site.users_file import Users

_OPENS_PORT: Final = (
    "Its program listens on a port of this machine, which other users of the machine could reach"
    " while the session runs."
)
_NO_PORTS: Final = (
    "listens on a port that other users of this machine could reach, so it is not offered here. An"
    " administrator can allow it."
)


def serves_others(users: Users) -> bool:
    """Say whether a hub lets in anybody but accounts for trying it out."""
    if not users.demo:
        return True
    # Where this is no hub, as in the session manager, the users file alone says who there is.
    hub, auth = sys.modules.get("jupyterhub.app"), sys.modules.get("jupyterhub.auth")
    if hub is None or auth is None or not hub.JupyterHub.initialized():
        return False
    return not isinstance(hub.JupyterHub.instance().authenticator, auth.DummyAuthenticator)


def offer_of(
    container: Container,
    policy: SitePolicy,
    *,
    others: bool,
    kind: SessionKind | None = None,
) -> Offer:
    """Say whether a container's program is on this machine.

    Parameters
    ----------
    container : Container
    policy : SitePolicy
    others : bool
        Whether the hub serves more than accounts for trying it out.
    kind : SessionKind, optional
        What it is to run as. By default its first kind, as which pages launch it, with what is to
        be said of the others that it may run as.
    """
    program = container.local
    kinds = container.kinds if kind is None else (kind,)
    kind = kinds[0]
    entry = container.entry_of(kind)
    command = command_of(program, kind, entry) if program else ()
    if program is None or program.missing or not command:
        reason = program.missing if program else ""
        return Offer(
            available=False,
            reason=reason or f"{container.title} needs a cluster; it has no local program.",
            command=program.get if program else "",
        )
    exposed = [each for each in kinds if opens_port(program, each, container.entry_of(each))]
    closed = exposed if others and not policy.machine.open_ports else []
    if kind in closed:
        return Offer(available=False, reason=f"{container.title} {_NO_PORTS}")
    if find(program, kind, entry) is not None:
        return Offer(
            available=True,
            notice=_OPENS_PORT if exposed and not closed else "",
            only_version=container.default_version.name,
            only_kinds=tuple(each for each in kinds if each not in closed),
        )
    needed = lacking(program)
    if needed or program.environment is None:
        return Offer(
            available=False,
            reason=f"{next(iter(needed), command[0])} is not installed on this machine.",
            command=program.get,
        )
    return _of_environment(container, program.environment, program.get)


def _of_environment(container: Container, environment: str, get: str) -> Offer:
    status = environments.status(environment)
    if status.state == "ready":
        return Offer(
            available=False,
            reason=f"{container.title} is not in its software on this machine.",
            command=get,
        )
    preparation = None
    if status.state in ("building", "waiting", "failed"):
        preparation = Preparation(
            text=status.text,
            step=status.step,
            steps=status.steps,
            seconds_left=status.seconds_left,
            size_mb=status.size_mb,
            error=status.error,
        )
    reason = {
        "building": f"{container.title} is being prepared on this machine.",
        "waiting": f"{container.title} waits to be prepared on this machine.",
        "failed": f"{container.title} could not be prepared on this machine.",
    }.get(status.state, f"{container.title} has not been prepared on this machine.")
    return Offer(
        available=False,
        reason=reason,
        # Nobody has to do anything where it is on its way.
        command="" if status.state in ("building", "waiting") else "make environments",
        preparation=preparation,
    )
