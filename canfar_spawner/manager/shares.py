"""What a share is, whom it lets in until when, and what is needed to keep it so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.names import SessionId


class How(StrEnum):
    """By which way others may enter."""

    PERSON = "person"
    GROUP = "group"
    LINK = "link"


class Deed(StrEnum):
    """What is written down of a session's sharing."""

    SHARED = "shared"
    LINKED = "link made"
    JOINED = "link taken up"
    REVOKED = "revoked"
    REMOVED = "removed"
    """One person was taken out of what goes on for others."""
    LEFT = "left"
    EXPIRED = "expired"
    ENDED = "ended with the session"
    CAME = "came in"
    WENT = "went"
    UNKNOWN = "removed at the hub: nobody shared it here"


class Terms(Frozen):
    """On what terms somebody is let in."""

    by: str
    """Who lets her in."""
    until: datetime | None = None
    """None: until the session ends, or for as long as the site permits."""
    storage: bool = False
    """Whether the panel shows her the owner's storage, for reading."""


class Share(Frozen):
    """One way by which others may enter a session."""

    id: str
    session: SessionId
    owner: str
    how: How
    whom: str = ""
    """The person or the group; nothing for a link."""
    until: datetime
    made: datetime
    by: str
    link_until: datetime | None = None
    """A link is taken up before this."""
    code: str = ""
    """The digest of a link's code; the code itself is kept nowhere."""
    people: int = 1
    """How many may come in by a link."""
    storage: bool = False
    """Whether the panel shows the owner's storage to whom it lets in, for reading."""
    joined: tuple[str, ...] = ()
    """Who has taken up the link."""
    left: tuple[str, ...] = ()
    """Who is let in no more by it: she left, or was removed."""
    over: datetime | None = None
    why: str = ""

    def names(self, members: Callable[[str], Iterable[str]]) -> frozenset[str]:
        """Give everybody whom it lets in."""
        match self.how:
            case How.PERSON:
                found = {self.whom}
            case How.GROUP:
                found = set(members(self.whom))
            case How.LINK:
                found = set(self.joined)
        return frozenset(found - set(self.left) - {self.owner})

    @property
    def full(self) -> bool:
        """Whether nobody new may come in by the link."""
        return len(self.joined) >= self.people

    def past(self, now: datetime) -> bool:
        """Say whether its time is over, or that of a link before anybody took it up."""
        unused = self.how is How.LINK and not self.joined and not self.open_link(now)
        return unused or self.until <= now

    def open_link(self, now: datetime) -> bool:
        """Say whether somebody may still take up the link."""
        return (
            self.how is How.LINK
            and self.over is None
            and self.link_until is not None
            and now < min(self.link_until, self.until)
        )


class Entrant(Frozen):
    """Somebody who may enter a session."""

    name: str
    until: datetime
    shares: tuple[str, ...]
    """By which shares."""
    storage: bool = False
    """Whether any of them opens the owner's storage to her, for reading."""
    here_since: datetime | None = None
    """Since when she is in it; None while she is not."""


class Line(Frozen):
    """One line of what happened to a session's sharing."""

    at: datetime
    session: SessionId
    owner: str
    by: str
    deed: Deed
    whom: str = ""
    how: How | None = None
    until: datetime | None = None
    storage: bool = False


def entrants(
    shares: Iterable[Share], now: datetime, members: Callable[[str], Iterable[str]]
) -> dict[str, Entrant]:
    """Give everybody whom any of the shares lets in now, each until the last of them ends."""
    found: dict[str, Entrant] = {}
    for share in shares:
        if share.over is not None or share.until <= now:
            continue
        for name in share.names(members):
            known = found.get(name)
            found[name] = Entrant(
                name=name,
                until=max(share.until, known.until) if known else share.until,
                shares=(*known.shares, share.id) if known else (share.id,),
                storage=share.storage or (known is not None and known.storage),
            )
    return found


class Book(Protocol):
    """Where shares and what happened to them are kept."""

    async def load(self, sessions: Iterable[SessionId]) -> tuple[Share, ...]:
        """Give the shares of these sessions that are not over."""
        ...

    async def keep(self, share: Share) -> None:
        """Write a share as it is now."""
        ...

    async def note(self, lines: Iterable[Line]) -> None:
        """Write down what happened."""
        ...

    async def lines(self, session: SessionId) -> tuple[Line, ...]:
        """Give what happened to a session's sharing, the oldest first."""
        ...

    async def past(self, session: SessionId) -> tuple[Share, ...]:
        """Give all shares that a session ever had."""
        ...


class People(Protocol):
    """Whom the platform knows."""

    def knows(self, name: str) -> bool:
        """Say whether somebody of this name has ever signed in or been let in."""
        ...

    def members(self, group: str) -> frozenset[str]:
        """Give everybody in a group."""
        ...

    def groups(self, name: str) -> frozenset[str]:
        """Give the groups of a user."""
        ...


class HubShares(Protocol):
    """The hub's own list of who may enter a session."""

    async def share(self, owner: str, session: SessionId, user: str) -> None:
        """Let somebody in."""
        ...

    async def unshare(self, owner: str, session: SessionId, user: str) -> None:
        """Let somebody in no more."""
        ...

    async def unshare_all(self, owner: str, session: SessionId) -> None:
        """Let nobody in but the owner."""
        ...

    async def shared_with(self, owner: str, session: SessionId) -> frozenset[str]:
        """Say who is let in."""
        ...
