"""The units of a FITS file: where each header and its data lie, and what they are."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field

from canfar_lab.fits.cards import CARD, Card, parse
from canfar_lab.fits.sources import FitsError, Source

BLOCK = 2880
_FIRST = 4 * BLOCK
_LONGEST = 64 << 20
"""Bytes of a header: what is longer has no end."""
_DEPTHS = frozenset({8, 16, 32, 64, -32, -64})
_TYPES = {"IMAGE": "image", "BINTABLE": "table", "A3DTABLE": "table", "TABLE": "text table"}
_NAMES = frozenset(
    {
        "SIMPLE",
        "XTENSION",
        "BITPIX",
        "NAXIS",
        "PCOUNT",
        "GCOUNT",
        "GROUPS",
        "TFIELDS",
        "EXTNAME",
        "EXTVER",
        "ZIMAGE",
        "ZNAXIS",
    }
)
_AXIS = re.compile(r"Z?NAXIS[1-9]\d*")
_END = b"END" + b" " * (CARD - 3)


@dataclass(frozen=True, slots=True)
class Unit:
    """One header with its data."""

    index: int
    type: str
    """``image``, ``table``, ``text table``, ``compressed image``, ``groups`` or ``other``."""
    name: str
    version: int
    shape: tuple[int, ...]
    """Of an image, as the header says it: the axis that changes fastest is the first."""
    rows: int | None
    columns: int | None
    at: int
    header: int
    """Bytes of the header with its padding."""
    data: int
    """Bytes of the data without theirs."""

    @property
    def data_at(self) -> int:
        """Where the data begin."""
        return self.at + self.header

    @property
    def ends(self) -> int:
        """Where the next unit begins."""
        return self.data_at + -(-self.data // BLOCK) * BLOCK


@dataclass
class Units:
    """What is known of a file's units; it is read on as far as somebody asks.

    Attributes
    ----------
    found : list of Unit
    complete : bool
        There is nothing more to find.
    problem : str
        What is wrong behind the last that was found, in a sentence.
    """

    found: list[Unit] = field(default_factory=list)
    complete: bool = False
    problem: str = ""

    def find(self, source: Source, upto: int, *, seconds: float = 0.2) -> None:
        """Find units until there are so many, and for so long those behind them.

        Raises
        ------
        FitsError
            It is no FITS file.
        """
        deadline = time.monotonic() + seconds
        while not self.complete and (len(self.found) < upto or time.monotonic() < deadline):
            try:
                self._one_more(source)
            except FitsError as error:
                if not self.found:
                    raise
                self.problem, self.complete = str(error), True

    def _one_more(self, source: Source) -> None:
        at = self.found[-1].ends if self.found else 0
        index = len(self.found)
        size = source.size
        if self.found and self._ends_early(self.found[-1], size):
            return
        start = source.read(at, _FIRST)
        if index and not start.strip(b"\0 "):
            # Padding, which some write more of than they should.
            self.complete = True
            return
        if index and not start.startswith(b"XTENSION"):
            self.complete = True
            self.problem = f"What follows HDU {index - 1} is no HDU."
            return
        header = header_at(source, at, index, start)
        self.found.append(describe(header, index, at))

    def _ends_early(self, last: Unit, size: int | None) -> bool:
        missing = last.data_at + last.data - size if size is not None else 0
        if missing > 0:
            self.complete = True
            self.problem = (
                f"The file is cut off: HDU {last.index} lacks {missing} bytes of its data."
            )
        return missing > 0


def header_at(source: Source, at: int, index: int, start: bytes = b"") -> bytes:
    """Give a header up to its END.

    Raises
    ------
    FitsError
        There is none, or it has no end.
    """
    read = start or source.read(at, _FIRST)
    if index == 0 and not read.startswith(b"SIMPLE  ="):
        said = "it does not begin with SIMPLE" if read else "it is empty"
        raise FitsError(f"This is no FITS file: {said}.")
    parts, looked, begun = [read], 0, 0
    while True:
        end = _end(read)
        if end is not None:
            return b"".join(parts[:-1]) + read[: end + CARD]
        looked += len(read)
        if not read or len(read) % BLOCK or looked > _LONGEST:
            raise FitsError(
                f"The header of HDU {index} has no END: the file is cut off or damaged."
            )
        begun = min(max(_FIRST, looked), 1 << 20)
        read = source.read(at + looked, begun)
        parts.append(read)


def _end(read: bytes) -> int | None:
    at = read.find(_END)
    while at >= 0 and at % CARD:
        at = read.find(_END, at + 1)
    return None if at < 0 else at


def describe(header: bytes, index: int, at: int) -> Unit:
    """Say what a unit is, from its header.

    Raises
    ------
    FitsError
        What says how long its data are is missing or wrong.
    """
    said = _Said(_structure(header), index)
    depth, axes = said.number("BITPIX"), said.number("NAXIS")
    if depth not in _DEPTHS:
        raise FitsError(f"HDU {index}: BITPIX is {depth}, which FITS does not know.")
    if not 0 <= axes <= 999:
        raise FitsError(f"HDU {index}: NAXIS is {axes}, and must be from 0 to 999.")
    shape = tuple(said.length(f"NAXIS{n}") for n in range(1, axes + 1))
    groups = index == 0 and said.is_true("GROUPS") and shape[:1] == (0,)
    elements = math.prod(shape[1:] if groups else shape) if shape else 0
    extras, count = said.length("PCOUNT", 0), said.length("GCOUNT", 1)
    if index == 0 and not groups:
        # The first unit has neither, whatever it says.
        extras, count = 0, 1
    kind = (
        "groups"
        if groups
        else "image"
        if index == 0
        else _TYPES.get(said.text("XTENSION"), "other")
    )
    rows = columns = None
    if kind in {"table", "text table"}:
        rows, columns = (shape[1] if len(shape) > 1 else 0), said.length("TFIELDS", 0)
        shape = ()
        if said.is_true("ZIMAGE"):
            kind, rows, columns = "compressed image", None, None
            shape = tuple(said.length(f"ZNAXIS{n}") for n in range(1, said.length("ZNAXIS") + 1))
    return Unit(
        index=index,
        type=kind,
        name=said.text("EXTNAME"),
        version=said.length("EXTVER", 1),
        shape=shape,
        rows=rows,
        columns=columns,
        at=at,
        header=-(-len(header) // BLOCK) * BLOCK,
        data=abs(depth) // 8 * count * (extras + elements),
    )


def _structure(header: bytes) -> dict[str, Card]:
    """Read the few cards that say what a unit is."""
    found: dict[str, Card] = {}
    text = header.decode("latin-1")
    for at in range(0, len(text), CARD):
        name = text[at : at + 8].rstrip()
        if (name in _NAMES or _AXIS.fullmatch(name)) and name not in found:
            found[name] = parse(text[at : at + CARD])
    return found


@dataclass(frozen=True)
class _Said:
    """What a header says of its unit."""

    cards: dict[str, Card]
    index: int

    def number(self, name: str) -> int:
        card = self.cards.get(name)
        if card is None:
            raise FitsError(f"HDU {self.index}: {name} is missing.")
        if card.type != "i" or not isinstance(card.value, int):
            raise FitsError(
                f"HDU {self.index}: {name} is {card.text or 'empty'}, and no whole number."
            )
        return card.value

    def length(self, name: str, missing: int | None = None) -> int:
        if missing is not None and name not in self.cards:
            return missing
        number = self.number(name)
        if number < 0:
            raise FitsError(f"HDU {self.index}: {name} is {number}, and must not be negative.")
        return number

    def text(self, name: str) -> str:
        card = self.cards.get(name)
        return card.text if card is not None and card.type == "s" else ""

    def is_true(self, name: str) -> bool:
        card = self.cards.get(name)
        return card is not None and card.value is True
