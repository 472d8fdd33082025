"""The bytes of one file, from where they are to where they go, as the kernel does it quickest."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence

from canfar_lab.storage.errors import Refused, shown

_STEP = 16 << 20
"""Bytes between two looks at whether to stop: less than a tenth of a second."""
_BUFFER = 1 << 20
_MOST_PIECES = 512
"""Pieces that are written by one call; Linux takes 1,024."""
_NOT_OFFERED = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}
)
Moved = Callable[[int], None]


def identity(found: os.stat_result) -> list[int]:
    """Give what differs once a file was changed or replaced."""
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def changed(name: str) -> Refused:
    """Say that a file was written to while it was read."""
    return Refused(
        "changed",
        f"{shown(name)} was changed while it was read, so nothing of it was kept;"
        " try again when it is complete.",
        409,
    )


def copy(source: int, target: int, size: int, at: int, moved: Moved, name: str) -> None:
    """Copy the bytes of a file, from a place on; what is empty in it stays so.

    Parameters
    ----------
    source, target : int
        Open files.
    size : int
        How many bytes the source has.
    at : int
        How many are there already.
    moved : callable
        Told how many more are there; may raise.
    name : str
        What the file is called.

    Raises
    ------
    Refused
        The source has become shorter.
    OSError
    """
    ways = iter((_range, _send, _plain))
    way = next(ways)
    for begin, end in _written(source, size, at):
        if begin > at:
            os.ftruncate(target, begin)
            moved(begin - at)
        at = begin
        while at < end:
            try:
                count = way(source, target, at, min(_STEP, end - at))
            except OSError as error:
                if error.errno not in _NOT_OFFERED or way is _plain:
                    raise
                way = next(ways)
                continue
            if count == 0:
                raise changed(name)
            at += count
            moved(count)
    if at < size:
        os.ftruncate(target, size)
        moved(size - at)


def _written(source: int, size: int, at: int) -> Iterator[tuple[int, int]]:
    """Give the parts of a file that are written, without what is empty between them."""
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            # Where a file system does not say so, everything is.
            begin, end = at, size
        if begin >= size:
            return
        yield begin, min(end, size)
        at = end


def _range(source: int, target: int, at: int, count: int) -> int:
    return os.copy_file_range(source, target, count, at, at)


def _send(source: int, target: int, at: int, count: int) -> int:
    os.lseek(target, at, os.SEEK_SET)
    return os.sendfile(target, source, at, count)


def _plain(source: int, target: int, at: int, count: int) -> int:
    data = os.pread(source, min(count, _BUFFER), at)
    write(target, data, at)
    return len(data)


def write(target: int, data: bytes | bytearray | memoryview, at: int) -> None:
    """Write all of it, however often the kernel takes only a part."""
    rest = memoryview(data)
    while rest:
        count = os.pwrite(target, rest, at)
        rest, at = rest[count:], at + count


def write_pieces(target: int, pieces: Sequence[bytes], at: int) -> None:
    """Write pieces that follow each other, in as few calls as the kernel lets."""
    for begun in range(0, len(pieces), _MOST_PIECES):
        some = pieces[begun : begun + _MOST_PIECES]
        count = os.pwritev(target, some, at)
        for piece in some:
            if count < len(piece):
                write(target, memoryview(piece)[max(count, 0) :], at + max(count, 0))
            count -= len(piece)
            at += len(piece)


def digest(
    source: int, moved: Moved, *, begin: int = 0, end: int | None = None, known: object = None
) -> str:
    """Give the SHA-256 of a file or a part of it, in hexadecimal digits.

    Parameters
    ----------
    source : int
        An open file.
    moved : callable
        Told how many bytes more were read; may raise.
    begin, end : int
        The part; without an end, all that is there.
    known : hash object
        What has taken in the bytes before.
    """
    taken = hashlib.sha256() if known is None else known
    buffer = memoryview(bytearray(_BUFFER))
    at = begin
    while end is None or at < end:
        wanted = _BUFFER if end is None else min(_BUFFER, end - at)
        count = os.preadv(source, [buffer[:wanted]], at)
        if count == 0:
            break
        taken.update(buffer[:count])  # type: ignore[attr-defined]
        at += count
        moved(count)
    return str(taken.hexdigest())  # type: ignore[attr-defined]
