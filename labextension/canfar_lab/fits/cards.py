"""Cards of a FITS header: keyword, value and comment out of 80 characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

CARD = 80
_KEYWORD = 8
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY"})

# Whatever is no string ends where a comment begins; what it is, is seen afterwards.
_STRING = r"'([^']*(?:''[^']*)*)'"
_VALUE = re.compile(rf" *(?:{_STRING}|([^'/ ][^/]*))? *(?:/ *(.*))?", re.DOTALL)
_CONTINUED = re.compile(rf" *{_STRING} *(?:/ *(.*))?", re.DOTALL)
_INTEGER = re.compile(r"[+-]? *\d+")
_DECIMAL = r"[+-]? *(?:\.\d+|\d+(?:\.\d*)?) *(?:[deDE] *[+-]? *\d+)?"
_FLOAT = re.compile(_DECIMAL)
_COMPLEX = re.compile(rf"\( *({_DECIMAL}) *, *({_DECIMAL}) *\)")

_TRUTHS = frozenset({"T", "F"})

Value = str | int | float | complex | bool | None


class Card(NamedTuple):
    """One keyword of a header with what it says."""

    keyword: str
    text: str
    """The value as it is written; of a string what is between its quotes."""
    comment: str
    type: str
    """``s`` string, ``l`` logical, ``i`` integer, ``f`` float, ``c`` complex, ``u`` without a
    value, ``-`` commentary, ``?`` a value that cannot be read."""

    @property
    def value(self) -> Value:
        """The value as Python has it; of what cannot be read, the text."""
        match self.type:
            case "l":
                return self.text == "T"
            case "i":
                return int(self.text.replace(" ", ""))
            case "f":
                return _float(self.text)
            case "c":
                parts = _COMPLEX.fullmatch(self.text)
                return complex(_float(parts[1]), _float(parts[2])) if parts else None
            case "u":
                return None
            case _:
                return self.text


def _float(text: str) -> float:
    return float(text.replace(" ", "").upper().replace("D", "E"))


def parse(image: str) -> Card:
    """Read one card.

    Examples
    --------
    >>> parse("EXPTIME =                 30.0 / [s] how long".ljust(80))
    Card(keyword='EXPTIME', text='30.0', comment='[s] how long', type='f')
    """
    keyword = image[:_KEYWORD].rstrip().upper()
    if keyword in _COMMENTARY:
        return Card(keyword, image[_KEYWORD:].rstrip(), "", "-")
    if image[8:10] == "= ":
        rest = image[10:]
    elif keyword == "HIERARCH" and image[8:9] == " " and "=" in image:
        keyword, _, rest = image[9:].partition("=")
        keyword = keyword.strip()
    else:
        # Some write the sign right behind a short keyword.
        sign = image.find("= ")
        if not 0 < sign < _KEYWORD:
            return Card(keyword, image[_KEYWORD:].rstrip(), "", "-")
        keyword, rest = image[:sign].strip().upper(), image[sign + 2 :]
    return _with_value(keyword, rest)


def _with_value(keyword: str, rest: str) -> Card:
    found = _VALUE.fullmatch(rest)
    if found is None:
        # A string without its second quote.
        text, _, comment = rest.partition("/")
        return Card(keyword, text.strip(), comment.strip(), "?")
    string, other, comment = found.groups()
    comment = comment.rstrip() if comment else ""
    if string is not None:
        return Card(keyword, string.replace("''", "'").rstrip(), comment, "s")
    text = other.rstrip() if other else ""
    return Card(keyword, text, comment, _type(text))


def _type(text: str) -> str:
    if not text:
        return "u"
    if text in _TRUTHS:
        return "l"
    if _INTEGER.fullmatch(text):
        return "i"
    if _FLOAT.fullmatch(text):
        return "f"
    return "c" if _COMPLEX.fullmatch(text) else "?"


def cards(header: str) -> Iterator[Card]:
    """Read the cards of a header before its END; a string that goes on is one card."""
    images = [header[at : at + CARD] for at in range(0, len(header), CARD)]
    at = 0
    while at < len(images):
        card = parse(images[at])
        at += 1
        if card.keyword == "END" and card.type == "-":
            return
        if card.type == "s" and card.text.endswith("&"):
            pieces, comments = [card.text], [card.comment]
            while pieces[-1].endswith("&") and at < len(images):
                more = _continued(images[at])
                if more is None:
                    break
                pieces[-1] = pieces[-1][:-1]
                pieces.append(more[0])
                comments.append(more[1])
                at += 1
            if len(pieces) > 1:
                text = "".join(pieces).removesuffix("&").rstrip()
                card = Card(card.keyword, text, " ".join(filter(None, comments)), "s")
        yield card


def _continued(image: str) -> tuple[str, str] | None:
    if image[:_KEYWORD] != "CONTINUE" or image[8:10] == "= ":
        return None
    found = _CONTINUED.fullmatch(image[_KEYWORD:])
    if found is None:
        return None
    return found[1].replace("''", "'").rstrip(), (found[2] or "").rstrip()
