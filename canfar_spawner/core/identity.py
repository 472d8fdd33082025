"""Who a user is to the file system."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from canfar_spawner.core.frozen import Frozen

PosixId = Annotated[int, Field(ge=1000, le=2**31 - 2, strict=True)]
"""A user or group id; ids below 1000 belong to the operating system."""

PosixName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]


class PosixGroup(Frozen):
    """A group as the kernel sees it."""

    name: PosixName
    gid: PosixId


class PosixIdentity(Frozen):
    """One user: ids, groups and the projects the groups open."""

    name: PosixName
    uid: PosixId
    group: PosixGroup
    """The primary group."""
    groups: tuple[PosixGroup, ...] = ()
    """Supplementary groups."""
    projects: tuple[str, ...] = ()
    """Names of the projects under ``/arc/projects`` whose group is one of `groups`."""

    @property
    def gids(self) -> tuple[int, ...]:
        """All supplementary group ids, in order, without the primary one."""
        return tuple(sorted({group.gid for group in self.groups} - {self.group.gid}))

    @property
    def group_names(self) -> frozenset[str]:
        """The names of all groups."""
        return frozenset({self.group.name, *(group.name for group in self.groups)})


class IdentitySource(Protocol):
    """Where identities come from: a users file, verified claims, a directory."""

    def identity(self, name: str) -> PosixIdentity:
        """Look up a user by the name the hub has verified.

        Raises
        ------
        NotAllowed
            The user is not known, or known twice: there is no default identity.
        Unavailable
            The source did not answer.
        """
        ...
