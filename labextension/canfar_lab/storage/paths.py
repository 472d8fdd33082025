"""The one way to files: from a directory that is open, part by part, without following links.

Nothing here takes a path of the file system. A path of a caller is taken apart first, and each
directory is opened relative to the one before, so that whoever moves or replaces something
meanwhile changes what is not found, and never where a file is looked for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import cast

from canfar_lab.storage.errors import Refused, shown

_LONGEST_NAME = 255
"""Bytes, the kernel's own limit."""
_LONGEST_PATH = 32_768
"""Bytes; what fits an address of HTTP. The kernel's limit is not met, as no path is given to it."""
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_REPLACE = 1
"""RENAME_NOREPLACE of renameat2."""
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK})
_NOT_OFFERED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


def check_name(name: str) -> str:
    """Accept the name of a file.

    Raises
    ------
    Refused
        Empty, ``.``, ``..``, with ``/`` or NUL, or too long.
    """
    if name in {"", ".", ".."}:
        raise Refused("invalid", "A name must not be empty, . or ..; choose another one.")
    if "/" in name or "\0" in name:
        raise Refused("invalid", f"The name {shown(name)} must not contain / or a zero byte.")
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        raise Refused(
            "invalid", f"The name {shown(name)} has characters that no file system takes."
        ) from None
    if size > _LONGEST_NAME:
        raise Refused(
            "too-long",
            f"The name {shown(name)} is too long: {_LONGEST_NAME} bytes are allowed,"
            f" and it has {size}.",
        )
    return name


def split(path: str) -> tuple[str, ...]:
    """Take apart the path of a caller; the empty one has no parts.

    Raises
    ------
    Refused
        Not relative, or not made of names.

    Examples
    --------
    >>> split("m31/cal.fits")
    ('m31', 'cal.fits')
    """
    if not path:
        return ()
    if len(path) > _LONGEST_PATH:
        raise Refused("too-long", f"The path is too long: {_LONGEST_PATH} bytes are allowed.")
    return tuple(check_name(part) for part in path.split("/"))


def walk(root: int, parts: Sequence[str]) -> int:
    """Open a directory for looking up names in it, without links on the way.

    Returns
    -------
    int
        A descriptor; the caller closes it.

    Raises
    ------
    OSError
        ENOTDIR or ELOOP where a part is a link, as for anything else that is no directory.
    """
    at = os.open(".", _DIRECTORY, dir_fd=root)
    for part in parts:
        try:
            below = os.open(part, _DIRECTORY, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


@contextmanager
def parent_beneath(root: int, parts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Give the open directory that something is in, and its name there.

    Parameters
    ----------
    root : int
        The area's root.
    parts : sequence of str
        As of `split`; not empty.
    """
    at = walk(root, parts[:-1])
    try:
        yield at, parts[-1]
    finally:
        os.close(at)


def open_folder(root: int, parts: Sequence[str]) -> int:
    """Open a directory for listing; the caller closes it."""
    at = walk(root, parts)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)


def open_beneath(root: int, parts: Sequence[str], flags: int, mode: int = 0o666) -> int:
    """Open a regular file; the caller closes it.

    Parameters
    ----------
    root : int
        The area's root.
    parts : sequence of str
        As of `split`, with the links resolved.
    flags : int
        Of ``os.open``; links are never followed, whatever they say.
    mode : int
        Of a file that is made.

    Raises
    ------
    OSError
    Refused
        It is a directory, pipe, socket or device.
    """
    if not parts:
        raise Refused("not-a-file", "This is a folder, not a file.", 409)
    with parent_beneath(root, parts) as (at, name):
        if not flags & os.O_CREAT:
            # What a device does when it is opened is its driver's affair.
            _regular(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode, name)
        # A pipe that takes the place of the file would be waited for without O_NONBLOCK.
        wanted = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        file = os.open(name, wanted, mode, dir_fd=at)
        try:
            _regular(os.fstat(file).st_mode, name)
        except BaseException:
            os.close(file)
            raise
        return file


def _regular(mode: int, name: str) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise Refused(
        "not-a-file",
        f"{shown(name)} is no regular file: pipes, sockets and devices are not read or written.",
        409,
    )


def move_new(from_directory: int, name: str, to_directory: int, new_name: str) -> None:
    """Move within a file system, where nothing is yet.

    ``rename`` replaces what is there. What does not is asked for first, and where a file system
    has no such thing (CephFS, NFS) the same is made of calls that cannot replace anything.

    Raises
    ------
    OSError
        EEXIST where there is something of that name.
    """
    if _rename_new(from_directory, name, to_directory, new_name):
        return
    found = os.stat(name, dir_fd=from_directory, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        _link_new(from_directory, name, to_directory, new_name)
        return
    os.mkdir(new_name, dir_fd=to_directory)
    try:
        # An empty directory may be replaced, and this one is ours.
        os.rename(name, new_name, src_dir_fd=from_directory, dst_dir_fd=to_directory)
    except OSError:
        os.rmdir(new_name, dir_fd=to_directory)
        raise


def _link_new(from_directory: int, name: str, to_directory: int, new_name: str) -> None:
    try:
        os.link(
            name,
            new_name,
            src_dir_fd=from_directory,
            dst_dir_fd=to_directory,
            follow_symlinks=False,
        )
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file of somebody else's, or a file system without hard links: only a look is left.
        if _exists(to_directory, new_name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
        os.rename(name, new_name, src_dir_fd=from_directory, dst_dir_fd=to_directory)
        return
    os.unlink(name, dir_fd=from_directory)


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _rename_new(from_directory: int, name: str, to_directory: int, new_name: str) -> bool:
    """Rename without replacing; false where that is not offered."""
    rename = _renameat2()
    if rename is None:
        return False
    old, new = os.fsencode(name), os.fsencode(new_name)
    if rename(from_directory, old, to_directory, new, _NO_REPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_OFFERED:
        # EINVAL is also said of a directory that is moved into itself: the other way says so again.
        return False
    raise OSError(number, os.strerror(number), name)


@cache
def _renameat2() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:  # a C library older than this call
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    return cast("Callable[..., int]", function)
