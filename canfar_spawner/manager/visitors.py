"""Who is in which session now, as the sessions' own heartbeats tell.

A heartbeat counts for its session only, and proves nobody's right to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.names import SessionId

STALE_AFTER: Final = timedelta(seconds=50)
"""A session tells every 20 seconds; one that has been silent for longer tells nothing."""
_MOST: Final = 200
_LONGEST_NAME: Final = 255


class Here(Frozen):
    """Somebody who is in a session now."""

    name: str
    since: datetime


class Moved(Protocol):
    """Told when somebody comes into a session or goes."""

    def __call__(self, session: SessionId, *, owner: str, name: str, came: bool) -> None:
        """Take note."""


@dataclass
class _Room:
    owner: str
    told: datetime
    here: dict[str, datetime] = field(default_factory=dict)


class Visits:
    """What sessions have told of their visitors.

    Parameters
    ----------
    clock : callable
        Gives the time in UTC.
    moved : Moved
    """

    def __init__(self, clock: Callable[[], datetime], moved: Moved) -> None:
        self._clock = clock
        self._moved = moved
        self._rooms: dict[SessionId, _Room] = {}

    def tell(self, session: SessionId, found: Iterable[Here], *, owner: str) -> None:
        """Take what a session tells; its owner is no visitor."""
        now = self._clock()
        named: dict[str, datetime] = {}
        for one in found:
            if len(named) >= _MOST:
                break
            if one.name and one.name != owner and len(one.name) <= _LONGEST_NAME:
                named[one.name] = min(one.since, now)
        room = self._rooms.setdefault(session, _Room(owner, now))
        before, room.here, room.told = room.here, named, now
        for name in sorted(named.keys() - before.keys()):
            self._moved(session, owner=owner, name=name, came=True)
        for name in sorted(before.keys() - named.keys()):
            self._moved(session, owner=owner, name=name, came=False)

    def here(self, session: SessionId) -> tuple[Here, ...]:
        """Give who is in a session now, by name."""
        room = self._rooms.get(session)
        if room is None or self._clock() - room.told > STALE_AFTER:
            return ()
        return tuple(Here(name=name, since=since) for name, since in sorted(room.here.items()))

    def forget(self, session: SessionId) -> None:
        """Forget a session that has ended: nobody is in it any more."""
        room = self._rooms.pop(session, None)
        if room is None:
            return
        for name in sorted(room.here):
            self._moved(session, owner=room.owner, name=name, came=False)
