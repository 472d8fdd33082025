"""Some rows of a folder, column by column, as the API answers them."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from canfar_lab.storage.areas import Areas, Place
from canfar_lab.storage.errors import Refused, from_os_error
from canfar_lab.storage.folders import Folders, Listing, Look, Names, View, checked_look

_MOST_ROWS = 5000
_NOTHING = -1


def page(folders: Folders, areas: Areas, asked: Mapping[str, str]) -> dict[str, Any]:
    """Answer a request for rows.

    Parameters
    ----------
    folders : Folders
        What is remembered of folders.
    areas : Areas
    asked : mapping
        The words of the request.

    Raises
    ------
    Refused
    """
    look = checked_look(
        asked.get("sort", "name"),
        asked.get("order", "asc"),
        asked.get("filter", ""),
        asked.get("hidden", "0"),
    )
    offset = _number(asked, "offset", 0, None)
    limit = _number(asked, "limit", 500, _MOST_ROWS)
    place = areas.locate(asked.get("area", ""), asked.get("path", ""))
    try:
        folder = place.open_folder()
    except OSError as error:
        raise from_os_error(error, place.name) from None
    try:
        listing, changed = _state(folders, folder, place, look, asked.get("generation", ""))
        view = listing.view(look, folder)
        row = view.find(asked["around"]) if asked.get("around") else None
        if row is not None:
            offset = row - row % limit
        return {
            "area": place.area.id,
            "path": place.path,
            "folder": place.absolute,
            "writable": "reading" not in asked and _writable(place, folder),
            "generation": listing.generation,
            "changed": changed,
            "total": view.total,
            "all": listing.count(hidden=look.hidden),
            "offset": offset,
            "row": row,
            **_columns(areas, place, folder, view, offset, limit),
        }
    except OSError as error:
        raise from_os_error(error, place.name) from None
    finally:
        os.close(folder)


def _number(asked: Mapping[str, str], name: str, default: int, most: int | None) -> int:
    text = asked.get(name, "")
    if not text:
        return default
    # Of thousands of digits Python makes no number; there are no folders of that size.
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= 12 else _NOTHING
    least = 0 if most is None else 1
    if value < least or (most is not None and value > most):
        upto = "" if most is None else f" to {most}"
        raise Refused("invalid", f"{name} must be a whole number from {least}{upto}.")
    return value


def _state(
    folders: Folders, folder: int, place: Place, look: Look, generation: str
) -> tuple[Listing, bool]:
    """Give the state that was asked for, where it is remembered, and whether it is an old one."""
    asked = folders.state(folder, generation) if generation else None
    if asked is not None:
        # However fast the folder changes, whoever looks further down waits for no reading.
        return asked, folders.has_changed(folder, asked)
    return folders.listing(folder, look, *_source(place)), False


def _source(place: Place) -> tuple[Callable[[int], Names], ...]:
    """Say where the names come from, if not from the folder alone."""
    tops = place.area.tops
    if place.parts or tops is None:
        return ()

    def projects(folder: int) -> Names:
        return Names(folders=[name for name in sorted(tops) if _is_folder(name, folder)])

    return (projects,)


def _is_folder(name: str, folder: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _writable(place: Place, folder: int) -> bool:
    tops = not place.parts and place.area.tops is not None
    return place.area.writable and not tops and os.access(".", os.W_OK | os.X_OK, dir_fd=folder)


def _columns(
    areas: Areas, place: Place, folder: int, view: View, offset: int, limit: int
) -> dict[str, Any]:
    names = view.rows(offset, limit)
    types: list[str] = []
    sizes: list[int] = []
    times: list[int] = []
    modes: list[int] = []
    owner = _Index(owner_name)
    group = _Index(group_name)
    links: dict[str, str] = {}
    for number, name in enumerate(names):
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            types.append("?")
            for column in (sizes, times, modes, owner.column, group.column):
                column.append(_NOTHING)
            continue
        letter = letter_of(found.st_mode)
        if letter == "l":
            letter, links[str(number)] = link_of(areas, place, name, folder)
        types.append(letter)
        sizes.append(found.st_size)
        times.append(int(found.st_mtime))
        modes.append(found.st_mode)
        owner.add(found.st_uid)
        group.add(found.st_gid)
    return {
        "names": names,
        "types": "".join(types),
        "sizes": sizes,
        "modified": times,
        "modes": modes,
        "owners": owner.names,
        "groups": group.names,
        "owner": owner.column,
        "group": group.column,
        "links": links,
    }


class _Index:
    """A column of few different values: each once, and where it is for each row."""

    def __init__(self, name_of: Callable[[int], str]) -> None:
        self._name_of = name_of
        self._places: dict[int, int] = {}
        self.names: list[str] = []
        self.column: list[int] = []

    def add(self, number: int) -> None:
        place = self._places.get(number)
        if place is None:
            place = self._places[number] = len(self.names)
            self.names.append(self._name_of(number))
        self.column.append(place)


def letter_of(mode: int) -> str:
    """Say what something is: a folder, a file, a link, or anything else."""
    for test, letter in ((stat.S_ISREG, "f"), (stat.S_ISDIR, "d"), (stat.S_ISLNK, "l")):
        if test(mode):
            return letter
    return "o"


def link_of(areas: Areas, place: Place, name: str, folder: int) -> tuple[str, str]:
    """Say what a link leads to, and its text."""
    try:
        text = os.readlink(name, dir_fd=folder)
    except OSError:
        return "?", ""
    try:
        target = areas.locate(place.area.id, "/".join((*place.parts, name)))
        if not target.parts:
            return "k", text
        with target.parent() as (at, last):
            letter = letter_of(os.stat(last, dir_fd=at, follow_symlinks=False).st_mode)
    except (OSError, Refused):
        return "x", text
    return {"d": "k", "f": "l"}.get(letter, "x"), text


@lru_cache(maxsize=256)
def owner_name(number: int) -> str:
    """Give the name of an account; where the session does not know it, its number."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


@lru_cache(maxsize=256)
def group_name(number: int) -> str:
    """Give the name of a group; where the session does not know it, its number."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
