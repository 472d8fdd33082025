"""Which questions of the panel are passed on to the session manager, and as which; pure.

The manager decides by the token that comes along, which is that of whoever asks: a visitor's
permits her less than the owner's, whatever the panel shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

_ROUTES: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "session"): "session/{id}",
    ("PATCH", "session"): "session/{id}",
    ("DELETE", "session"): "session/{id}",
    ("POST", "session/extend"): "session/{id}?action=renew",
    ("GET", "session/scratch"): "session/{id}/scratch",
    ("GET", "sharing"): "session/{id}/sharing",
    ("GET", "sharing/audit"): "session/{id}/audit",
    ("POST", "sharing/shares"): "session/{id}/shares",
    ("DELETE", "sharing/shares"): "session/{id}/shares",
    ("DELETE", "visit"): "shared/{owner}/{id}",
}
PATHS: Final = tuple(dict.fromkeys(path for _, path in _ROUTES))
"""What is answered below ``canfar/`` from the session manager."""
ASKED_OF_OWNER_ALONE: Final = frozenset({"sharing", "sharing/audit", "sharing/shares"})
"""Refused to visitors here already, with a sentence that says why."""


def methods(path: str) -> frozenset[str]:
    """Give the methods that a path has."""
    return frozenset(method for method, known in _ROUTES if known == path)


def target(
    method: str, path: str, *, owner: str, session: str, share: str = "", user: str = ""
) -> str | None:
    """Give where a question goes, below the manager's ``v1/``; None where it goes nowhere.

    Parameters
    ----------
    method, path : str
        As the panel asks.
    owner, session : str
        Whose session this is, and which.
    share, user : str
        The one share, or the one person, that a revocation is about; without both it is about all.
    """
    found = _ROUTES.get((method, path))
    if found is None:
        return None
    place = found.format(owner=quote(owner, safe=""), id=quote(session, safe=""))
    if (method, path) == ("DELETE", "sharing/shares"):
        if share:
            place += f"/{quote(share, safe='')}"
        elif user:
            place += f"?{urlencode({'user': user})}"
    return place
