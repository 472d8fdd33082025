"""Everything below a folder, however deep and wide: looked at, counted or deleted.

One folder is open at a time. The way up is the folder's own ``..``, which is believed only if it is
the folder that was left on the way down: whatever is moved meanwhile, nothing elsewhere is met.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from canfar_lab.storage import paths

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GLANCE = 256
"""How many entries are met between two looks at the clock."""


@dataclass(frozen=True)
class Entered:
    """A folder was entered."""

    folder: int
    """Open as long as the walk is here."""
    way: list[str]
    """The names from where the walk began; changes as the walk goes on."""
    others: list[os.DirEntry[str]]
    """What is in it beside folders."""
    folders: list[str]
    """What is entered next, from its end; may be changed."""


@dataclass(frozen=True)
class Left:
    """A folder was left, and everything below it was met before."""

    folder: int
    """The one above, open as long as the walk is here."""
    way: list[str]
    """The names of the one above."""
    name: str


@dataclass(frozen=True)
class Closed:
    """A folder that could not be entered."""

    way: list[str]
    """Its names."""
    error: OSError


@dataclass
class _Frame:
    identity: tuple[int, int]
    pending: list[str] = field(default_factory=list)


def walk_tree(root: int, *, one_disk: bool = False) -> Iterator[Entered | Left | Closed]:
    """Meet every folder at and below an open one, and each again when it is left.

    Parameters
    ----------
    root : int
        Stays open.
    one_disk : bool
        Whether what is mounted below is left alone.

    Raises
    ------
    OSError
        ESTALE where a folder was moved away while the walk was in it.
    """
    at = os.open(".", _FOLDER, dir_fd=root)
    device = os.fstat(root).st_dev
    way: list[str] = []
    frames: list[_Frame] = []
    try:
        yield from _enter(at, way, frames)
        while True:
            frame = frames[-1]
            if frame.pending:
                name = frame.pending.pop()
                try:
                    below = _below(at, name, device if one_disk else None)
                except OSError as error:
                    yield Closed([*way, name], error)
                    continue
                os.close(at)
                at = below
                way.append(name)
                yield from _enter(at, way, frames)
                continue
            frames.pop()
            if not frames:
                return
            name = way.pop()
            above = _above(at, root, way, frames[-1].identity)
            os.close(at)
            at = above
            yield Left(at, way, name)
    finally:
        os.close(at)


def _below(at: int, name: str, device: int | None) -> int:
    below = os.open(name, _FOLDER, dir_fd=at)
    if device is not None and os.fstat(below).st_dev != device:
        os.close(below)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return below


def _enter(at: int, way: list[str], frames: list[_Frame]) -> Iterator[Entered | Closed]:
    found = os.fstat(at)
    frame = _Frame((found.st_dev, found.st_ino))
    frames.append(frame)
    others = []
    try:
        with os.scandir(at) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    frame.pending.append(entry.name)
                else:
                    others.append(entry)
    except OSError as error:
        yield Closed(list(way), error)
    yield Entered(at, way, others, frame.pending)


def _above(at: int, root: int, way: list[str], identity: tuple[int, int]) -> int:
    above = os.open("..", _FOLDER, dir_fd=at)
    if _is(above, identity):
        return above
    os.close(above)
    above = paths.open_folder(root, way)
    if _is(above, identity):
        return above
    os.close(above)
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def _is(folder: int, identity: tuple[int, int]) -> bool:
    found = os.fstat(folder)
    return (found.st_dev, found.st_ino) == identity


@dataclass
class Count:
    """What was met."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    complete: bool = True

    def add(self, size: int) -> None:
        """Count a file, link or anything else that is no folder."""
        self.files += 1
        self.bytes += size


def size_of(entry: os.DirEntry[str]) -> int:
    """Give how long a file is; what has gone meanwhile has no length."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def count(root: int, counted: Count, *, until: float) -> Iterator[None]:
    """Count what is below an open folder, and pause now and then.

    Parameters
    ----------
    root : int
    counted : Count
        Added to.
    until : float
        When to give up, by the monotonic clock.
    """
    met = 0
    for step in walk_tree(root):
        match step:
            case Entered():
                for entry in step.others:
                    met += 1
                    if met % _GLANCE == 0:
                        yield
                        if time.monotonic() > until:
                            counted.complete = False
                            return
                    counted.add(size_of(entry))
            case Left():
                counted.folders += 1
            case Closed():
                counted.complete = False
        yield


def delete(root: int, counted: Count, failures: list[tuple[str, OSError]]) -> Iterator[None]:
    """Delete everything below an open folder, which itself stays.

    Parameters
    ----------
    root : int
    counted : Count
        What was deleted is added.
    failures : list
        What was not is added: its name, and why.
    """
    for step in walk_tree(root, one_disk=True):
        match step:
            case Entered():
                for entry in step.others:
                    size = size_of(entry)
                    try:
                        os.unlink(entry.name, dir_fd=step.folder)
                        counted.add(size)
                    except OSError as error:
                        failures.append((entry.name, error))
                    yield
            case Left():
                try:
                    os.rmdir(step.name, dir_fd=step.folder)
                    counted.folders += 1
                except OSError as error:
                    if not (failures and error.errno == errno.ENOTEMPTY):
                        failures.append((step.name, error))
            case Closed():
                failures.append((step.way[-1] if step.way else "", step.error))
        yield
