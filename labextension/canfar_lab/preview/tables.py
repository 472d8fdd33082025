"""First rows of tables in FITS files."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from canfar_lab.fits.cards import Card, cards
from canfar_lab.fits.sources import FitsError, Source
from canfar_lab.fits.units import Unit, Units, header_at

MOST_COLUMNS = 500
_MOST_BYTES = 16 << 20
_ELEMENTS = 8
"""How much of an array is shown in its cell."""
_EXACT = 1 << 53
_FORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])(?:([LXBIJKAEDCM])?(?:\(\d*\))?.*)?")
_CODES = {"B": "B", "I": "h", "J": "i", "K": "q", "E": "f", "D": "d", "C": "ff", "M": "dd"}
_SIZES = {
    "L": 1,
    "B": 1,
    "I": 2,
    "J": 4,
    "K": 8,
    "A": 1,
    "E": 4,
    "D": 8,
    "C": 8,
    "M": 16,
    "P": 8,
    "Q": 16,
}
_WORDS = {
    "L": "logical", "X": "bits", "A": "text", "E": "float", "D": "double",
    "C": "complex", "M": "complex", "B": "integer", "I": "integer", "J": "integer", "K": "integer",
    "F": "float",
}  # fmt: skip
_LOOKED_AT = 200
_TEXT_FORM = re.compile(r"([AIFED])(\d+)(?:\.\d+)?")


def find(at: Source, hdu: int | None) -> Unit:
    """Find a table; without a number the first.

    Raises
    ------
    FitsError
    """
    units = Units()
    units.find(at, _LOOKED_AT if hdu is None else hdu + 1, seconds=0)
    if hdu is None:
        for unit in units.found:
            if unit.rows is not None:
                return unit
        raise FitsError("There is no table in this file.")
    if hdu >= len(units.found):
        raise FitsError(f"There is no HDU {hdu} in this file. {units.problem}".strip())
    if units.found[hdu].rows is None:
        raise FitsError(f"HDU {hdu} is no table.")
    return units.found[hdu]


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    unit: str
    read: Callable[[bytes], Any]


def first_rows(at: Source, unit: Unit, count: int) -> dict[str, Any]:
    """Read the first rows of a table.

    Raises
    ------
    FitsError
        Its header does not say what is in it.
    """
    header = header_at(at, unit.at, unit.index).decode("latin-1")
    said = {card.keyword: card for card in cards(header)}
    length = _number(said, "NAXIS1")
    total = unit.rows or 0
    if unit.type == "text table":
        columns = _text_columns(said, unit, length)
    else:
        heap = unit.data_at + _number(said, "THEAP", length * total)
        columns = _columns(said, unit, length, at, heap)
    wanted = min(count, total, max(1, _MOST_BYTES // max(length, 1)))
    data = at.read(unit.data_at, wanted * length)
    rows = [data[n * length : (n + 1) * length] for n in range(wanted)]
    complete = [row for row in rows if len(row) == length and length]
    return {
        "hdu": unit.index,
        "columns": [
            {"name": column.name, "type": column.type, "unit": column.unit} for column in columns
        ],
        "columns_total": unit.columns,
        "rows": [[column.read(row) for column in columns] for row in complete],
        "total": total,
        "more": total > len(complete),
    }


def _number(said: dict[str, Card], name: str, missing: int | None = None) -> int:
    card = said.get(name)
    if card is None and missing is not None:
        return missing
    if card is None or not isinstance(card.value, int) or card.value < 0:
        raise FitsError(f"The table's header does not say {name} as it must.")
    return card.value


def _text(said: dict[str, Card], name: str) -> str:
    card = said.get(name)
    return card.text if card is not None else ""


def plain(value: Any) -> Any:
    """Give a value as JSON can have it, without losing a digit."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("-Infinity" if value < 0 else "Infinity")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return str(value)
    if isinstance(value, complex):
        return f"({value.real:.7g}, {value.imag:.7g})"
    return value


def _columns(
    said: dict[str, Card], unit: Unit, length: int, at: Source, heap: int
) -> list[_Column]:
    found, offset = [], 0
    for n in range(1, min(unit.columns or 0, MOST_COLUMNS) + 1):
        form = _FORM.fullmatch(_text(said, f"TFORM{n}").strip().upper())
        if form is None:
            raise FitsError(f"HDU {unit.index}: TFORM{n} is missing, or no format that FITS knows.")
        count, code = int(form[1] or 1), form[2]
        size = -(-count // 8) if code == "X" else count * _SIZES[code]
        if offset + size > length:
            raise FitsError(f"HDU {unit.index}: the columns are longer than a row.")
        scaled = _scaling(said, n)
        if code in "PQ":
            inner = form[3] or "B"
            read = _variable(at, heap, offset, code, inner, scaled) if count else _nothing
            kind = f"{_WORDS.get(inner, '')} array"
        else:
            read = _fixed(offset, count, code, scaled)
            kind = _WORDS[code] + (f"[{count}]" if code not in "AX" and count != 1 else "")
        name = _text(said, f"TTYPE{n}") or f"column {n}"
        found.append(_Column(name, kind, _text(said, f"TUNIT{n}"), read))
        offset += size
    return found


Scaling = Callable[[Any], Any]


def _scaling(said: dict[str, Card], n: int) -> Scaling:
    """Give what turns a stored number into the one that is meant."""
    null = said[f"TNULL{n}"].value if f"TNULL{n}" in said else None
    scale = said[f"TSCAL{n}"].value if f"TSCAL{n}" in said else 1
    zero = said[f"TZERO{n}"].value if f"TZERO{n}" in said else 0
    if not isinstance(scale, (int, float)) or not isinstance(zero, (int, float)):
        scale, zero = 1, 0
    # As integers, so that unsigned ones of 64 bits are exact.
    scale = int(scale) if scale == 1 else scale
    zero = int(zero) if isinstance(zero, float) and zero.is_integer() else zero

    def scaled(value: Any) -> Any:
        if null is not None and value == null:
            return None
        return plain(value if scale == 1 and zero == 0 else value * scale + zero)

    return scaled


def _nothing(_row: bytes) -> Any:
    return None


def _fixed(offset: int, count: int, code: str, scaled: Scaling) -> Callable[[bytes], Any]:
    if count == 0:
        return _nothing
    size = -(-count // 8) if code == "X" else count * _SIZES[code]

    def read(row: bytes) -> Any:
        return _cell(row[offset : offset + size], count, code, scaled)

    return read


def _cell(data: bytes, count: int, code: str, scaled: Scaling) -> Any:
    match code:
        case "A":
            return data.partition(b"\0")[0].decode("utf-8", "replace").rstrip()
        case "X":
            bits = "".join(f"{byte:08b}" for byte in data)[:count]
            return bits if count <= 64 else f"{bits[:64]}…"
        case "L":
            values: list[Any] = [{84: True, 70: False}.get(byte) for byte in data[:_ELEMENTS]]
        case "C" | "M":
            values = _pairs(data, min(count, _ELEMENTS), code)
        case _:
            shown = min(count, _ELEMENTS)
            values = [
                scaled(float(f"{value:.7g}") if code == "E" else value)
                for value in struct.unpack_from(f">{shown}{_CODES[code]}", data)
            ]
    if count == 1:
        return values[0]
    return [*values, f"… {count} in all"] if count > _ELEMENTS else values


def _pairs(data: bytes, shown: int, code: str) -> list[Any]:
    parts = struct.unpack_from(f">{2 * shown}{_CODES[code][0]}", data)
    return [plain(complex(*parts[n : n + 2])) for n in range(0, 2 * shown, 2)]


def _variable(
    at: Source, heap: int, offset: int, code: str, inner: str, scaled: Scaling
) -> Callable[[bytes], Any]:
    """Give what reads an array whose length each row says for itself."""

    def read(row: bytes) -> Any:
        count, begin = struct.unpack_from(">ii" if code == "P" else ">qq", row, offset)
        if count <= 0 or begin < 0:
            return []
        shown = min(count, 256 if inner == "A" else _ELEMENTS)
        size = -(-shown // 8) if inner == "X" else shown * _SIZES[inner]
        data = at.read(heap + begin, size)
        if len(data) < size:
            return None
        if inner in "AX":
            return _cell(data, shown, inner, scaled)
        found = _cell(data, shown, inner, scaled)
        values = found if isinstance(found, list) else [found]
        return [*values, f"… {count} in all"] if count > shown else values

    return read


def _text_columns(said: dict[str, Card], unit: Unit, length: int) -> list[_Column]:
    found = []
    for n in range(1, min(unit.columns or 0, MOST_COLUMNS) + 1):
        form = _TEXT_FORM.fullmatch(_text(said, f"TFORM{n}").strip().upper())
        begin = _number(said, f"TBCOL{n}") - 1
        if form is None or begin < 0 or begin + int(form[2]) > length:
            raise FitsError(f"HDU {unit.index}: TFORM{n} is missing, or no format of a text table.")
        null = _text(said, f"TNULL{n}").strip() if f"TNULL{n}" in said else None
        read = _text_cell(slice(begin, begin + int(form[2])), form[1], null, _scaling(said, n))
        name = _text(said, f"TTYPE{n}") or f"column {n}"
        kind = "integer" if form[1] == "I" else _WORDS[form[1]]
        found.append(_Column(name, kind, _text(said, f"TUNIT{n}"), read))
    return found


def _text_cell(
    where: slice, code: str, null: str | None, scaled: Scaling
) -> Callable[[bytes], Any]:
    def read(row: bytes) -> Any:
        text = row[where].decode("latin-1").strip()
        if code == "A":
            return text
        if not text or text == null:
            return None
        try:
            return scaled(int(text) if code == "I" else float(text.upper().replace("D", "E")))
        except ValueError:
            return text

    return read
