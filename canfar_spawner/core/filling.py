"""How much of each home and project is taken, as pages show it: decided from what was measured."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.resources import GIB
from canfar_spawner.core.storage import (
    ARC_HOME,
    ARC_PROJECTS,
    Area,
    AreaPolicy,
    Persistence,
    StoragePolicy,
)

FULL: Final = 0.9
"""The part of what there is above which an area is shown as full."""


class Measured(Frozen):
    """What was found of a directory; None is what could not be."""

    at: datetime
    used: int | None = None
    """Bytes."""
    complete: bool = True
    """Otherwise there was no time to count everything, and `used` is the least there is."""
    quota: int | None = None
    """Bytes that the file system itself allows."""
    disk: int | None = None
    """Bytes of the whole disk, which others fill as well."""
    free: int | None = None
    """Bytes that are left on the disk."""


class Place(Frozen):
    """A home or a project, by where it is."""

    area: Area
    name: str
    path: str
    """As sessions see it."""
    promised: AreaPolicy


class Filling(Frozen):
    """A home or a project with how much of it is taken."""

    area: Area
    name: str
    path: str
    kept: Persistence
    used: int | None = None
    complete: bool = True
    limit: int | None = None
    """Bytes: what the file system allows, else what the site says."""
    free: int | None = None
    """Bytes left on its disk, where that is less than the limit leaves, or there is no limit."""
    full: bool = False
    """Nine tenths are taken."""
    at: datetime | None = None
    """When it was so; None: never known."""
    known: bool = False
    """It is so now; otherwise it was so at `at`."""


def places(identity: PosixIdentity, policy: StoragePolicy) -> tuple[Place, ...]:
    """Give a user's home and projects."""
    home = Place(
        area=Area.HOME,
        name=identity.name,
        path=f"{ARC_HOME}/{identity.name}",
        promised=policy.home,
    )
    return (
        home,
        *(
            Place(
                area=Area.PROJECT,
                name=name,
                path=f"{ARC_PROJECTS}/{name}",
                promised=policy.projects,
            )
            for name in sorted(identity.projects)
        ),
    )


def filling(place: Place, measured: Measured | None, *, known: bool) -> Filling:
    """Say how much of a place is taken.

    Parameters
    ----------
    place : Place
    measured : Measured or None
        The last measurement, None where there never was one.
    known : bool
        Whether it is recent enough to count as what is so now.
    """
    found = Filling(
        area=place.area, name=place.name, path=place.path, kept=place.promised.persistence
    )
    if measured is None:
        return found
    said = None if place.promised.quota_gb is None else place.promised.quota_gb * GIB
    limit = measured.quota or said
    left = None if limit is None or measured.used is None else max(0, limit - measured.used)
    tight = measured.free is not None and (left is None or measured.free < left)
    return found.model_copy(
        update={
            "used": measured.used,
            "complete": measured.complete,
            "limit": limit,
            "free": measured.free if tight else None,
            "full": _is_full(measured, limit, tight=tight),
            "at": measured.at,
            "known": known,
        }
    )


def _is_full(measured: Measured, limit: int | None, *, tight: bool) -> bool:
    if limit and measured.used is not None and measured.used > FULL * limit:
        return True
    if not tight or not measured.disk or measured.free is None:
        return False
    return measured.disk - measured.free > FULL * measured.disk


def latest(*found: Measured | None) -> Measured | None:
    """Choose of several measurements the last that says how much is used, else the last."""
    there = [each for each in found if each is not None]
    return max(there, key=lambda each: (each.used is not None, each.at), default=None)
