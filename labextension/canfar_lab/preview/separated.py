"""First rows of tables that are text: CSV and what is like it."""

from __future__ import annotations

import csv
import re
from typing import Any

from canfar_lab.fits.sources import FitsError
from canfar_lab.preview.tables import MOST_COLUMNS

_SEPARATORS = ",\t;|"
_LOOKED_AT = 20
_LONGEST_CELL = 1000
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|NaN|[+-]?inf")
HEAD = 1 << 20
"""Bytes of a file that are looked at."""


def first_rows(data: bytes, count: int, *, complete: bool) -> dict[str, Any]:
    """Read the first rows of a table.

    Parameters
    ----------
    data : bytes
        The beginning of a file.
    count : int
        Rows.
    complete : bool
        Whether that is all of it.

    Raises
    ------
    FitsError
        It is no text.
    """
    lines = _lines(data, complete=complete)
    if not lines:
        raise FitsError("There are no rows in this file.")
    rows = _split(lines)
    names = _names(rows)
    if names is not None:
        rows = rows[1:]
    shown = rows[:count]
    width = min(max(map(len, [*shown, names or []])), MOST_COLUMNS)
    titles = [*(names or []), *(f"column {n}" for n in range(len(names or []) + 1, width + 1))]
    types = [_type([row[n] for row in shown if n < len(row)]) for n in range(width)]
    return {
        "hdu": None,
        "columns": [
            {"name": name, "type": kind, "unit": ""}
            for name, kind in zip(titles[:width], types, strict=True)
        ],
        "columns_total": max(map(len, [*shown, names or []])),
        "rows": [[_cell(row, n, types[n]) for n in range(width)] for row in shown],
        "total": len(rows) if complete else None,
        "more": not complete or len(rows) > len(shown),
    }


def _lines(data: bytes, *, complete: bool) -> list[str]:
    if b"\0" in data:
        raise FitsError("This file is no table: it is neither FITS nor text.")
    if not complete:
        # Its last line may have been cut.
        data = data.rpartition(b"\n")[0] or data
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = text.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    found = [line for line in lines if line.strip() and not line.startswith("#")]
    named = comments[-1].lstrip("#").strip() if comments and lines[0].startswith("#") else ""
    if named and found and not _looks_named(found[0]) and _width(named) == _width(found[0]):
        # As numpy and many others write what the columns are called.
        found.insert(0, named)
    return found


def _looks_named(line: str) -> bool:
    return not any(_NUMBER.fullmatch(cell.strip()) for cell in re.split(r"[,\t;|\s]+", line))


def _width(line: str) -> int:
    return len(_split([line])[0])


def _split(lines: list[str]) -> list[list[str]]:
    """Take rows apart at the sign that most of them have, and have most of."""
    try:
        return _parted(lines)
    except csv.Error as error:
        raise FitsError("The table cannot be read: a cell in it is too long.") from error


def _parted(lines: list[str]) -> list[list[str]]:
    best, most = "", 0
    for sign in _SEPARATORS:
        widths = [len(row) for row in csv.reader(lines[:_LOOKED_AT], delimiter=sign)]
        parted = [width for width in widths if width > 1]
        if sum(parted) > most and len(parted) * 2 > len(widths):
            best, most = sign, sum(parted)
    if not best:
        return [line.split() for line in lines]
    return [row for row in csv.reader(lines, delimiter=best, skipinitialspace=True) if row]


def _names(rows: list[list[str]]) -> list[str] | None:
    """Give what the columns are called, if the first row seems to say that."""
    first = [cell.strip() for cell in rows[0]]
    if any(_NUMBER.fullmatch(cell) for cell in first) or not all(first):
        return None
    if len(rows) > 1 and len(set(first)) < len(first):
        return None
    return first


def _type(cells: list[str]) -> str:
    filled = [cell.strip() for cell in cells if cell.strip()]
    if filled and all(_INTEGER.fullmatch(cell) for cell in filled):
        return "integer"
    return "double" if filled and all(_NUMBER.fullmatch(cell) for cell in filled) else "text"


def _cell(row: list[str], n: int, kind: str) -> Any:
    text = row[n].strip() if n < len(row) else ""
    if not text:
        return None if kind != "text" or n >= len(row) else ""
    # Numbers stay as they are written: 1.50 says more than 1.5.
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"
