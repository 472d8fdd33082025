"""Where the bytes of a FITS file come from: the file as it is, or what was compressed by gzip."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import Protocol

_LONGEST = 512 << 20
"""Bytes that are decompressed at most: what lies behind them is not looked at."""
_GZIP = b"\x1f\x8b"


class FitsError(Exception):
    """What is wrong with a file, in a sentence for the person who asked."""


class Source(Protocol):
    """Bytes of a file."""

    size: int | None
    """How many there are; None where only reading on would tell."""

    def read(self, at: int, count: int) -> bytes:
        """Give the bytes there; fewer at the end."""


class Plain:
    """A file as it is.

    Parameters
    ----------
    descriptor : int
        Of a file that is open to be read; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size: int | None = os.fstat(descriptor).st_size

    def read(self, at: int, count: int) -> bytes:
        """Give the bytes there; fewer at the end."""
        return os.pread(self._descriptor, count, at)


class Zipped:
    """What a file holds that was compressed by gzip."""

    size: int | None = None

    def __init__(self, descriptor: int) -> None:
        # What is opened by number begins where the number's file stands, wherever that is.
        os.lseek(descriptor, 0, os.SEEK_SET)
        self._file = gzip.GzipFile(fileobj=os.fdopen(descriptor, "rb", closefd=False))

    def read(self, at: int, count: int) -> bytes:
        """Give the bytes there; fewer at the end.

        Raises
        ------
        FitsError
            They lie too far behind, or the file is damaged.
        """
        if at + count > _LONGEST:
            raise FitsError(
                f"The file is compressed, and only its first {_LONGEST >> 20} MB are looked at."
            )
        try:
            self._file.seek(at)
            return self._file.read(count)
        except (OSError, EOFError, zlib.error) as error:
            raise FitsError("The compressed file is damaged or cut off.") from error


def source(descriptor: int) -> Plain | Zipped:
    """Give the bytes of a file, decompressed where it is compressed."""
    return Zipped(descriptor) if os.pread(descriptor, 2, 0) == _GZIP else Plain(descriptor)
