"""FITS images, as far as the stand-in shows them: one plane at a time, in single precision."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_BLOCK = 2880
_CARD = 80
TILE = 256
"""Pixels of a tile's side."""
_STRING, _FLOAT, _INTEGER = 0, 1, 2


@dataclass(frozen=True)
class Card:
    """One line of a header."""

    name: str
    value: str
    comment: str

    def entry(self) -> dict[str, Any]:
        """Give it as the protocol has it."""
        text = self.value.strip("'").rstrip()
        found: dict[str, Any] = {"name": self.name, "value": text, "comment": self.comment}
        if not self.value.startswith("'") and self.value not in ("T", "F", ""):
            number = float(self.value.replace("D", "E"))
            whole = "." not in self.value and "E" not in self.value
            found |= {"entryType": _INTEGER if whole else _FLOAT, "numericValue": number}
        return found


@dataclass(frozen=True)
class Image:
    """The first image of a file."""

    path: Path
    cards: tuple[Card, ...]
    start: int
    """Where its pixels begin."""

    def number(self, name: str, default: int = 1) -> int:
        """Give a whole number of its header."""
        found = [card.value for card in self.cards if card.name == name]
        return int(found[0]) if found else default

    @property
    def width(self) -> int:
        """Pixels along the first axis."""
        return self.number("NAXIS1")

    @property
    def height(self) -> int:
        """Pixels along the second axis."""
        return self.number("NAXIS2")

    @property
    def depth(self) -> int:
        """Planes."""
        return self.number("NAXIS3")


def read_image(path: Path) -> Image:
    """Read a file's header.

    Raises
    ------
    ValueError
        It is no image in single precision.
    """
    cards, start = [], 0
    with path.open("rb") as file:
        ended = False
        while not ended:
            block = file.read(_BLOCK)
            if len(block) < _BLOCK:
                raise ValueError(f"{path.name} is no FITS file")
            start += _BLOCK
            for place in range(0, _BLOCK, _CARD):
                line = block[place : place + _CARD].decode("ascii", "replace")
                if line.startswith("END "):
                    ended = True
                    break
                if line[8:10] == "= ":
                    value, _, comment = line[10:].partition(" /")
                    cards.append(Card(line[:8].strip(), value.strip(), comment.strip()))
    image = Image(path, tuple(cards), start)
    if image.number("NAXIS", 0) < 2 or image.number("BITPIX", 0) != -32:
        raise ValueError(f"{path.name} is no image in single precision")
    return image


@lru_cache(maxsize=4)
def plane(image: Image, channel: int) -> tuple[float, ...]:
    """Give the pixels of a plane, row after row from the lowest."""
    size = image.width * image.height
    with image.path.open("rb") as file:
        file.seek(image.start + 4 * size * channel)
        return struct.unpack(f">{size}f", file.read(4 * size))


def _means(image: Image, channel: int, rows: range, columns: range, mip: int) -> Iterator[float]:
    pixels, width, height = plane(image, channel), image.width, image.height
    for row in rows:
        for column in columns:
            found = [
                value
                for y in range(row * mip, min((row + 1) * mip, height))
                for value in pixels[y * width + column * mip : y * width + (column + 1) * mip]
                if not math.isnan(value)
            ]
            yield sum(found) / len(found) if found else math.nan


def tile(image: Image, channel: int, code: int) -> dict[str, Any]:
    """Give a tile as the protocol has it, without compression.

    Parameters
    ----------
    image : Image
    channel : int
    code : int
        Layer, row and column in one number; each layer has twice the pixels of the one before, and
        the last one all.
    """
    layer, y, x = code >> 24 & 0x7F, code >> 12 & 0xFFF, code & 0xFFF
    longest = max(image.width, image.height)
    layers = max(0, math.ceil(math.log2(longest / TILE)))
    mip = 1 << max(0, layers - layer)
    width, height = math.ceil(image.width / mip), math.ceil(image.height / mip)
    rows = range(y * TILE, min((y + 1) * TILE, height))
    columns = range(x * TILE, min((x + 1) * TILE, width))
    if mip == 1 and len(columns) == image.width:
        values = plane(image, channel)[rows.start * width : rows.stop * width]
    else:
        values = tuple(_means(image, channel, rows, columns, mip))
    return {
        "layer": layer,
        "x": x,
        "y": y,
        "width": len(columns),
        "height": len(rows),
        "imageData": struct.pack(f"<{len(values)}f", *values),
        "mip": mip,
    }


def histogram(image: Image, channel: int) -> dict[str, Any]:
    """Give how the values of a plane are spread; the page sets its colours by it."""
    values = [value for value in plane(image, channel) if not math.isnan(value)] or [0.0]
    low, high = min(values), max(values)
    bins = max(2, round(math.sqrt(len(values))))
    step = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / step))] += 1
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return {
        "numBins": bins,
        "binWidth": step,
        "firstBinCenter": low + step / 2,
        "bins": counts,
        "mean": mean,
        "stdDev": math.sqrt(variance),
    }
