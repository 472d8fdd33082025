"""What the containers of a session's pod are told, and what its program is started with: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.gateway import (
    DIRECTORY,
    SOCKET,
    Listening,
    application_variables,
    gateway_variables,
    has_gateway,
    prefix_of,
    started,
    takes_socket,
)
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.pods import SiteVolume
from canfar_spawner.core.storage import ARC_PROJECTS, SCRATCH
from canfar_spawner.core.variables import Places, environment, suggestions

PORT: Final = 8888
"""Where the gateway listens, or a server that needs none: the one port that is let in."""
PRIVATE: Final = "/run/canfar"
SHARED: Final = str(PurePosixPath(PRIVATE) / DIRECTORY)
"""The directory that gateway and application both have."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a session's containers are told."""

    variables: Mapping[str, str]
    """Those of its program."""
    gateway: Mapping[str, str] = field(default_factory=dict)
    """Those of the gateway alone; empty where there is none."""
    command: tuple[str, ...] = ()
    """What is run in place of the image's entry point; empty leaves it."""
    args: tuple[str, ...] = ()
    """What is run in place of the image's command; empty leaves it."""


def places(plan: SessionPlan) -> Places:
    """Say where a session in a pod sees its storage: always at the true paths."""
    return Places(
        home=plan.storage.home,
        projects=ARC_PROJECTS,
        scratch=SCRATCH,
        private=PRIVATE,
        files=f"{PRIVATE}/files",
    )


def session_port(plan: SessionPlan) -> int | None:
    """Say at which port of its pod a session is reached; None for batch jobs."""
    return PORT if has_gateway(plan) else plan.port


def listening(plan: SessionPlan, command: tuple[str, ...] = ()) -> Listening:
    """Say where the application behind the gateway listens, which shares the pod's ports with it.

    Parameters
    ----------
    plan : SessionPlan
    command : tuple of str
        What is run in place of its kind's own program.
    """
    words = command or KINDS[plan.kind].application.argv
    if plan.port is None or takes_socket(words):
        return Listening(socket=f"{SHARED}/{SOCKET}")
    # A program that is told its port gets the next one.
    return Listening(port=PORT + 1 if plan.port == PORT else plan.port)


def needs_gateways_port(plan: SessionPlan) -> bool:
    """Say whether an application can listen at the gateway's port only, as it is told none."""
    told = any("{port}" in word for word in KINDS[plan.kind].application.argv)
    return has_gateway(plan) and plan.port == PORT and not told


def told(
    plan: SessionPlan,
    secrets: Secrets,
    program: Mapping[str, Any] | None = None,
    *,
    volumes: tuple[SiteVolume, ...] = (),
) -> Told:
    """Give what a session's containers are told.

    Parameters
    ----------
    plan : SessionPlan
    secrets : Secrets
    program : mapping, optional
        The program's container as a site's traits made it: its command, where it has one, is run in
        place of that of the kind.
    volumes : tuple of SiteVolume
        What every session of the site has besides.
    """
    where = places(plan)
    environ = {**environment(plan, where, volumes=volumes), "CANFAR_LAUNCH_ID": plan.launch}
    first = suggestions(plan, where)
    if not has_gateway(plan):
        given = {name: value.get_secret_value() for name, value in secrets.env}
        return Told({**first, **given, **environ})
    found = program or {}
    command, args = (tuple(found.get(key) or ()) for key in ("command", "args"))
    listens = listening(plan, (*command, *args))
    run = started(plan, where, listens, prefix=prefix_of(secrets), command=(*command, *args))
    words = tuple(unexpanded(word) for word in run.argv)
    # The kind's own program stands for the image's entry point.
    cut = len(command) if command or args else len(words)
    return Told(
        variables={**first, **application_variables(plan, secrets), **run.env, **environ},
        gateway=gateway_variables(plan, secrets, listens),
        command=words[:cut],
        args=words[cut:],
    )


def unexpanded(word: str) -> str:
    """Write a word of a command so that it reaches the program as it is.

    Kubernetes would put variables in for ``$(NAME)``, and takes every two dollars for one.
    """
    return word.replace("$", "$$")
