"""Making directories of arc: owned and shared as told, and never through a link.

The standard library only, so that the storage provisioner's image needs nothing installed.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

HOME_MODE = 0o700
PROJECT_MODE = 0o2770
PASSED_THROUGH = 0o755

_BLOCKED = "something else than a directory stands there, such as a link; it is left as it is"


def open_directory(path: str | Path, *, within: int | None = None) -> int:
    """Open a directory, never what a link in its place leads to.

    Parameters
    ----------
    path : str or Path
        Only its last part is protected; reach the parts before it by `within`.
    within : int, optional
        The descriptor of the directory that a relative path starts from.

    Returns
    -------
    int
        A descriptor for the caller to close.

    Raises
    ------
    OSError
        With `ENOTDIR` where something else stands in its place.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise NotADirectoryError(errno.ENOTDIR, _BLOCKED, str(path)) from None
        raise


def settle(descriptor: int, *, mode: int, owner: tuple[int, int] | None) -> bool:
    """Give a directory its owner and mode, and say whether anything had to change.

    Parameters
    ----------
    descriptor : int
    mode : int
    owner : tuple of int, optional
        User and group id; None where only root could set them.

    Raises
    ------
    OSError
        Also where the file system took the order but not the mode.
    """
    found = os.fstat(descriptor)
    changed = False
    if owner is not None and (found.st_uid, found.st_gid) != owner:
        # The mode comes second: a new owner clears the set-group-id bit.
        os.fchown(descriptor, *owner)
        changed = True
    if changed or stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(descriptor, mode)
        changed = True
        if owner is not None and stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            raise OSError(errno.EPERM, f"the file system does not keep the mode {mode:04o}")
    return changed


def add(path: str | Path, *, within: int | None = None) -> bool:
    """Add a directory that only its maker may enter yet; say whether it was missing."""
    try:
        os.mkdir(path, mode=0o700, dir_fd=within)
    except FileExistsError:
        return False
    return True


def make(
    path: str | Path, *, mode: int, owner: tuple[int, int] | None, within: int | None = None
) -> bool:
    """Make a directory with an owner and a mode, and say whether it is new.

    One that is there already gets them too, except where `owner` is None: then it is somebody's
    who runs the hub without root, and stays as it is.
    """
    new = add(path, within=within)
    descriptor = open_directory(path, within=within)
    try:
        if new or owner is not None:
            settle(descriptor, mode=mode, owner=owner)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        os.close(descriptor)
    return new
