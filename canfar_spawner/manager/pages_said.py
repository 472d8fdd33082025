"""What came of a form, carried over to the page that follows it and shown there once.

A form that was sent leads on to a page that is looked at: reloading that page does nothing again.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

KEPT: Final = timedelta(minutes=2)
_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class _Left:
    owner: str
    about: str
    at: datetime
    words: Mapping[str, str]


class Said:
    """Words that wait for the next page of whoever they are for; in memory alone.

    Parameters
    ----------
    clock : callable
        Gives the time in UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._left: OrderedDict[str, _Left] = OrderedDict()

    def leave(self, owner: str, about: str, words: Mapping[str, str]) -> str:
        """Keep words for one page of somebody, and give what its address asks for them with."""
        key = secrets.token_urlsafe(12)
        self._left[key] = _Left(owner, about, self._clock(), words)
        while len(self._left) > _MOST:
            self._left.popitem(last=False)
        return key

    def take(self, key: str, owner: str, about: str) -> dict[str, str]:
        """Give words once, and only to whom they are for, on the page that they are for."""
        now = self._clock()
        for old in [key for key, left in self._left.items() if now - left.at > KEPT]:
            del self._left[old]
        found = self._left.get(key)
        if found is None or (found.owner, found.about) != (owner, about):
            return {}
        del self._left[key]
        return dict(found.words)
