"""FITS files made byte by byte, also such as no package would write."""

from __future__ import annotations

import random
import string
import struct
from collections.abc import Callable, Sequence

BLOCK = 2880
SIGNS = string.ascii_letters + string.digits + ' .,:;-+*()[]{}<>=!?@#$%^&_|~"`\\'


def card(keyword: str, value: str = "", comment: str = "") -> str:
    """Give a card whose value is written as it is."""
    if keyword in {"COMMENT", "HISTORY", ""}:
        return f"{keyword:<8}{value}"[:80].ljust(80)
    text = f"{keyword:<8}= {value if value.startswith(chr(39)) else value.rjust(20)}"
    if comment:
        text = f"{text.ljust(31)}/ {comment}"
    return text[:80].ljust(80)


def quoted(text: str) -> str:
    """Give a string as a card has it."""
    return "'" + text.replace("'", "''").ljust(8) + "'"


def header(cards: Sequence[str], *, end: bool = True) -> bytes:
    """Give cards as a header has them, padded to whole blocks."""
    text = "".join(cards) + ("END".ljust(80) if end else "")
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("latin-1")


def padded(data: bytes, fill: bytes = b"\0") -> bytes:
    """Give data padded to whole blocks."""
    return data + fill * (-len(data) % BLOCK)


def structure(depth: int, shape: Sequence[int], *, extension: str = "") -> list[str]:
    """Give the cards that every header begins with."""
    first = card("XTENSION", quoted(extension)) if extension else card("SIMPLE", "T")
    axes = [card(f"NAXIS{n}", str(length)) for n, length in enumerate(shape, 1)]
    found = [first, card("BITPIX", str(depth)), card("NAXIS", str(len(shape))), *axes]
    return [*found, card("PCOUNT", "0"), card("GCOUNT", "1")] if extension else found


def image(
    depth: int, shape: Sequence[int], extra: Sequence[str] = (), *, extension: bool = False
) -> bytes:
    """Give an image of nothing but zeros."""
    size = abs(depth) // 8
    for length in shape:
        size *= length
    begin = structure(depth, shape, extension="IMAGE" if extension else "")
    return header([*begin, *extra]) + padded(bytes(size if shape else 0))


def table(rows: int, extra: Sequence[str] = ()) -> bytes:
    """Give a table of a number, a float, a text and a truth."""
    begin = structure(8, (15, rows), extension="BINTABLE")
    fields = [("1J", "ID", ""), ("1E", "FLUX", "Jy"), ("6A", "NAME", ""), ("1L", "GOOD", "")]
    named = [card("TFIELDS", str(len(fields)))]
    for n, (form, name, unit) in enumerate(fields, 1):
        named += [card(f"TTYPE{n}", quoted(name)), card(f"TFORM{n}", quoted(form))]
        named += [card(f"TUNIT{n}", quoted(unit))] if unit else []
    data = b"".join(
        struct.pack(">if6s", n, n / 4, f"M{n}".encode()) + (b"T" if n % 2 else b"F")
        for n in range(rows)
    )
    return header([*begin, *named, *extra]) + padded(data)


Chance = random.Random


def _words(chance: Chance, longest: int) -> str:
    return "".join(chance.choice(SIGNS) for _ in range(chance.randint(1, longest))).strip() or "x"


def _keyword(chance: Chance) -> str:
    signs = string.ascii_uppercase + string.digits + "_-"
    # What a header is made of would change what its unit is.
    return "Q" + "".join(chance.choice(signs) for _ in range(chance.randint(0, 7)))


def _continued(chance: Chance) -> list[str]:
    text = _words(chance, 40).replace("'", "") + "'s " + _words(chance, 200).replace("&", "+")
    text = text.replace("'", "''")
    pieces = [text[at : at + 60] for at in range(0, len(text), 60)]
    # Two quotes stand for one, and must not be parted.
    for n in range(len(pieces) - 1):
        if (len(pieces[n]) - len(pieces[n].rstrip("'"))) % 2:
            pieces[n], pieces[n + 1] = pieces[n][:-1], "'" + pieces[n + 1]
    last = len(pieces) - 1
    cards = []
    for n, piece in enumerate(pieces):
        start = f"{_keyword(chance):<8}= " if n == 0 else "CONTINUE  "
        comment = " / of " + str(n) if chance.random() < 0.4 else ""
        cards.append(f"{start}'{piece}{'&' if n < last else ''}'{comment}"[:80].ljust(80))
    return cards


def _hierarch(chance: Chance) -> list[str]:
    name = " ".join(_keyword(chance) for _ in range(chance.randint(2, 4)))
    value = chance.choice(["12.5", quoted(_words(chance, 8)), "T", "-7", "1.5E3"])
    return [f"HIERARCH ESO {name} = {value} / {_words(chance, 10)}"[:80].ljust(80)]


def _text(chance: Chance) -> list[str]:
    value = quoted(_words(chance, 40) + chance.choice(["", "'", " 'tis", "   "]))
    return [card(_keyword(chance), value, _words(chance, 20))]


def _number(chance: Chance) -> list[str]:
    value = chance.choice(
        [
            str(chance.randint(-(10**17), 10**17)),
            f"{chance.uniform(-1e5, 1e5):.6f}",
            f"{chance.uniform(-1, 1):.12E}",
            f"{chance.uniform(-1, 1):.8E}".replace("E", "D"),
            f"{chance.uniform(0, 9):.2e}",
            f"+{chance.randint(0, 99)}.",
            f".{chance.randint(0, 99)}",
            f"000{chance.randint(0, 99)}",
            "-0",
            f"({chance.randint(-9, 9)}, {chance.uniform(-1, 1):.3f})",
            f"(1.5D2,-{chance.randint(0, 9)})",
        ]
    )
    return [card(_keyword(chance), value, chance.choice(["", _words(chance, 30)]))]


def _other(chance: Chance) -> list[str]:
    name = _keyword(chance)
    return [
        chance.choice(
            [
                card("COMMENT", _words(chance, 72)),
                card("HISTORY", "  " + _words(chance, 60)),
                card(""),
                card("", _words(chance, 60)),
                card(name),
                card(name, "", "without a value"),
                card(name, chance.choice("TF"), "truth"),
                card(name, "''"),
                card(name, "'        '"),
                # In free format, and with a comment that begins at once.
                f"{name:<8}= 12/at once".ljust(80),
                f"{name:<8}=      'free / form'/ a slash in it".ljust(80),
                f"{name:<8}= T /".ljust(80),
                card(name, quoted("ends with &")),
                f"{name:<8} no value, {_words(chance, 20)}".replace("=", "-")[:80].ljust(80),
            ]
        )
    ]


ODDITIES: tuple[Callable[[Chance], list[str]], ...] = (
    _continued,
    _hierarch,
    _text,
    _number,
    _number,
    _other,
    _other,
)


def odd_cards(chance: Chance, count: int) -> list[str]:
    """Give cards of every kind, and some that only just are ones."""
    return [each for _ in range(count) for each in chance.choice(ODDITIES)(chance)]


def odd_file(seed: int) -> bytes:
    """Give a file that FITS allows, different for each seed."""
    chance = Chance(seed)
    shapes: list[tuple[int, ...]] = [(), (0,), (5,), (7, 3), (4, 0), (3, 4, 2), (1, 1, 1, 1)]
    depths = (8, 16, 32, 64, -32, -64)
    extensions = chance.choice([0, 0, 1, 2, 5])
    # Astropy adds it where it is missing.
    said = [card("EXTEND", "T")] if extensions else []
    parts = [image(chance.choice(depths), chance.choice(shapes), said + odd_cards(chance, 40))]
    for n in range(extensions):
        named = [card("EXTNAME", quoted(f"PART{n}")), card("EXTVER", str(n + 1))]
        extra = [*named, *odd_cards(chance, chance.choice([0, 3, 60]))]
        if chance.random() < 0.4:
            parts.append(table(chance.choice([0, 1, 40]), extra))
        else:
            shape = chance.choice(shapes)
            parts.append(image(chance.choice(depths), shape, extra, extension=True))
    return b"".join(parts)
