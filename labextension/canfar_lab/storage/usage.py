"""How full an area or a project is, from whoever limits it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from canfar_lab.storage import paths
from canfar_lab.storage.areas import Areas, Place
from canfar_lab.storage.errors import Refused, from_os_error
from canfar_lab.storage.tree import Count, count

_LIMIT = "ceph.quota.max_bytes"
_USED = "ceph.dir.rbytes"
_LOOK_FOR = 1.0
"""Seconds that counting may take, where nobody else has counted."""


def usage(areas: Areas, asked: Mapping[str, str]) -> dict[str, Any]:
    """Answer how full something is.

    CephFS knows what a folder may hold and what it holds. Elsewhere what is in it is counted, as far as
    a second goes, and there is the file system, which others fill as well.

    Raises
    ------
    Refused
    """
    place = areas.locate(asked.get("area", ""), asked.get("path", ""))
    told: dict[str, Any] = {"used": None, "limit": None, "free": None, "of": "unknown"}
    told |= {"complete": True, "at": int(time.time())}
    if place.area.tops is not None and not place.parts:
        return told
    try:
        return told | (_quota(place) or _disk(place))
    except OSError as error:
        raise from_os_error(error, place.name) from None


def quotas(areas: Areas) -> list[dict[str, Any]]:
    """Give how full home and projects are, where somebody limits them.

    Returns
    -------
    list of dict
        For each its ``path`` on arc, what is ``used`` and the ``quota``, in bytes.
    """
    found = []
    for area in areas.areas:
        for top in ("",) if area.tops is None else sorted(area.tops):
            place = Place(area, (top,) if top else ())
            try:
                told = None if place.arc is None else _quota(place)
            except (OSError, Refused):
                # A project that is not there, or an area that cannot be read now.
                continue
            if told is not None:
                found.append({"path": place.arc, "used": told["used"], "quota": told["limit"]})
    return found


def _quota(place: Place) -> dict[str, Any] | None:
    """Ask CephFS: the first folder upwards that has a quota says what it is."""
    with place.area.open_root() as root:
        for depth in range(len(place.parts), -1, -1):
            folder = paths.open_folder(root, place.parts[:depth])
            try:
                limit = _attribute(folder, _LIMIT)
                used = _attribute(folder, _USED)
            finally:
                os.close(folder)
            if limit:
                return {
                    "used": used,
                    "limit": limit,
                    "free": None if used is None else max(0, limit - used),
                    "of": "quota",
                }
    return None


def _attribute(folder: int, name: str) -> int | None:
    try:
        return int(os.getxattr(folder, name))
    except (OSError, ValueError):
        # No CephFS, or no quota here.
        return None


def _disk(place: Place) -> dict[str, Any]:
    folder = place.open_folder()
    try:
        found = os.fstatvfs(folder)
        counted = Count()
        for _ in count(folder, counted, until=time.monotonic() + _LOOK_FOR):
            continue
        return {
            "used": counted.bytes,
            "limit": found.f_blocks * found.f_frsize or None,
            "free": found.f_bavail * found.f_frsize,
            "of": "disk",
            "complete": counted.complete,
        }
    finally:
        os.close(folder)
