"""Who may do what with a session: decided by the scopes of the presented token alone.

A scope is JupyterHub's, expanded by the hub to what the token really holds. Names of users are
compared only inside a scope's filter, never by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.names import SessionId

SESSION_SCOPE: Final = "custom:canfar:session"
ACCESS_SCOPE: Final = "access:servers"
START_SCOPE: Final = "start:servers"


class Action(StrEnum):
    """What somebody may want to do with a session."""

    SEE = "see"
    ENTER = "enter"
    LEAVE = "leave"
    EXTEND = "extend"
    SHARE = "share"
    STOP = "stop"
    CREATE = "create"
    LIST = "list"


class Standing(StrEnum):
    """What a token makes of its bearer, for one session."""

    OWNER = "owner"
    """All sessions of the user."""
    SESSION = "session"
    """This session, with the owner's rights."""
    VISITOR = "visitor"
    """May enter, see whose it is and until when, and leave."""
    STRANGER = "stranger"


_TABLE: Final[dict[Standing, frozenset[Action]]] = {
    Standing.OWNER: frozenset(
        {Action.SEE, Action.ENTER, Action.EXTEND, Action.SHARE, Action.STOP, Action.LIST}
    ),
    Standing.SESSION: frozenset({Action.SEE, Action.EXTEND, Action.SHARE, Action.STOP}),
    Standing.VISITOR: frozenset({Action.SEE, Action.ENTER, Action.LEAVE}),
    Standing.STRANGER: frozenset(),
}


class Authority(Frozen):
    """A bearer's standing and what it permits."""

    standing: Standing
    actions: frozenset[Action]

    def permits(self, action: Action) -> bool:
        """Say whether the bearer may do this."""
        return action in self.actions


def _holds(scopes: frozenset[str], scope: str, filters: Iterable[str]) -> bool:
    return scope in scopes or any(f"{scope}!{filter_}" in scopes for filter_ in filters)


def authority(scopes: Iterable[str], *, owner: str, session: SessionId | None) -> Authority:
    """Weigh a token's scopes against one session.

    Parameters
    ----------
    scopes : iterable of str
        The token's expanded scopes.
    owner : str
        Whose session, or whose sessions, it is about.
    session : SessionId or None
        None asks about the owner's sessions as a whole: listing and creating.
    """
    held = frozenset(scopes)
    user = (f"user={owner}",)
    server = () if session is None else (f"server={owner}/{session}",)
    if _holds(held, SESSION_SCOPE, user):
        actions = _TABLE[Standing.OWNER]
        if _holds(held, START_SCOPE, user):
            actions |= {Action.CREATE}
        return Authority(standing=Standing.OWNER, actions=actions)
    if session is not None and _holds(held, SESSION_SCOPE, server):
        actions = _TABLE[Standing.SESSION]
        if _holds(held, ACCESS_SCOPE, (*user, *server)):
            actions |= {Action.ENTER}
        return Authority(standing=Standing.SESSION, actions=actions)
    if session is not None and _holds(held, ACCESS_SCOPE, (*user, *server)):
        return Authority(standing=Standing.VISITOR, actions=_TABLE[Standing.VISITOR])
    return Authority(standing=Standing.STRANGER, actions=_TABLE[Standing.STRANGER])
