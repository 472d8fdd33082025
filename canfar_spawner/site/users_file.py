"""Identities from one file: users, their ids and groups.

A user is in a project when she is in its group; which group that is, the catalogue says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import Field, model_validator

from canfar_spawner.core.errors import NotAllowed, shown
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixGroup, PosixId, PosixIdentity, PosixName
from canfar_spawner.core.policy import Project
from canfar_spawner.site.files import Problem, WatchedFile


class User(Frozen):
    """One user of the file."""

    uid: PosixId
    gid: PosixId | None = None
    """The primary group; by default one of the user's own, with the number of the uid."""
    groups: tuple[PosixName, ...] = ()
    admin: bool = False
    """May administer the hub."""


class Users(Frozen):
    """The whole file."""

    demo: bool = False
    """The accounts are for trying the hub out and share one password."""
    groups: dict[PosixName, PosixId] = Field(default_factory=dict)
    users: Annotated[dict[PosixName, User], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        owners: dict[int, str] = {}
        for name, user in self.users.items():
            if user.uid in owners:
                raise ValueError(f"{name} and {owners[user.uid]} have the same uid {user.uid}")
            owners[user.uid] = name
            for group in user.groups:
                if group not in self.groups:
                    raise ValueError(f"{name} is in the group {group}, which has no gid")
        gids: dict[int, str] = {}
        for group, gid in self.groups.items():
            if gid in gids:
                raise ValueError(f"{group} and {gids[gid]} have the same gid {gid}")
            gids[gid] = group
        for name, user in self.users.items():
            primary = user.gid or user.uid
            taken = gids.get(primary)
            if user.gid is None and taken is not None:
                raise ValueError(f"the own group of {name} has the gid of {taken}")
            if taken is not None:
                continue
            # It is called like the user, and being in a group is by name.
            if name in self.groups:
                raise ValueError(f"the own group of {name} has the name of a group")
            if owners.get(primary, name) != name:
                raise ValueError(f"the gid of {name} is the uid of {owners[primary]}: {primary}")
        return self


def missing_groups(users: Users, projects: tuple[Project, ...]) -> tuple[Problem, ...]:
    """Give the groups that projects need and the users file does not have."""
    return tuple(
        Problem(
            path="groups", message=f"the project {project.name} needs the group {project.group}"
        )
        for project in projects
        if project.group not in users.groups
    )


class UsersFile:
    """The identity source that reads `Users`.

    Parameters
    ----------
    file : WatchedFile of Users
    projects : callable
        Gives the site's projects.
    """

    def __init__(
        self, file: WatchedFile[Users], projects: Callable[[], tuple[Project, ...]]
    ) -> None:
        self._file = file
        self._projects = projects

    @property
    def users(self) -> Users:
        """The file as it is now."""
        return self._file.value

    def identity(self, name: str) -> PosixIdentity:
        """Look up a user; see `canfar_spawner.core.identity.IdentitySource`."""
        users = self._file.value
        user = users.users.get(name)
        if user is None:
            raise NotAllowed(
                f"{shown(name)} has no account on this platform's file system. Ask the"
                " administrators for one.",
                code="unknown_user",
            )
        names = {gid: group for group, gid in users.groups.items()}
        gid = user.gid or user.uid
        groups = tuple(PosixGroup(name=group, gid=users.groups[group]) for group in user.groups)
        primary = PosixGroup(name=names.get(gid, name), gid=gid)
        # An own group is called like the user; it never opens a project of that name.
        mine = {*user.groups, *([names[gid]] if gid in names else [])}
        return PosixIdentity(
            name=name,
            uid=user.uid,
            group=primary,
            groups=groups,
            projects=tuple(
                sorted(project.name for project in self._projects() if project.group in mine)
            ),
        )
