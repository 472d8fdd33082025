"""Names: session ids, launch ids, and the names of objects made for a session."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import NewType

from canfar_spawner.core.errors import Invalid, shown

SessionId = NewType("SessionId", str)
LaunchId = NewType("LaunchId", str)

_FIRST = "abcdefghijklmnopqrstuvwxyz"
_REST = _FIRST + "0123456789"
_SESSION_ID = re.compile(r"[a-z][a-z0-9]{7}")
_LAUNCH_ID = re.compile(r"[a-z][a-z0-9]{7}-[a-z0-9]{12}")
_SAFE_OWNER = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

_OWNER_LENGTH = 30
_HASH_LENGTH = 16


def session_id(text: str, *, field: str = "session") -> SessionId:
    """Accept a session id as it stands in addresses.

    Raises
    ------
    Invalid
        It is not a lower-case letter followed by seven letters or digits.
    """
    if not _SESSION_ID.fullmatch(text):
        raise Invalid(
            f"{shown(text)} is not a session id: a lower-case letter and seven lower-case"
            " letters or digits.",
            field=field,
        )
    return SessionId(text)


def new_session_id(choose: Callable[[str], str]) -> SessionId:
    """Make a session id.

    Parameters
    ----------
    choose : callable
        Picks one character of a string at random, such as `secrets.choice`.
    """
    return SessionId(choose(_FIRST) + "".join(choose(_REST) for _ in range(7)))


def new_launch_id(session: SessionId, choose: Callable[[str], str]) -> LaunchId:
    """Make the id of one launch of a session; starts with the session's own."""
    return LaunchId(f"{session}-" + "".join(choose(_REST) for _ in range(12)))


def launch_id(text: str) -> LaunchId:
    """Accept a launch id read back from state or a label; raises ValueError otherwise."""
    if not _LAUNCH_ID.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a launch id")
    return LaunchId(text)


def session_of(launch: LaunchId) -> SessionId:
    """Give the session that a launch was of.

    Examples
    --------
    >>> session_of(LaunchId("k3vd81qa-0123456789ab"))
    'k3vd81qa'
    """
    return SessionId(launch.rpartition("-")[0])


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return base64.b32encode(raw).decode().lower()[:_HASH_LENGTH]


def owner_slug(owner: str) -> str:
    """Write a user name in characters that object names allow, differently for each user.

    A name that is safe already stays as it is. Any other keeps its safe letters and gets a
    hash behind three dashes, which no safe name can contain: ``a-b`` and ``a_b``, or ``Ada``
    and ``ada``, never meet (the fault of CVE-2020-15110).
    """
    if _SAFE_OWNER.fullmatch(owner) and len(owner) <= _OWNER_LENGTH:
        return owner
    kept = re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-")
    kept = kept[: _OWNER_LENGTH - _HASH_LENGTH].strip("-") or "u"
    return f"{kept}---{_digest(owner)}"


def object_name(owner: str, session: SessionId) -> str:
    """Name the pod, Secret or process of a session: a valid RFC 1123 label, ≤ 63 characters.

    The session id has a fixed length and stands first, so two pairs of owner and session share
    a name only if both parts are equal.
    """
    return f"{session}-{owner_slug(owner)}"
