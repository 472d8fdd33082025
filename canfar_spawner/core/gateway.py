"""What stands behind the gateway, and what the gateway is told of it: pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Self
from urllib.parse import quote, urlencode

from pydantic import Field, model_validator

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import KINDS, Entry, SessionKind, Transport
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.storage import ARC_PROJECTS, Area
from canfar_spawner.core.variables import Places

SETTINGS: Final = "CANFAR_GATEWAY"
"""The variable with the gateway's settings, as JSON."""
SECRET: Final = "CANFAR_GATEWAY_SECRET"  # noqa: S105 - the variable's name
"""The variable in which the gateway is told what it shares with the application."""
TOKEN: Final = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the variable's name
"""The variable with a session's own token."""
PREFIX: Final = "JUPYTERHUB_SERVICE_PREFIX"
"""The variable with the session's address, without host."""
_HUBS: Final = ("JUPYTERHUB_", "JPY_")
_MANAGER: Final = "CANFAR_SESSIONS_URL"
"""Where heartbeats go."""
DIRECTORY: Final = "gateway"
"""The directory of a session's own that gateway and application share."""
SOCKET: Final = "app.sock"
"""What a socket is called there; the path of one has room for 107 bytes."""


class Listening(Frozen):
    """Where the application listens: a port of its own machine, or a unix socket."""

    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    socket: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.port is None) == (self.socket is None):
            raise ValueError("an application listens on a port or on a socket")
        return self


class GatewaySettings(Frozen):
    """Everything the gateway knows of its session but secrets."""

    session: str
    owner: str
    title: str
    """The container's."""
    kind_title: str
    listening: Listening
    keeps_prefix: bool
    ready_path: str
    """With its slash; below the prefix where that is kept."""
    start: str
    """The page to open with, below the session's address."""
    secret_header: tuple[str, str] | None
    """Name, and value with ``{secret}``."""
    transport: Transport
    pages: str
    rewrites: tuple[str, ...]
    beats: tuple[str, ...] = ()


class Started(Frozen):
    """How the application is to be started."""

    argv: tuple[str, ...]
    """Empty: the image's own program."""
    env: dict[str, str]


def is_hubs(name: str) -> bool:
    """Say whether a variable is one by which a server and the hub know each other."""
    return name.startswith(_HUBS)


def prefix_of(secrets: Secrets) -> str:
    """Give a session's address without host, as the hub has told it."""
    return next((value.get_secret_value() for name, value in secrets.env if name == PREFIX), "/")


def has_gateway(plan: SessionPlan) -> bool:
    """Say whether a session's application stands behind the gateway."""
    return plan.entry is Entry.GATEWAY and KINDS[plan.kind].interactive


def takes_socket(argv: tuple[str, ...]) -> bool:
    """Say whether a command is told to listen on a unix socket."""
    return any("{socket}" in word for word in argv)


def _start_directory(plan: SessionPlan, places: Places) -> str:
    """Give the directory to begin in: that of the file to open, a sole project, or the home."""
    if plan.open is not None:
        return _seen(str(PurePosixPath(plan.open).parent), plan, places)
    projects = plan.storage.find(Area.PROJECT)
    if len(projects) == 1:
        return _seen(projects[0].path, plan, places)
    return places.home


def _seen(path: str, plan: SessionPlan, places: Places) -> str:
    """Give a path as the session sees it."""
    wanted = PurePosixPath(path)
    for root, here in ((plan.storage.home, places.home), (ARC_PROJECTS, places.projects)):
        if wanted.is_relative_to(root):
            return str(PurePosixPath(here) / wanted.relative_to(root))
    return path


def _words(plan: SessionPlan, places: Places, listening: Listening, prefix: str) -> dict[str, str]:
    return {
        "{port}": str(listening.port or ""),
        "{socket}": listening.socket or "",
        "{prefix}": prefix,
        "{arc}": str(PurePosixPath(places.projects).parent),
        "{home}": places.home,
        "{projects}": places.projects,
        "{scratch}": places.scratch,
        "{start}": _start_directory(plan, places),
        "{private}": places.private,
        "{threads}": str(plan.resources.threads),
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def started(
    plan: SessionPlan,
    places: Places,
    listening: Listening,
    *,
    prefix: str,
    command: tuple[str, ...] = (),
) -> Started:
    """Say how the application is started.

    Parameters
    ----------
    plan : SessionPlan
    places : Places
    listening : Listening
    prefix : str
        The session's address without host, ``/user/ada/abcd1234/``.
    command : tuple of str
        What a container runs in place of its kind's own program.
    """
    application = KINDS[plan.kind].application
    words = _words(plan, places, listening, prefix)
    return Started(
        argv=tuple(_filled(word, words) for word in command or application.argv),
        env={name: _filled(value, words) for name, value in application.env},
    )


def application_variables(plan: SessionPlan, secrets: Secrets) -> dict[str, str]:
    """Give what the application is told beside `started`: nothing that opens the hub."""
    found = {name: value.get_secret_value() for name, value in secrets.env if not is_hubs(name)}
    secret_env = KINDS[plan.kind].application.secret_env
    if secret_env and secrets.application is not None:
        found[secret_env] = secrets.application.get_secret_value()
    return found


def gateway_variables(plan: SessionPlan, secrets: Secrets, listening: Listening) -> dict[str, str]:
    """Give the gateway's variables: its settings, and what opens hub and application."""
    found = {
        name: value.get_secret_value()
        for name, value in secrets.env
        if is_hubs(name) or name == _MANAGER
    }
    if secrets.application is not None:
        found[SECRET] = secrets.application.get_secret_value()
    found[SETTINGS] = settings(plan, listening).model_dump_json()
    return found


def settings(plan: SessionPlan, listening: Listening) -> GatewaySettings:
    """Give what the gateway is told of its session."""
    spec = KINDS[plan.kind]
    application = spec.application
    return GatewaySettings(
        session=plan.session,
        owner=plan.owner,
        title=plan.title,
        kind_title=spec.title,
        listening=listening,
        keeps_prefix=plan.keeps_prefix,
        ready_path=spec.ready_path,
        start=start_url(plan),
        secret_header=application.secret_header,
        transport=application.transport,
        pages=application.pages,
        rewrites=application.rewrites,
        beats=application.beats,
    )


def opens_at_file(kind: SessionKind, path: str) -> bool:
    """Say whether a kind has a page that shows this file as soon as it opens."""
    spec = KINDS[kind]
    fitting = not spec.open_endings or path.lower().endswith(spec.open_endings)
    return bool(spec.open_page) and fitting


def start_url(plan: SessionPlan) -> str:
    """Give the page that a session opens with, below its address."""
    spec = KINDS[plan.kind]
    if plan.open is None or not opens_at_file(plan.kind, plan.open):
        return spec.page
    opened, home = PurePosixPath(plan.open), PurePosixPath(plan.storage.home)
    if opened.is_relative_to(home):
        view = PurePosixPath("home") / opened.relative_to(home)
    else:
        view = PurePosixPath("projects") / opened.relative_to(ARC_PROJECTS)
    # Quoted, so that no brace of it meets JupyterHub's templates either.
    path, _, query = spec.open_page.partition("?")
    page = path.replace("{view}", quote(str(view))).replace("{path}", quote(str(opened)))
    if not query:
        return page
    arc = PurePosixPath(ARC_PROJECTS).parent
    folder = str(opened.parent.relative_to(arc))
    words = {"{folder}": folder, "{name}": opened.name, "{path}": str(opened)}
    asked = [pair.partition("=") for pair in query.split("&")]
    return f"{page}?{urlencode([(name, words.get(value, value)) for name, _, value in asked])}"
