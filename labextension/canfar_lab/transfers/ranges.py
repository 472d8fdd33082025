"""Which part of a file a browser asks for when it goes on with a download."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


@dataclass(frozen=True)
class Part:
    """What is sent: all of a file, or a part of it."""

    status: int
    """200, 206 or 416."""
    begin: int
    end: int
    """The byte behind the last."""


def tag(found: os.stat_result) -> str:
    """Give what names this content of a file, and no other."""
    return f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'


def modified(found: os.stat_result) -> str:
    """Write when a file was changed."""
    return formatdate(int(found.st_mtime), usegmt=True)


def part(headers: Mapping[str, str], found: os.stat_result) -> Part:
    """Say what of a file is to be sent.

    What is not understood, and several parts at once, is answered with all of it, as HTTP allows.
    """
    size = found.st_size
    whole = Part(200, 0, size)
    asked = _RANGE.fullmatch(headers.get("Range", "").replace(" ", ""))
    if asked is None or not _is_same(headers.get("If-Range"), found):
        return whole
    first, last = asked.groups()
    if first:
        begin = int(first)
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < begin:
            return whole
    elif last:
        begin, end = max(0, size - int(last)), size
    else:
        return whole
    if begin >= size or begin == end:
        return Part(416, 0, 0)
    return Part(206, begin, end)


def _is_same(wanted: str | None, found: os.stat_result) -> bool:
    """Say whether somebody who has a part has it of this content."""
    if wanted is None:
        return True
    if wanted.startswith('"'):
        return wanted == tag(found)
    try:
        return parsedate_to_datetime(wanted).timestamp() == int(found.st_mtime)
    except (TypeError, ValueError, OverflowError):
        return False


def attachment(name: str) -> str:
    """Write the header that gives a download its name.

    Examples
    --------
    >>> attachment("größe.fits")
    "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe.fits"
    """
    return f"attachment; filename*=UTF-8''{quote(os.fsencode(name), safe='')}"
