"""What a session finds under which path, and what is left of it afterwards."""

from __future__ import annotations

import posixpath
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field

from canfar_spawner.core.errors import Invalid, NotAllowed, listing, shown
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixIdentity

ARC_HOME = "/arc/home"
ARC_PROJECTS = "/arc/projects"
SCRATCH = "/scratch"

ProjectName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

_LONGEST_PATH = 1024


class Area(StrEnum):
    """The kinds of storage a session can have."""

    HOME = "home"
    PROJECT = "project"
    SCRATCH = "scratch"
    SHARED_MEMORY = "shared memory"
    CVMFS = "cvmfs"
    SITE = "site"


class Persistence(StrEnum):
    """What happens to the files of an area when the session ends."""

    BACKED_UP = "kept and backed up"
    KEPT = "kept, no backup"
    WIPED = "wiped when the session ends"


class AreaPolicy(Frozen):
    """What a site promises about an area."""

    persistence: Persistence
    quota_gb: Annotated[int, Field(gt=0)] | None = None


class StoragePolicy(Frozen):
    """What a site promises about each area."""

    home: AreaPolicy = AreaPolicy(persistence=Persistence.KEPT)
    projects: AreaPolicy = AreaPolicy(persistence=Persistence.KEPT)
    scratch_gb: Annotated[int, Field(gt=0)] = 200
    shared_memory_gb: Annotated[int, Field(ge=0)] = 1
    cvmfs: bool = False


class Mount(Frozen):
    """One path of a session."""

    path: str
    area: Area
    name: str
    """The user of a home, the project's name, else empty."""
    persistence: Persistence
    read_only: bool = False


class StoragePlan(Frozen):
    """All the paths of a session."""

    mounts: tuple[Mount, ...]

    def find(self, area: Area) -> tuple[Mount, ...]:
        """Give the mounts of one area, in order."""
        return tuple(mount for mount in self.mounts if mount.area is area)

    @property
    def home(self) -> str:
        """The path of the owner's home."""
        return self.find(Area.HOME)[0].path


def _projects(
    asked: tuple[str, ...] | None, identity: PosixIdentity, known: frozenset[str]
) -> tuple[str, ...]:
    mine = tuple(sorted(project for project in identity.projects if project in known))
    if asked is None:
        return mine
    for project in asked:
        if project not in mine:
            raise NotAllowed(
                f"The project {shown(project)} is not one of yours"
                + (
                    f"; yours are {listing(mine, conjunction='and')}."
                    if mine
                    else "; you have none."
                )
                + " Its group's administrator can add you.",
                field="projects",
                allowed=mine,
            )
    return tuple(sorted(set(asked)))


def plan_storage(
    *,
    projects: tuple[str, ...] | None,
    identity: PosixIdentity,
    policy: StoragePolicy,
    known_projects: frozenset[str],
) -> StoragePlan:
    """Decide which paths a session gets.

    Parameters
    ----------
    projects : tuple of str or None
        The projects asked for; None means all of the user's.
    identity : PosixIdentity
    policy : StoragePolicy
    known_projects : frozenset of str
        The projects of the site.

    Raises
    ------
    NotAllowed
        A project is not one of the user's.
    """
    mounts = [
        Mount(
            path=f"{ARC_HOME}/{identity.name}",
            area=Area.HOME,
            name=identity.name,
            persistence=policy.home.persistence,
        )
    ]
    mounts += [
        Mount(
            path=f"{ARC_PROJECTS}/{project}",
            area=Area.PROJECT,
            name=project,
            persistence=policy.projects.persistence,
        )
        for project in _projects(projects, identity, known_projects)
    ]
    mounts.append(Mount(path=SCRATCH, area=Area.SCRATCH, name="", persistence=Persistence.WIPED))
    if policy.shared_memory_gb:
        mounts.append(
            Mount(
                path="/dev/shm",  # noqa: S108 - the kernel's name for it, not a temporary file
                area=Area.SHARED_MEMORY,
                name="",
                persistence=Persistence.WIPED,
            )
        )
    if policy.cvmfs:
        mounts.append(
            Mount(
                path="/cvmfs",
                area=Area.CVMFS,
                name="",
                persistence=Persistence.KEPT,
                read_only=True,
            )
        )
    return StoragePlan(mounts=tuple(mounts))


def check_open(path: str, storage: StoragePlan) -> str:
    """Accept the path a session is to show when it is ready.

    Raises
    ------
    Invalid
        Not an absolute, normalised path without braces beneath a home or project of this
        session.
    """
    mounts = (*storage.find(Area.HOME), *storage.find(Area.PROJECT))
    roots = tuple(mount.path for mount in mounts)
    # JupyterHub fills in braces wherever it takes an address from a session.
    plain = len(path) <= _LONGEST_PATH and path.isprintable() and not {"{", "}"} & set(path)
    inside = plain and any(PurePosixPath(path).is_relative_to(root) for root in roots)
    if not inside or posixpath.normpath(path) != path:
        raise Invalid(
            f"{shown(path)} cannot be opened: give a path beneath {listing(roots)},"
            " without .. and braces.",
            field="open",
            allowed=roots,
        )
    return path
