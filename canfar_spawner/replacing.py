"""Files that are replaced as a whole: a reader sees the old one or the new one.

With the standard library alone, for every part of the platform.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, mode: int = 0o600, lasting: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another one when the block ends, and not if it fails.

    What is half-written lies beside it as ``*.new``. Two that write the same file have to wait for
    each other.

    Parameters
    ----------
    path : Path
    mode : int
    lasting : bool
        Whether it must be there after a power cut too, which no session outlives.

    Raises
    ------
    OSError
    """
    partial = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(partial, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        yield file
        file.flush()
        if lasting:
            os.fsync(file.fileno())
    partial.replace(path)
    if lasting:
        sync_directory(path.parent)


def replace_file(path: Path, text: str, *, mode: int = 0o600, lasting: bool = True) -> None:
    """Write a file in the place of another one, as `replacing` does.

    Raises
    ------
    OSError
    """
    with replacing(path, mode=mode, lasting=lasting) as file:
        file.write(text.encode())


def sync_directory(path: Path) -> None:
    """Have what was made, renamed or removed in a directory outlast a power cut."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
