"""What a move between file systems takes away, once it is safe where it belongs."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator

from canfar_lab.storage import paths
from canfar_lab.storage.errors import from_os_error, shown
from canfar_lab.storage.tree import Closed, Entered, Left, walk_tree


def written_out(directory: int) -> None:
    """Wait until everything new on a file system is on its disk, and not in memory only."""
    file = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.syncfs(file) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(file)


def remove(above: int, name: str, directory: int, final: str, *, folder: bool) -> Iterator[str]:
    """Remove a source that was moved, and nothing of it that is not there, too.

    Yields
    ------
    str
        A sentence for what stays.
    """
    if not folder:
        yield from _remove_one(above, name, directory, final)
        return
    source = paths.open_folder(above, [name])
    try:
        for step in walk_tree(source, one_disk=True):
            match step:
                case Entered():
                    yield from _remove_copied(step, directory, final)
                case Left():
                    yield from _remove_folder(step.folder, step.name)
                case Closed():
                    # It was not copied either, which is noted already, and so it stays.
                    continue
    finally:
        os.close(source)
    yield from _remove_folder(above, name)


def _remove_copied(step: Entered, directory: int, final: str) -> Iterator[str]:
    try:
        into = paths.walk(directory, [final, *step.way])
    except OSError:
        # A folder that came to the source only after the copy had passed.
        return
    try:
        for entry in step.others:
            yield from _remove_one(step.folder, entry.name, into, entry.name)
    finally:
        os.close(into)


def _remove_one(above: int, name: str, into: int, new: str) -> Iterator[str]:
    try:
        if not _is_same(above, name, into, new):
            yield f"{shown(name)} stays where it was: it is new or was changed meanwhile."
            return
        os.unlink(name, dir_fd=above)
    except OSError as error:
        yield f"It was copied, and stays where it was, too: {from_os_error(error, name).message}"


def _is_same(above: int, name: str, into: int, new: str) -> bool:
    before = os.stat(name, dir_fd=above, follow_symlinks=False)
    try:
        after = os.stat(new, dir_fd=into, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(before.st_mode) and stat.S_ISLNK(after.st_mode):
        return os.readlink(name, dir_fd=above) == os.readlink(new, dir_fd=into)
    return (
        stat.S_ISREG(before.st_mode)
        and stat.S_ISREG(after.st_mode)
        and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    )


def _remove_folder(above: int, name: str) -> Iterator[str]:
    try:
        os.rmdir(name, dir_fd=above)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            yield f"It was copied, and stays where it was, too: {from_os_error(error, name).message}"
