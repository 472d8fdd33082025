"""The kinds of session and what sets each apart."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.resources import ResourceMode


class SessionKind(StrEnum):
    """What a session offers; the words are those of the wire contract."""

    NOTEBOOK = "notebook"
    DESKTOP = "desktop"
    CARTA = "carta"
    FIREFLY = "firefly"
    CONTRIBUTED = "contributed"
    HEADLESS = "headless"


class Entry(StrEnum):
    """Who answers at the session's address."""

    DIRECT = "direct"
    """The image's own Jupyter server, which checks the visitor itself."""
    GATEWAY = "gateway"
    """The gateway, in front of an application that knows nothing of the hub."""


class IdleRule(StrEnum):
    """What counts as activity where a site ends idle sessions."""

    KERNELS = "kernels"
    TRAFFIC = "traffic"
    NEVER = "never"


class KindSpec(Frozen):
    """Everything that differs from kind to kind, so that no other code asks which it is."""

    title: str
    """The word on pages."""
    icon: str
    entry: Entry
    port: int | None
    """Where the application listens inside a pod; none for batch jobs."""
    keeps_prefix: bool
    """Whether the application sees its own address prefix or ``/``."""
    ready_path: str
    """Answers below 500 once the application is usable."""
    default_image: str
    """The image name under the site's registry and project that serves this kind."""
    modes: tuple[ResourceMode, ...]
    interactive: bool
    """Counts against the limit of sessions at the same time."""
    has_command: bool
    """Whether ``cmd`` and ``args`` mean anything."""
    idle: IdleRule


_BOTH = (ResourceMode.FLEXIBLE, ResourceMode.FIXED)

KINDS: Final[dict[SessionKind, KindSpec]] = {
    SessionKind.NOTEBOOK: KindSpec(
        title="Notebook",
        icon="notebook",
        entry=Entry.DIRECT,
        port=8888,
        keeps_prefix=True,
        ready_path="/api",
        default_image="notebook",
        modes=_BOTH,
        interactive=True,
        has_command=False,
        idle=IdleRule.KERNELS,
    ),
    SessionKind.DESKTOP: KindSpec(
        title="Desktop",
        icon="desktop",
        entry=Entry.GATEWAY,
        port=None,
        keeps_prefix=False,
        ready_path="/",
        default_image="desktop",
        modes=(ResourceMode.FLEXIBLE,),
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
    ),
    SessionKind.CARTA: KindSpec(
        title="CARTA",
        icon="carta",
        entry=Entry.GATEWAY,
        port=3002,
        keeps_prefix=False,
        ready_path="/",
        default_image="carta",
        modes=_BOTH,
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
    ),
    SessionKind.FIREFLY: KindSpec(
        title="Firefly",
        icon="firefly",
        entry=Entry.GATEWAY,
        port=8080,
        keeps_prefix=True,
        ready_path="/firefly/",
        default_image="firefly",
        modes=(ResourceMode.FLEXIBLE,),
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
    ),
    SessionKind.CONTRIBUTED: KindSpec(
        title="Contributed",
        icon="contributed",
        entry=Entry.GATEWAY,
        port=5000,
        keeps_prefix=False,
        ready_path="/",
        default_image="contributed",
        modes=_BOTH,
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
    ),
    SessionKind.HEADLESS: KindSpec(
        title="Batch",
        icon="headless",
        entry=Entry.DIRECT,
        port=None,
        keeps_prefix=False,
        ready_path="",
        default_image="notebook",
        modes=_BOTH,
        interactive=False,
        has_command=True,
        idle=IdleRule.NEVER,
    ),
}
