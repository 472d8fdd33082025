"""When sessions end: extensions, warnings, and the end itself.

Promised times are times of day. A clock that jumps says nothing reliable for a while: until it
has gone steadily for a minute nothing is ended, so that a wrong hour that is put right at once
costs nobody her session.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from canfar_spawner.core.backend import Backend
from canfar_spawner.core.errors import Invalid, SessionError, shown
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.core.lifetime import due_warning, renewed_end
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.status import Reason
from canfar_spawner.manager.observer import for_ever
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry

TICK: Final = 2.0
"""Seconds between two looks at the clock."""
_JUMP: Final = 10.0
"""Seconds by which a clock that is merely corrected does not move between two looks."""
_STEADY: Final = 60.0
_AGAIN: Final = 10.0
"""Seconds until a session that was told to end and has not is told again."""
_LATE: Final = timedelta(seconds=60)
_AT_ONCE: Final = 16
_UNITS: Final = (("TB", 2**40), ("GB", 2**30), ("MB", 2**20), ("kB", 2**10))
"""As everywhere on pages, of 2¹⁰ and its powers."""


class Scratch(Frozen):
    """What a session keeps where nothing is kept."""

    files: int
    bytes: int
    complete: bool = True
    """Whether everything was counted; else there is more."""


class Renewal(Frozen):
    """What an extension came to."""

    record: SessionRecord
    latest: datetime
    """No extension reaches further."""

    @property
    def at_limit(self) -> bool:
        """Whether it cannot be extended any more."""
        return self.record.ends >= self.latest

    @property
    def sentence(self) -> str:
        """Say until when it lasts now."""
        limit = " It cannot be extended further." if self.at_limit else ""
        return f"{self.record.name} now ends {moment(self.record.ends)}.{limit}"


class Notice(Frozen):
    """A warning that the owner of a session is given now."""

    session: SessionId
    owner: str
    name: str
    before: int
    """Seconds before the end that the warning is for."""
    ends: datetime
    sentence: str


class Herald(Protocol):
    """Passes on what the hub's pages are to show."""

    async def extended(self, record: SessionRecord) -> None:
        """Tell that a session lasts longer."""

    async def warned(self, record: SessionRecord, sentence: str) -> None:
        """Tell that an end is near."""


@dataclass(frozen=True, slots=True)
class Means:
    """What lifetimes are kept with."""

    news: Herald
    stop: Callable[[SessionRecord], Awaitable[None]]
    """Ends a session or job for good: by the hub, or by what runs the jobs."""
    scratch: Callable[[SessionRecord], Scratch | None]
    """Says what a session has in scratch, as far as is known."""


def moment(at: datetime) -> str:
    """Write a time for a sentence."""
    return f"at {at:%H:%M} UTC on {at.day} {at:%B}"


def not_active(owner: str, session: str) -> Invalid:
    """Give the refusal for a session that has ended or never was."""
    return Invalid(
        f"{owner} has no active session or job with the id {shown(session, limit=20)}; only what"
        " has not ended can be extended.",
        code="not_active",
    )


def scratch_words(scratch: Scratch | None) -> str:
    """Say what an end wipes, empty where nothing is known to be there."""
    if scratch is None or scratch.files == 0:
        return ""
    size = float(scratch.bytes)
    unit = next((unit for unit, of in _UNITS if size >= of / 10), "B")
    amount = f"{size / dict(_UNITS)[unit]:.1f} {unit}" if unit != "B" else f"{scratch.bytes} B"
    files = "1 file" if scratch.files == 1 else f"{scratch.files} files"
    least = "" if scratch.complete else "At least "
    return f" {least}{files} ({amount}) in /scratch will be wiped."


class SteadyClock:
    """Says whether the time of day can be believed.

    Parameters
    ----------
    clock : callable
        Gives the time of day in UTC.
    monotonic : callable
        Gives seconds that only ever grow.
    log : logging.Logger
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._log = log
        self._last: tuple[datetime, float] | None = None
        self._jumped: float | None = None

    def look(self) -> bool:
        """Compare both clocks; true if the time of day has gone steadily for a minute."""
        wall, steady = self._clock(), self._monotonic()
        if self._last is not None:
            passed = (wall - self._last[0]).total_seconds()
            jump = passed - (steady - self._last[1])
            if abs(jump) > _JUMP:
                self._jumped = steady
                self._log.warning(
                    "The clock jumped by %+.0f s; nothing is ended until it has been steady for"
                    " a minute",
                    jump,
                )
        self._last = (wall, steady)
        return self._jumped is None or steady - self._jumped >= _STEADY


class Lifetimes:
    """Extends sessions, warns their owners, and ends what has reached its end.

    Parameters
    ----------
    registry : Registry
    backend : Backend
    identities : IdentitySource
    policy : callable
        Gives the site's policy.
    means : Means
    clock, monotonic : callable
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        registry: Registry,
        backend: Backend,
        identities: IdentitySource,
        policy: Callable[[], SitePolicy],
        means: Means,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._identities = identities
        self._policy = policy
        self._means = means
        self._clock = clock
        self._monotonic = monotonic
        self._log = log
        self._steady = SteadyClock(clock, monotonic, log)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._told: dict[SessionId, float] = {}
        """When a session was last told to end."""
        self._failing: dict[SessionId, str] = {}
        """Why one could not be told to."""
        self._tasks: dict[SessionId, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    # Extending.

    async def renew(self, record: SessionRecord, *, by: str) -> Renewal:
        """Extend a session as far as the site allows; doing so twice is doing so once.

        Raises
        ------
        Invalid
            It has ended, or ends now.
        NotAllowed
            Its owner has no account any more.
        Unavailable
            The back end cannot take the new end now.
        """
        async with self._lock(record.id):
            current = self._registry.get(record.id)
            if current is None or not current.live or current.ending is not None:
                raise not_active(record.owner, record.id)
            self._identities.identity(current.owner)
            lifetimes = self._policy().lifetimes
            started = current.plan.started
            ends = renewed_end(
                current.kind,
                started=started,
                ends=current.ends,
                now=self._clock(),
                lifetimes=lifetimes,
            )
            if ends > current.ends:
                # The promise that holds while nobody is here is made first.
                await self._backend.extend(current.plan, ends)
                current = await self._registry.change(current.id, ends=ends, warned=0)
                await self._means.news.extended(current)
                self._log.info("%s ends at %s now, as %s asked", current.launch, ends, by)
            return Renewal(record=current, latest=max(ends, started + lifetimes.longest))

    def _lock(self, session: str) -> asyncio.Lock:
        return self._locks.setdefault(session, asyncio.Lock())

    # Ending.

    async def end(self, record: SessionRecord, *, reason: Reason, by: str) -> None:
        """Write down why a session is to end, then end it; it is tried until it has.

        Where this raises, the end is written down and goes on by itself.

        Raises
        ------
        SessionError
            The hub or the back end cannot end it now.
        """
        async with self._lock(record.id):
            current = self._registry.get(record.id)
            if current is None or not current.live:
                return
            if current.ending is None:
                current = await self._registry.change(record.id, ending=reason, ending_by=by)
                self._log.info("%s is to end: %s, by %s", current.launch, reason.value, by)
        await self._tell_to_end(current)

    async def _expire(self, session: SessionId, promised: datetime | None) -> None:
        async with self._lock(session):
            # It may have been extended, or have ended, while others were seen to.
            current = self._registry.get(session)
            if current is None or not current.live or current.ends > self._clock():
                return
            if promised is not None and promised > current.ends and current.ending is None:
                # The record is of an older database, or was made anew from the request.
                current = await self._registry.change(session, ends=promised, warned=0)
                await self._means.news.extended(current)
                if promised > self._clock():
                    return
            if current.ending is None:
                current = await self._registry.change(
                    session, ending=Reason.EXPIRED, ending_by="lifetimes"
                )
                self._log.info("%s has reached its end", current.launch)
        await self._tell_to_end(current)

    async def _tell_to_end(self, record: SessionRecord) -> None:
        self._told[record.id] = self._monotonic()
        try:
            async with self._room:
                await self._means.stop(record)
        except Exception as error:
            self._failing[record.id] = (
                error.sentence if isinstance(error, SessionError) else "Something failed."
            )
            raise
        self._failing.pop(record.id, None)

    def _begin(self, session: SessionId, work: Coroutine[Any, Any, None]) -> None:
        async def tried() -> None:
            try:
                await work
            except SessionError as error:
                self._log.warning(
                    "%s could not be ended yet, and is tried again: %s",
                    session,
                    error.detail or error.sentence,
                )
            except Exception:  # noqa: BLE001 - the end is written down and is tried again
                self._log.exception("%s could not be ended yet, and is tried again", session)

        task = asyncio.ensure_future(tried())
        self._tasks[session] = task
        task.add_done_callback(lambda _: self._tasks.pop(session, None))

    # What goes on by itself.

    async def tick(self) -> None:
        """Begin the ends that are due, follow those that were begun, and warn."""
        steady = self._steady.look()
        now = self._clock()
        live = self._registry.live()
        due = [each for each in live if each.ending is None and each.ends <= now] if steady else []
        promised = await self._promised() if due else {}
        for record in live:
            if record.id in self._tasks:
                continue
            if record.ending is not None:
                # Whoever began it may have been killed meanwhile.
                told = self._told.setdefault(record.id, self._monotonic())
                if self._monotonic() - told >= _AGAIN:
                    self._begin(record.id, self._tell_to_end(record))
            elif record.ends <= now:
                if steady:
                    self._begin(record.id, self._expire(record.id, promised.get(record.launch)))
            elif steady:
                await self._warn(record, now)
        ids = {record.id for record in live}
        for kept in (self._told, self._failing):
            for gone in kept.keys() - ids:
                del kept[gone]

    async def _promised(self) -> Mapping[LaunchId, datetime]:
        """Give what the launches themselves were promised; nothing where nobody answers."""
        try:
            return {launch: each.ends for launch, each in (await self._backend.plans()).items()}
        except Exception as error:  # noqa: BLE001 - then the records count
            self._log.info("What is promised cannot be compared now: %r", error)
            return {}

    async def _warn(self, record: SessionRecord, now: datetime) -> None:
        lifetime = record.plan.ends - record.plan.started
        due = due_warning(record.ends, now, lifetime=lifetime)
        seconds = int(due.total_seconds()) if due else 0
        if not seconds or (record.warned and seconds >= record.warned):
            return
        warned = await self._registry.change(record.id, warned=seconds)
        await self._means.news.warned(warned, self._sentence(warned))

    def _sentence(self, record: SessionRecord) -> str:
        latest = record.plan.started + self._policy().lifetimes.longest
        advice = (
            "It cannot be extended further; save what you need."
            if record.ends >= latest
            else "Extend it, or save what you need."
        )
        return (
            f"{record.name} ends {moment(record.ends)}.{scratch_words(self._means.scratch(record))}"
            f" {advice}"
        )

    def notices(self, owner: str) -> tuple[Notice, ...]:
        """Give the warnings of a user that hold now, the nearest end first."""
        found = [
            Notice(
                session=record.id,
                owner=record.owner,
                name=record.name,
                before=record.warned,
                ends=record.ends,
                sentence=self._sentence(record),
            )
            for record in self._registry.of(owner)
            if record.warned and record.live
        ]
        return tuple(sorted(found, key=lambda notice: notice.ends))

    async def settle(self) -> None:
        """Wait until what `tick` has begun is over, well or not."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def problems(self) -> list[str]:
        """Say what should have ended by now and has not."""
        late = [
            record.id
            for record in self._registry.live()
            if record.ends + _LATE < self._clock() and record.id in self._failing
        ]
        if not late:
            return []
        count = "A session is" if len(late) == 1 else f"{len(late)} sessions are"
        return [f"{count} past the promised end and could not be ended. {self._failing[late[0]]}"]

    async def run(self) -> None:
        """Go on for as long as the manager runs."""
        await for_ever(
            self.tick, TICK, log=self._log, failing="The ends of sessions could not be seen to"
        )
