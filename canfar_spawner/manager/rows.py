"""Sessions as text for lists: each is written once for as long as nothing of it changes.

A list of a thousand sessions is asked for every few seconds; most of them are as they were.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from canfar_spawner.core.backend import Use
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.status import Evidence
from canfar_spawner.manager import wire
from canfar_spawner.manager.records import SessionRecord

_MOST: Final = 10_000
"""Rows that are kept, of about a thousand bytes each."""


_WORDS: Final[tuple[str, ...]] = ("userid", "type", "status", "state", "startTime")


class Row(NamedTuple):
    """A session, and what lists are filtered by."""

    text: str
    """As JSON."""
    words: dict[str, str]
    """Those of its keys that filters and outlines need."""


class Rows:
    """Writes sessions, and remembers what it has written."""

    def __init__(self) -> None:
        self._kept: OrderedDict[LaunchId, tuple[tuple[Any, ...], SessionRecord, Row]] = (
            OrderedDict()
        )

    def of(
        self,
        record: SessionRecord,
        evidence: Evidence,
        *,
        use: Use | None = None,
        shares: int = 0,
        guests: tuple[str, ...] = (),
        warning: str = "",
    ) -> Row:
        """Write a session; the parameters are those of `wire.session_json`."""
        # What is left out of an evidence here is shown nowhere, and changes at every look.
        key = (
            *(evidence.life, evidence.phase, evidence.reason, evidence.detail),
            *(evidence.exit_code, evidence.node, evidence.qos),
            *((use.cores, use.memory) if use else (None, None)),
            shares,
            guests,
            warning,
        )
        kept = self._kept.get(record.launch)
        if kept is not None and kept[0] == key and kept[1] is record:
            self._kept.move_to_end(record.launch)
            return kept[2]
        found = wire.session_json(
            record, evidence, use=use, shares=shares, guests=guests, warning=warning
        )
        words = {name: str(found[name]) for name in _WORDS if name in found}
        row = Row(json.dumps(found, separators=(",", ":")), words)
        self._kept[record.launch] = key, record, row
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return row
