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
class MaintenanceNotice:
    """When the platform is worked on, and what that means."""

    begins: str
    ends: str
    text: str
    now: bool
    """It has begun."""


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
    maintenance: MaintenanceNotice | None = None
    """Until it is over."""


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
    notice: str = ""
    """What whoever starts it should know, in a sentence."""


@dataclass(frozen=True, slots=True)
class SizeChoices:
    """The sizes of one session type and what its two modes mean."""

    cores: tuple[int | str, ...]
    memory: tuple[int | str, ...]
    """GB of 2³⁰ bytes."""
    gpus: tuple[int, ...]
    flexible_sentence: str
    fixed_sentence: str
    least: tuple[str, str] = ("", "")
    """Cores and GB that a flexible session surely has."""


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
    lifetime_seconds: int = 0
    taken: tuple[str, ...] = ()
    """What the owner's sessions are called now."""
    continues: tuple[str, ...] = ()
    """The sessions whose links will lead to this one."""
    held_to: bool = True
    """Whether sizes are more than what programs are told."""
    filled: bool = False
    """Whether a link or an earlier try has filled it in: what was chosen last time stays away."""

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
class Larger:
    """With what a session can be started anew when it needs more memory."""

    memory: tuple[str, ...]
    """GB, the smallest first."""
    cores: tuple[str, ...]
    cores_first: str
    words: tuple[tuple[str, str], ...]
    """What has to be posted, with the smallest memory and the first cores filled in."""
    variables: tuple[str, ...] = ()
    """Whose values were never kept: the form has to ask for them."""


@dataclass(frozen=True, slots=True)
class Face:
    """What a session is, wherever it is shown."""

    id: str
    name: str
    kind: str
    kind_title: str
    icon: str
    container: str
    version: str


@dataclass(frozen=True, slots=True)
class SessionCard(Face):
    """A session as the home and progress pages show it."""

    mode_text: str
    """The mode, and what it really got."""
    cores: str
    """How many it may use."""
    memory: str
    """How many GB it may use."""
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
    ends_soon: bool = False
    unknown_since: str | None = None
    """When the back end last said how it is, where it does not answer now."""
    warning: str = ""
    """What its owner has to be told before its end, in a sentence."""
    notice: str = ""
    """What its owner should know of how it runs, in a sentence."""
    larger: Larger | None = None
    """None where there is no more memory, or where it has to be chosen in the form."""


@dataclass(frozen=True, slots=True)
class EndedRow(Face):
    """A session that ended lately."""

    failed: bool
    reason: str
    """Why it ended, in a sentence."""
    advice: str
    detail: str
    """What the back end says of it; may be empty."""
    ended_at: str
    again_url: str
    """The launch form with this choice filled in."""
    fresh: str
    """The id that a session in its place would have."""
    again: tuple[tuple[str, str], ...] = ()
    """What has to be posted for another like it; empty where the form has to be looked at."""
    larger: tuple[tuple[str, str], ...] = ()
    """The same with more memory, where it had too little."""
    larger_memory: str = ""
    """How many GB that are."""


@dataclass(frozen=True, slots=True)
class Continued:
    """What took the place of a session that was started anew."""

    card: SessionCard | None
    over: bool
    """It has ended, too."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A session that a script asked for lately and did not get."""

    name: str
    sentence: str
    at: str


@dataclass(frozen=True, slots=True)
class StorageRow:
    """A home, a project or scratch, beside the sessions."""

    area: str
    label: str
    path: str
    """As sessions see it."""
    kept: str
    """What happens to its files, in words."""


@dataclass(frozen=True, slots=True)
class WidgetsView:
    """What ``canfar.widgets(user)`` answers."""

    storage: tuple[StorageRow, ...]
    here: bool
    """Sessions run on the hub's own machine."""


@dataclass(frozen=True, slots=True)
class OpenChoice:
    """One way to open a file: a session that runs, or the launch form."""

    title: str
    kind: str
    kind_title: str
    icon: str
    url: str
    """Empty where it cannot be done; `text` says why."""
    text: str


@dataclass(frozen=True, slots=True)
class OpenView:
    """What ``canfar.opening(user)`` answers for a file."""

    path: str
    name: str
    error: str = ""
    """Why it cannot be opened, in a sentence."""
    running: tuple[OpenChoice, ...] = ()
    launchable: tuple[OpenChoice, ...] = ()
    limit: int = 0
    """How many sessions may run, where they all do; else 0."""


@dataclass(frozen=True, slots=True)
class HomeView:
    """What ``canfar.home(user)`` answers."""

    sessions: tuple[SessionCard, ...]
    limit: int
    launchable: tuple[ContainerCard, ...]
    can_launch: bool
    owner: str
    launch_url: str
    """Where a launch is posted to, without the session's id."""
    fresh: str
    """An id for a session that takes the place of one of these."""
    ended: tuple[EndedRow, ...] = ()
    """The latest first."""
    refusal: str = ""
    """Why nothing can be launched for this user, whatever she asks for."""
    refused: tuple[RefusedRow, ...] = ()
    """The latest first."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A session that somebody else is about to enter; ``canfar.visit(oauth_client)``."""

    owner: str
    session: str
    name: str
    container: str
    version: str


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
    last_words: str = ""
    """The last lines that its program wrote before it failed."""
