"""What the session manager's own pages are given to show: plain values, already in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.status import REASONS, Evidence, Life, Phase, explained, is_failure
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.portal.client import ClientView
from canfar_spawner.portal.language import say, say_many
from canfar_spawner.portal.views import Meaning
from canfar_spawner.portal.words import STATES, STILL_COUNTED, duration, iso, state


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session or batch job as these pages show it."""

    id: str
    name: str
    kind_title: str
    icon: str
    kind: str
    interactive: bool
    container: str
    version: str
    state_word: str
    state_meaning: Meaning
    reason: str
    ends_at: str
    time_left: str
    """Empty once it has ended."""
    ended_at: str
    url: str
    """Where it opens; empty where nothing does now."""
    live: bool
    stopping: bool


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A session that somebody else shares with whoever looks."""

    id: str
    owner: str
    name: str
    container: str
    until: str
    url: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The page with all sessions and batch jobs of a user."""

    owner: str
    sessions: tuple[SessionRow, ...]
    jobs: tuple[SessionRow, ...]
    ended: tuple[SessionRow, ...]
    shared: tuple[SharedRow, ...] = ()
    """Of others."""
    said: str = ""
    """What came of the action that led here."""

    @property
    def summary(self) -> str:
        """Say how many of each there are."""
        sessions = say_many("%(num)s session", "%(num)s sessions", len(self.sessions))
        jobs = say_many("%(num)s batch job", "%(num)s batch jobs", len(self.jobs))
        return f"{sessions}, {jobs}"


@dataclass(frozen=True, slots=True)
class StopView:
    """The page that asks once before a session is stopped."""

    session: SessionRow
    scratch: str
    """What will be lost, in a sentence."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class GuestRow:
    """Somebody who may enter now."""

    name: str
    here_since: str = ""
    """Empty for who is not in the session now."""


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One way by which others may enter, and who may by it."""

    id: str
    how: str
    """*link*, *person* or *group*."""
    title: str
    """*A link*, or whom it is for."""
    until: str
    link_until: str
    """Until when a link can be taken up; empty for the other ways, and once it cannot."""
    guests: tuple[GuestRow, ...] = ()
    storage: bool = False
    """Whether the panel shows them the owner's storage, for reading."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that happened to a session's sharing."""

    at: str
    what: str


@dataclass(frozen=True, slots=True)
class ShareView:
    """The page on which a session is shared and on which all sharing of it is seen."""

    session: SessionRow
    means: str
    shares: tuple[ShareRow, ...]
    others: tuple[GuestRow, ...]
    """Who is in it without a share."""
    audit: tuple[AuditRow, ...]
    groups: tuple[str, ...]
    lengths: tuple[tuple[str, str], ...]
    """How long a share may last: value and word."""
    most_people: int = 1
    """How many may come in by one link at most."""
    storage: bool = False
    """Whether a share may open storage: the session can have the panel that shows it."""
    warning: str = ""
    """A standing warning on sharing at this site."""
    link: str = ""
    """A link that was just made; shown this once."""
    link_until: str = ""
    """Until when it can be taken up."""
    said: str = ""
    error: str = ""
    error_field: str = ""
    person: str = ""
    """What was typed, where it was refused."""
    with_storage: bool = False
    """What was chosen then."""
    off: str = ""
    """Why nothing can be shared here."""


@dataclass(frozen=True, slots=True)
class JoinView:
    """The page behind a link, for whoever was given it."""

    code: str
    owner: str
    name: str
    container: str
    until: str
    warning: str = ""
    """A standing warning on sharing at this site."""
    refused: str = ""
    """Why the link opens nothing."""


def _said(sentence: str) -> str:
    return say(sentence) if sentence else ""


def _state(record: SessionRecord, evidence: Evidence) -> tuple[str, Meaning, str]:
    """Give word, meaning and reason of a session."""
    if record.ended is not None:
        words = REASONS[record.reason]
        told = "" if record.detail == words.sentence else record.detail
        text = explained(_said(words.sentence), told)
        failed = is_failure(record.reason, interactive=record.interactive)
        return (say("Failed"), "bad", text) if failed else (say("Ended"), "neutral", text)
    if record.ending is not None:
        return say(STATES[Phase.ENDING]), "busy", _said(REASONS[record.ending].sentence)
    ready = record.ready is not None and evidence.life is Life.RUNNING
    word, meaning = state(evidence.life, evidence.phase, ready=ready, failed=False)
    why = _said(REASONS[evidence.reason].sentence)
    if evidence.life is Life.UNKNOWN:
        why = say(STILL_COUNTED)
    return word, meaning, evidence.detail or why


def session_row(record: SessionRecord, evidence: Evidence, now: datetime) -> SessionRow:
    """Put what is known of a session into words."""
    plan = record.plan
    word, meaning, reason = _state(record, evidence)
    stopping = record.live and record.ending is not None
    opens = record.live and not stopping and record.url
    return SessionRow(
        id=record.id,
        name=record.name,
        kind_title=say(KINDS[plan.kind].title),
        icon=KINDS[plan.kind].icon,
        kind=plan.kind.value,
        interactive=record.interactive,
        container=plan.title,
        version=plan.version,
        state_word=word,
        state_meaning=meaning,
        reason=reason,
        ends_at=iso(record.ends) if record.live else "",
        time_left=duration(record.ends - now) if record.live else "",
        ended_at=iso(record.ended) if record.ended else "",
        url=record.url if opens else "",
        live=record.live,
        stopping=stopping,
    )


def listing(
    owner: str,
    rows: Iterable[SessionRow],
    *,
    shared: Iterable[SharedRow] = (),
    said: str = "",
) -> Listing:
    """Sort a user's sessions into those with a page, jobs, and what has ended."""
    found = tuple(rows)
    return Listing(
        owner=owner,
        sessions=tuple(row for row in found if row.live and row.interactive),
        jobs=tuple(row for row in found if row.live and not row.interactive),
        ended=tuple(row for row in found if not row.live),
        shared=tuple(shared),
        said=said,
    )


@dataclass(frozen=True, slots=True)
class ProblemView:
    """A page that says what went wrong and where to go on."""

    title: str
    sentence: str
    status: int


@dataclass(frozen=True, slots=True)
class LogsView:
    """What a batch job wrote."""

    session: SessionRow
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ScriptsView:
    """The page for scripts and batch jobs."""

    client: ClientView
    config_path: str
    rules: tuple[str, ...]
    """What a batch job may count on here, in sentences."""
    local: bool
    """The hub is on the reader's own machine."""
    local_name: str
    """A name that browsers find and programs may not; mostly empty."""
