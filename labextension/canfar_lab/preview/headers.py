"""What is told of a FITS file's units and of one header, and what of it is remembered."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from canfar_lab.fits.cards import cards
from canfar_lab.fits.sources import FitsError, source
from canfar_lab.fits.units import Unit, Units, header_at

PAGE = 200
"""Units that are told at once."""
_MOST_CARDS = 20_000
_REMEMBERED = 32
_LOOKED_FOR = 1.0
"""Seconds, beyond what is asked for: to say how many units there are."""


class Headers:
    """The headers of files; where they lie in those that were looked into last is remembered."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, ...], tuple[Units, threading.Lock]] = OrderedDict()
        self._changing = threading.Lock()

    def look(self, descriptor: int, hdu: int, first: int) -> dict[str, Any]:
        """Tell of some units, and the header of one.

        Raises
        ------
        FitsError
        """
        units, lock = self._units(descriptor)
        at = source(descriptor)
        with lock:
            units.find(at, max(hdu + 1, first + PAGE), seconds=_LOOKED_FOR)
            if hdu >= len(units.found):
                raise FitsError(f"There is no HDU {hdu} in this file. {units.problem}".strip())
            unit, shown = units.found[hdu], units.found[first : first + PAGE]
            total, complete = len(units.found), units.complete
        header = header_at(at, unit.at, unit.index).decode("latin-1")
        found = [[card.keyword, card.text, card.comment, card.type] for card in cards(header)]
        return {
            "hdus": [_told(each) for each in shown],
            "first": first,
            "total": total,
            "complete": complete,
            "problem": units.problem or None,
            "hdu": hdu,
            "cards": found[:_MOST_CARDS],
            "cards_total": len(found),
        }

    def _units(self, descriptor: int) -> tuple[Units, threading.Lock]:
        found = os.fstat(descriptor)
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        with self._changing:
            known = self._known.setdefault(key, (Units(), threading.Lock()))
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known


def _told(unit: Unit) -> dict[str, Any]:
    return {
        "index": unit.index,
        "type": unit.type,
        "name": unit.name,
        "version": unit.version,
        "shape": list(unit.shape),
        "rows": unit.rows,
        "columns": unit.columns,
        "bytes": unit.data,
    }
