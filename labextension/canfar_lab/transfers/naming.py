"""Under which name something arrives, and whether there is room for it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from itertools import islice

from canfar_lab.storage import paths
from canfar_lab.storage.areas import Place
from canfar_lab.storage.errors import Refused, from_os_error, shown
from canfar_lab.transfers import content

_ENDING = re.compile(r"(?:\.(?:fits|tar|csv|txt|xml))?\.[A-Za-z0-9]{1,8}\Z")
_MOST_TRIES = 10_000
_MOST_LOOKED_AT = 50
_MOST_NAMED = 100


def numbered(name: str) -> Iterator[str]:
    """Give a name, and then others like it, such as ``m31 (2).fits.gz``."""
    yield name
    found = _ENDING.search(name, 1)
    ending = found[0] if found else ""
    stem = name.removesuffix(ending)
    for number in range(2, _MOST_TRIES):
        more = f" ({number}){ending}"
        while len(os.fsencode(stem + more)) > 255:
            stem = stem[:-1]
        yield stem + more


def exists(directory: int, name: str) -> os.stat_result | None:
    """Look at what has a name, without following links."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def find(directory: int, name: str, identity: list[int]) -> str | None:
    """Say under which of the names like one something is that was given one before."""
    for candidate in islice(numbered(name), _MOST_LOOKED_AT) if identity else ():
        there = exists(directory, candidate)
        if there is not None and content.identity(there) == identity:
            return candidate
    return None


def taken(names: Sequence[str]) -> Refused:
    """Say which names there are already: whoever has them replaced must know of each."""
    first, others = shown(names[0]), len(names) - 1
    more = f" and {others} {'other' if others == 1 else 'others'}" if others else ""
    return Refused(
        "exists",
        f"{first}{more} exist already; choose other names."
        if others
        else f"{first} exists already; choose another name.",
        409,
        names=list(names[:_MOST_NAMED]),
        more=max(0, len(names) - _MOST_NAMED),
    )


def check(directory: int, name: str, conflict: str, *, folder: bool) -> None:
    """Refuse early what could not be put in its place in the end.

    Raises
    ------
    Refused
    """
    found = exists(directory, name)
    if found is None or conflict == "keep_both":
        return
    if conflict == "refuse":
        raise taken([name])
    if folder or stat.S_ISDIR(found.st_mode):
        raise Refused(
            "exists",
            f"{shown(name)} exists already, and folders are not replaced; choose another name.",
            409,
        )


def put(
    from_directory: int, part: str, directory: int, name: str, conflict: str, *, folder: bool
) -> str:
    """Give something that is complete its name.

    Returns
    -------
    str
        The name that it has now.

    Raises
    ------
    Refused
        There is something of that name by now.
    OSError
    """
    if conflict == "replace":
        check(directory, name, conflict, folder=folder)
        os.rename(part, name, src_dir_fd=from_directory, dst_dir_fd=directory)
        return name
    for candidate in numbered(name):
        try:
            paths.move_new(from_directory, part, directory, candidate)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
            if conflict == "refuse":
                raise from_os_error(error, name) from None
            continue
        return candidate
    raise Refused("exists", f"There are too many of {shown(name)}; choose another name.", 409)


def check_room(place: Place, directory: int, needed: int) -> None:
    """Refuse what does not fit, before anything is written.

    Raises
    ------
    Refused
    """
    found = os.fstatvfs(directory)
    free = found.f_bavail * found.f_frsize
    if found.f_blocks and free < needed:
        raise Refused(
            "full",
            f"{written(needed)} do not fit into {place.area.title}, where {written(free)} are free;"
            " delete something first, or choose another place.",
            507,
        )


def written(count: int) -> str:
    """Write a number of bytes for people."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
