"""What the pages are given to show: plain values, already in words.

The templates decide nothing and reach for nothing else, so a page can be drawn, and tested,
from these values alone. A time is ISO 8601 in UTC, ending in ``Z``.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

Meaning = Literal["good", "busy", "warn", "bad", "neutral"]
"""What a state means to a person, besides its word."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the site."""

    label: str
    href: str


@dataclass(frozen=True, slots=True)
class Site:
    """What every page says of the site; ``canfar.site`` in the templates."""

    name: str
    logo_url: str | None
    links: tuple[Link, ...]
    announcement: str
    """One sentence of the operator, empty for none."""
    notices: tuple[str, ...]
    """Standing warnings of the platform itself."""


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """A version of a container."""

    name: str
    recommended: bool
    deprecated: bool
    successor: str
    """What to use instead of a deprecated version."""


@dataclass(frozen=True, slots=True)
class Preparing:
    """How far a container is from being usable on this machine."""

    state: str
    """Empty, or ``failed``, which shows `error`."""
    text: str
    step: int
    steps: int
    percent: int
    seconds_left: int | None
    size_mb: int
    error: str


@dataclass(frozen=True, slots=True)
class ContainerCard:
    """A container as the launch form offers it."""

    name: str
    title: str
    description: str
    icon: str
    kind: str
    kind_title: str
    versions: tuple[VersionChoice, ...]
    default_version: str
    recommended: bool
    available: bool
    reason: str
    """Why it cannot be launched here."""
    command: str
    """What an operator runs to get it."""
    preparing: Preparing | None
    modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SizeChoices:
    """The sizes of one session type and what its two modes mean."""

    cores: tuple[int | str, ...]
    memory: tuple[int | str, ...]
    """GB of 2³⁰ bytes."""
    gpus: tuple[int, ...]
    flexible_sentence: str
    fixed_sentence: str


def _size(value: int | str) -> tuple[Decimal, str]:
    try:
        return Decimal(value), str(value)
    except InvalidOperation:
        return Decimal("Infinity"), str(value)


@dataclass(frozen=True, slots=True)
class LaunchForm:
    """The launch page: its choices, what is filled in and what was refused."""

    action: str
    owner: str
    containers: tuple[ContainerCard, ...]
    sizes: dict[str, SizeChoices]
    """By session type."""
    projects: tuple[str, ...]
    values: dict[str, str]
    """What is filled in: container, version, image, kind, name, mode, cores, memory, gpus, open
    and env."""
    selected_projects: tuple[str, ...]
    errors: dict[str, str]
    """A sentence for each refused field."""
    error: str
    """A refusal of no field in particular."""
    notices: tuple[str, ...]
    running: int
    limit: int
    """How many sessions may run at a time; 0 for any number."""
    lifetime: str
    """How long a session lasts, in words: ``4 days``."""
    custom_images: bool
    kinds: tuple[tuple[str, str], ...]
    """Session types for an image of one's own: value and title."""

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return 0 < self.limit <= self.running

    def choices(self, field: Literal["cores", "memory", "gpus"]) -> tuple[str, ...]:
        """Join the sizes of all session types, in order of size.

        A page without JavaScript cannot follow the chosen container, so it offers every size.
        """
        found: dict[str, int | str] = {}
        for sizes in self.sizes.values():
            offered: tuple[int | str, ...] = getattr(sizes, field)
            found.update({str(value): value for value in offered})
        return tuple(sorted(found, key=lambda value: _size(found[value])))


@dataclass(frozen=True, slots=True)
class SessionCard:
    """A session as the home and progress pages show it."""

    id: str
    name: str
    kind: str
    kind_title: str
    icon: str
    container: str
    version: str
    mode_text: str
    phase: str
    state_word: str
    state_meaning: Meaning
    reason: str
    url: str
    """Where it opens."""
    pending_url: str
    """Its progress page."""
    started_at: str | None
    ends_at: str | None
    time_left: str
    projects: tuple[str, ...]
    scratch_note: str
    unknown_since: str | None = None
    """When the back end last said how it is, where it does not answer now."""


@dataclass(frozen=True, slots=True)
class EndedRow:
    """A session that ended lately without having been stopped by its owner."""

    id: str
    name: str
    kind: str
    kind_title: str
    icon: str
    container: str
    version: str
    failed: bool
    reason: str
    """Why it ended, in a sentence."""
    advice: str
    detail: str
    """What the back end says of it; may be empty."""
    ended_at: str
    again_url: str
    """The launch form with this choice filled in."""


@dataclass(frozen=True, slots=True)
class HomeView:
    """What ``canfar.home(user)`` answers."""

    sessions: tuple[SessionCard, ...]
    limit: int
    launchable: tuple[ContainerCard, ...]
    can_launch: bool
    storage: tuple[tuple[str, str, str], ...]
    """Label, path and how it is kept."""
    owner: str
    ended: tuple[EndedRow, ...] = ()
    """The latest first."""
    refusal: str = ""
    """Why nothing can be launched for this user, whatever she asks for."""


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """One phase of a start."""

    key: str
    title: str
    state: Literal["done", "now", "todo", "failed"]
    at: str | None
    text: str


@dataclass(frozen=True, slots=True)
class ProgressView:
    """What ``canfar.progress(user, spawner)`` answers."""

    session: SessionCard
    phases: tuple[PhaseRow, ...]
    advice: str
    typical_seconds: int | None
    failed: bool
    again_url: str
    """The launch form with this choice filled in."""
    progress_url: str
