"""Whom a session can be shared with: people the hub knows, and the groups of its owner."""

from __future__ import annotations

from canfar_spawner.core.errors import NotAllowed, SessionError, Unavailable
from canfar_spawner.manager.identities import HubIdentities


def groups_with_others(identities: HubIdentities, owner: str) -> tuple[str, ...]:
    """Give the groups that somebody can share with, by name: not the one that is hers alone."""
    try:
        return tuple(sorted(each.name for each in identities.identity(owner).groups))
    except SessionError:
        return ()


class KnownPeople:
    """See `canfar_spawner.manager.shares.People`.

    Parameters
    ----------
    identities : HubIdentities
    """

    def __init__(self, identities: HubIdentities) -> None:
        self._identities = identities

    def knows(self, name: str) -> bool:
        """Say whether somebody of this name is known; who may launch nothing may visit."""
        try:
            self._identities.identity(name)
        except NotAllowed as error:
            return error.code == "refused_user"
        except Unavailable:
            return False
        return True

    def members(self, group: str) -> frozenset[str]:
        """Give everybody in a group."""
        return frozenset(self._identities.members(group))

    def groups(self, name: str) -> frozenset[str]:
        """Give the groups of a user, none where nothing certain is known of her."""
        identity = self._identities.current(name)
        return identity.group_names if identity is not None else frozenset()
