"""Links: whoever is given one, and is signed in, may come into one session until it ends.

The code in a link is random and known to whoever holds the link only; what is kept is its digest.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

from canfar_spawner.core.errors import Conflict, Invalid, NotAllowed
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.sharing import MOST_BY_LINK
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.shares import Share, Terms
from canfar_spawner.manager.sharing import Sharing

_BYTES: Final = 24
"""192 random bits: 32 characters."""
_LONGEST: Final = 200
_NOTHING: Final = "This link opens nothing: it has ended, or was never made. Ask for another."


class Invitation(Frozen):
    """What a link opens, for whoever holds it."""

    owner: str
    session: str
    name: str
    """As the owner calls the session."""
    container: str
    until: datetime
    """Until when one may come in."""
    url: str
    """Where the session opens."""


class Links:
    """Makes links and lets in whoever takes one up.

    Parameters
    ----------
    sharing : Sharing
    find : callable
        Gives the record of a session, None where there is none.
    clock : callable
        Gives the time in UTC.
    page : str
        Where a link is opened, as browsers write it.
    """

    def __init__(
        self,
        sharing: Sharing,
        *,
        find: Callable[[str], SessionRecord | None],
        clock: Callable[[], datetime],
        page: str,
    ) -> None:
        self._sharing = sharing
        self._find = find
        self._clock = clock
        self._page = page

    async def make(
        self, record: SessionRecord, terms: Terms, *, people: int = 1
    ) -> tuple[Share, str]:
        """Make a link to a session.

        Parameters
        ----------
        record : SessionRecord
        terms : Terms
            On which whoever comes in by it does.
        people : int
            How many may.

        Returns
        -------
        tuple
            The share, and the link's code, which nobody can be told again.
        """
        if not 1 <= people <= MOST_BY_LINK:
            raise Invalid(f"A link is for 1 to {MOST_BY_LINK} people.", field="people")
        code = secrets.token_urlsafe(_BYTES)
        share = await self._sharing.by_link(record, digest(code), terms, people=people)
        return share, code

    def url(self, code: str) -> str:
        """Give the link with this code."""
        return f"{self._page}?code={code}"

    def look(self, code: str) -> Invitation:
        """Say what a link opens.

        Raises
        ------
        NotAllowed
            It opens nothing; why is not told, as that would help whoever guesses.
        """
        return self._open(code)[1]

    async def accept(self, code: str, name: str) -> Invitation:
        """Let the person of this name, who is signed in, in by a link.

        Raises
        ------
        NotAllowed
            It opens nothing, or has let in as many as it should.
        Conflict
            It is her own session.
        """
        share, invitation = self._open(code)
        if name == share.owner:
            raise Conflict("This session is yours. Open it from your home page.")
        if await self._sharing.join(share, name) is None:
            raise NotAllowed(_NOTHING, code="link_over")
        return invitation

    def _open(self, code: str) -> tuple[Share, Invitation]:
        share = self._sharing.link(digest(code)) if code and len(code) <= _LONGEST else None
        record = self._find(share.session) if share else None
        if (
            share is None
            or record is None
            or not record.live
            or record.ending is not None
            or not share.open_link(self._clock())
            or self._sharing.off()
        ):
            raise NotAllowed(_NOTHING, code="link_over")
        return share, Invitation(
            owner=record.owner,
            session=record.id,
            name=record.name,
            container=record.plan.title,
            until=share.until,
            url=record.url,
        )


def digest(code: str) -> str:
    """Give what is kept of a code."""
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
