"""Measuring directories: what a file system says of them, and counting where it says nothing.

Nothing here follows a link, and nothing takes longer than it is given: homes may hold millions of
files, and their owner may change them meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from canfar_spawner.core.filling import Measured
from canfar_spawner.site.directories import open_directory

_GLANCE: Final = 256
"""How many entries are counted between two looks at the clock."""
_DEEPEST: Final = 200
"""A directory is held open on each level."""
_NOT_SAID: Final = {errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES}

Attribute = Callable[[Path, str], int | None]


@dataclass
class Counted:
    """What is below a directory."""

    files: int = 0
    size: int = 0
    """Bytes that the files are long."""
    taken: int = 0
    """Bytes that they take: less where a file has holes."""
    complete: bool = True
    """Everything was seen; otherwise the numbers are the least there is."""


def count(directory: Path, *, seconds: float) -> Counted:
    """Count what is below a directory, for so long at most.

    Parameters
    ----------
    directory : Path
    seconds : float

    Raises
    ------
    OSError
        It is not there, is no directory, or may not be read.
    """
    found = Counted()
    seen: set[tuple[int, int]] = set()
    deadline = time.monotonic() + seconds
    top = open_directory(directory)
    # Of each level its descriptor and the names of its directories that were not looked at yet.
    levels: list[tuple[int, list[str]]] = [(top, [])]
    try:
        levels[0][1].extend(_look(top, found, seen, deadline))
        while levels:
            descriptor, below = levels[-1]
            late = time.monotonic() > deadline
            if late or not below:
                found.complete = found.complete and not below
                os.close(descriptor)
                levels.pop()
                continue
            name = below.pop()
            if len(levels) > _DEEPEST:
                found.complete = False
                continue
            try:
                inner = open_directory(name, within=descriptor)
            except FileNotFoundError:
                continue
            except OSError:
                # Closed to whoever counts, or something else by now.
                found.complete = False
                continue
            below = []
            levels.append((inner, below))
            below += _look(inner, found, seen, deadline)
    finally:
        for descriptor, _ in levels:
            os.close(descriptor)
    return found


def _look(
    descriptor: int, found: Counted, seen: set[tuple[int, int]], deadline: float
) -> list[str]:
    """Count the files of one directory and give the names of its directories."""
    below: list[str] = []
    number = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(descriptor) as entries:
        for number, entry in enumerate(entries, start=1):
            if number % _GLANCE == 0 and time.monotonic() > deadline:
                found.complete = False
                return below
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
                continue
            try:
                about = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            found.files += 1
            found.size += about.st_size
            if about.st_nlink > 1:
                if (about.st_dev, about.st_ino) in seen:
                    continue
                seen.add((about.st_dev, about.st_ino))
            found.taken += about.st_blocks * 512
    return below


def attribute(path: Path, name: str) -> int | None:
    """Read a number that a file system keeps of a directory; None where it keeps none.

    Raises
    ------
    OSError
        The directory is not there, or cannot be asked.
    """
    try:
        return int(os.getxattr(path, name))
    except ValueError:
        return None
    except OSError as error:
        if error.errno in _NOT_SAID:
            return None
        raise


def measure(
    directory: Path,
    *,
    top: Path,
    seconds: float,
    now: Callable[[], datetime],
    read: Attribute = attribute,
) -> Measured:
    """Find out how much of a home or project is taken, and what it may take.

    CephFS says it of every directory. A directory that is a file system of its own, or has a
    project's quota of XFS, says it as a disk does. Anywhere else what is there is counted.

    Parameters
    ----------
    directory : Path
    top : Path
        Quotas are looked for from the directory up to this one.
    seconds : float
        How long counting may take.
    now : callable
        Gives the time in UTC.
    read : callable, optional
        Reads a number that the file system keeps.

    Raises
    ------
    OSError
        The directory is not there, or cannot be asked.
    """
    disk = os.statvfs(directory)
    whole, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    used = read(directory, "ceph.dir.rbytes")
    if used is not None:
        quota = read(directory, "ceph.quota.max_bytes") or None
        # What the cluster's own disks have left is told to nobody here.
        shared, left = _above(directory, top, read) or (None, None)
        return Measured(at=now(), used=used, quota=quota, disk=shared, free=left)
    above = os.statvfs(directory.parent)
    if (disk.f_fsid, whole) != (above.f_fsid, above.f_blocks * above.f_frsize):
        taken = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        return Measured(at=now(), used=taken, quota=whole, disk=whole, free=free)
    try:
        counted = count(directory, seconds=seconds)
    except PermissionError:
        return Measured(at=now(), disk=whole, free=free)
    return Measured(at=now(), used=counted.taken, complete=counted.complete, disk=whole, free=free)


def _above(directory: Path, top: Path, read: Attribute) -> tuple[int, int] | None:
    """Give the tightest quota of the directories above, and what is left of it."""
    found = []
    for path in directory.parents:
        if not path.is_relative_to(top):
            break
        quota, used = read(path, "ceph.quota.max_bytes"), read(path, "ceph.dir.rbytes")
        if quota and used is not None:
            found.append((max(0, quota - used), quota))
    free, quota = min(found, default=(0, 0))
    return (quota, free) if found else None
