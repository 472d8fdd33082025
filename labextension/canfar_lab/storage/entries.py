"""One file or folder: what it is, and what changes its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from canfar_lab.storage import paths
from canfar_lab.storage.areas import Areas, Place
from canfar_lab.storage.errors import Refused, from_os_error, shown
from canfar_lab.storage.pages import group_name, letter_of, link_of, owner_name


def entry(areas: Areas, asked: Mapping[str, str]) -> dict[str, Any]:
    """Describe what a path means: one within an area, or an absolute one.

    Raises
    ------
    Refused
    """
    at = asked.get("at", "")
    if not at:
        return described(areas, areas.locate(asked.get("area", ""), asked.get("path", "")))
    if at == "~" or at.startswith("~/"):
        return described(areas, areas.locate("home", at[2:].strip("/")))
    if not at.startswith("/"):
        raise Refused("invalid", f"{shown(at)} must begin with / or ~/; write the whole path.")
    return described(areas, areas.locate_absolute(at))


def described(areas: Areas, place: Place) -> dict[str, Any]:
    """Describe what is at a place; a link is described as one."""
    try:
        if place.parts:
            with place.parent() as (at, name):
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                letter, link = letter_of(found.st_mode), None
                if letter == "l":
                    above = Place(place.area, place.parts[:-1])
                    letter, link = link_of(areas, above, name, at)
        else:
            with place.area.open_root() as root:
                found, letter, link = os.fstat(root), "d", None
    except OSError as error:
        raise from_os_error(error, place.name) from None
    return {
        "area": place.area.id,
        "path": place.path,
        "name": place.name,
        "absolute": place.absolute,
        "arc": place.arc,
        "type": letter,
        "size": found.st_size,
        "modified": int(found.st_mtime),
        "mode": found.st_mode,
        "owner": owner_name(found.st_uid),
        "group": group_name(found.st_gid),
        "link": link,
    }


def make_folder(areas: Areas, area: str, path: str) -> dict[str, Any]:
    """Make a folder, and describe it.

    Raises
    ------
    Refused
    """
    place = areas.locate(area, path, follow=False).to_change()
    try:
        with place.parent() as (at, name):
            os.mkdir(name, dir_fd=at)
    except OSError as error:
        raise from_os_error(error, place.name) from None
    return described(areas, place)


def rename(areas: Areas, area: str, path: str, new_name: str) -> dict[str, Any]:
    """Give something another name in its folder, and describe it; nothing is ever replaced.

    Raises
    ------
    Refused
    """
    place = areas.locate(area, path, follow=False).to_change()
    paths.check_name(new_name)
    renamed = Place(place.area, (*place.parts[:-1], new_name)).to_change()
    try:
        with place.parent() as (at, name):
            # Said of what is renamed where that is missing, and of the new name where that is taken.
            os.stat(name, dir_fd=at, follow_symlinks=False)
            paths.move_new(at, name, at, new_name)
    except FileExistsError as error:
        raise from_os_error(error, new_name) from None
    except OSError as error:
        raise from_os_error(error, place.name) from None
    return described(areas, renamed)
