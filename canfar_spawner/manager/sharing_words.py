"""What pages and panels say of sharing: its ways, its lengths, what happened."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from canfar_spawner.manager.shares import Deed, How, Line, Share
from canfar_spawner.portal.language import marked, say

LENGTHS: Final = (
    (1, marked("for an hour")),
    (8, marked("for 8 hours")),
    (24, marked("for a day")),
    (168, marked("for a week")),
)
"""Hours and words."""
TO_THE_END: Final = marked("until it ends")
_HOW: Final = {
    How.LINK: marked("A link"),
    How.PERSON: "%(whom)s",
    How.GROUP: marked("The group %(whom)s"),
}
_DEEDS: Final = {
    Deed.SHARED: marked("%(by)s shared it with %(whom)s"),
    Deed.LINKED: marked("%(by)s made a link"),
    Deed.JOINED: marked("%(whom)s came by a link"),
    Deed.REVOKED: marked("%(by)s revoked the share with %(whom)s"),
    Deed.REMOVED: marked("%(by)s removed %(whom)s"),
    Deed.LEFT: marked("%(whom)s left"),
    Deed.EXPIRED: marked("The share with %(whom)s was over"),
    Deed.ENDED: marked("The share with %(whom)s ended with the session"),
    Deed.CAME: marked("%(whom)s came in"),
    Deed.WENT: marked("%(whom)s went"),
    Deed.UNKNOWN: marked("%(whom)s was let in at the hub and not here; that was taken back"),
}
_WITH_STORAGE: Final = {
    Deed.SHARED: marked("%(by)s shared it with %(whom)s, with storage to read"),
    Deed.LINKED: marked("%(by)s made a link, with storage to read"),
}


def title(share: Share) -> str:
    """Name a share."""
    return say(_HOW[share.how], whom=share.whom)


def happened(line: Line) -> str:
    """Put one thing that happened into words."""
    own = line.deed in (Deed.CAME, Deed.WENT, Deed.LEFT, Deed.JOINED)
    whom = line.whom or line.by if own else _whom(line.how, line.whom)
    words = _WITH_STORAGE.get(line.deed) if line.storage else None
    return say(words or _DEEDS[line.deed], by=line.by, whom=whom)


def _whom(how: How | None, whom: str) -> str:
    if how is How.GROUP:
        return say("the group %(whom)s", whom=whom)
    return whom or say("a link")


def lengths(longest: timedelta, left: timedelta) -> tuple[tuple[int | None, str], ...]:
    """Give the lengths that a share may have, in hours, the longest last."""
    most = min(longest, left)
    shorter = (each for each in LENGTHS if timedelta(hours=each[0]) < most)
    return (*((hours, say(words)) for hours, words in shorter), (None, say(TO_THE_END)))
