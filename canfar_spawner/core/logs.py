"""How much of a program's output is shown and kept."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 8_000_000
"""Bytes of a log that are shown and kept, the last ones."""
CUT: Final = "[The log is longer than this: here are its last 8 MB.]\n"
"""The first line of a log that was cut."""


def last_of(output: bytes, *, cut: bool = False) -> str:
    """Give the end of a program's output as text, which says in its first line if it was cut.

    Parameters
    ----------
    output : bytes
    cut : bool
        Whether something came before it that was not read.
    """
    if len(output) > LONGEST:
        output, cut = output[-LONGEST:], True
    text = output.decode(errors="replace")
    if not cut or text.startswith(CUT):
        return text
    # The first line is a part of one now, unless all of it is one line.
    return CUT + (text.partition("\n")[2] or text)
