"""Removing what a session left on scratch, for the supervisor; standard library only."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path


def _enter(name: str, within: int | None = None) -> int:
    """Open a directory for emptying, whatever its mode, and never through a link."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    try:
        # By its handle: by its name, someone could put a link there in between.
        Path(f"/proc/self/fd/{handle}").chmod(0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


def _empty(directory: int, top: int, numbers: Iterable[int]) -> tuple[list[str], int]:
    """Empty a directory; what is full itself is moved to the top, so that depth costs nothing.

    Gives the names at the top that remain to be emptied, and how much could not be removed.
    """
    full: list[str] = []
    left = 0
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        try:
            if not is_directory:
                os.unlink(name, dir_fd=directory)
                continue
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=directory)
                continue
            if directory == top:
                full.append(name)
                continue
            os.close(_enter(name, directory))
            for number in numbers:
                moved = f".{number}.wiped"
                try:
                    os.rename(name, moved, src_dir_fd=directory, dst_dir_fd=top)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                        raise
                else:
                    full.append(moved)
                    break
        except FileNotFoundError:
            continue
        except OSError:
            left += 1
    return full, left


def wipe(path: str) -> int:
    """Remove a directory with all that is beneath it, and nothing else.

    Returns
    -------
    int
        How many paths could not be removed.
    """
    numbers = count()
    try:
        top = _enter(path)
    except FileNotFoundError:
        return 0
    except OSError:
        return 1
    try:
        waiting, left = _empty(top, top, numbers)
        while waiting:
            name = waiting.pop()
            try:
                directory = _enter(name, top)
                try:
                    more, stuck = _empty(directory, top, numbers)
                finally:
                    os.close(directory)
                waiting += more
                left += stuck
                os.rmdir(name, dir_fd=top)
            except OSError as error:
                # What keeps it from being empty has been counted.
                left += error.errno != errno.ENOTEMPTY
    finally:
        os.close(top)
    try:
        Path(path).rmdir()
    except OSError:
        left = left or 1
    return left
