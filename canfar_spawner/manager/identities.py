"""Who users are to the file system, as the hub has told.

There is one source of identities, the hub's; what it says is kept, so that the manager knows its
users also after a restart and while the hub is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from canfar_spawner.core.errors import NotAllowed, Unavailable, shown
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.manager.kept import forget_identities, keep_identities, kept_identities
from canfar_spawner.manager.store import Store

ABSENT_FOR: Final = timedelta(hours=24)
"""How long a user may be missing at the hub, whose database may be lost, before she is gone."""
_TOLD_WITHIN: Final = 12.0
"""Seconds in which a hub that can be reached has told of whoever has just signed in, twice over."""
_LONGEST: Final = 300


class Known(Frozen):
    """What the hub says of one user."""

    name: str
    identity: PosixIdentity | None
    """The last one known, also of whoever is refused now."""
    refusal: str = ""
    """Why she may use nothing, in a sentence."""
    gone: bool = False
    """The hub has deleted her account."""
    absent: datetime | None = None
    """Since when the hub, though it has told everybody it knows, has not named her."""


class HubIdentities:
    """See `canfar_spawner.core.identity.IdentitySource`.

    Parameters
    ----------
    store : Store
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(self, store: Store, clock: Callable[[], datetime], log: logging.Logger) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._known: dict[str, Known] = {}
        self._unwritten: dict[str, Known] = {}
        """What the database does not have yet."""
        self._run = ""
        """The hub's process that speaks now."""
        self._named: set[str] = set()
        """Whom it has named so far."""
        self._whole = False
        self._news = asyncio.Condition()

    async def load(self) -> None:
        """Take up what an earlier manager was told."""
        for text in await self._store.run(kept_identities):
            try:
                known = Known.model_validate_json(text)
            except ValidationError as error:
                self._log.warning("An identity that was kept cannot be read: %s", error)
                continue
            # Where the database comes late, the hub may have said more meanwhile.
            self._known.setdefault(known.name, known)

    def identity(self, name: str) -> PosixIdentity:
        """Look up a user by the name the hub has verified."""
        known = self._known.get(name)
        if known is None and not self._whole:
            # The hub tells of everybody within seconds; a lost database is no mistake of hers.
            raise Unavailable(
                f"The hub has not said yet who {shown(name)} is here. Try again in some seconds."
            )
        if known is None or known.absent is not None:
            raise NotAllowed(
                f"Nothing is known of {shown(name)} here yet. Sign in at the hub once, then try"
                " again.",
                code="unknown_user",
            )
        if known.refusal or known.identity is None:
            raise NotAllowed(known.refusal or "This account cannot be used.", code="refused_user")
        return known.identity

    async def told_of(self, name: str) -> None:
        """Wait a little for the hub to tell of a user that it has verified and not told of yet.

        That is so in the first seconds of a manager or of an account; a script begins at once.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_WITHIN), self._news:
                await self._news.wait_for(lambda: self._told_of(name))

    def _told_of(self, name: str) -> bool:
        known = self._known.get(name)
        return known is not None and known.absent is None

    def members(self, group: str) -> tuple[str, ...]:
        """Give the users that are in a group, by name."""
        return tuple(
            sorted(
                known.name
                for known in self._known.values()
                if known.identity is not None
                and not known.refusal
                and known.absent is None
                and group in known.identity.group_names
            )
        )

    def revoked(self, name: str) -> str:
        """Say why a user may run nothing any more, empty as long as that is not certain.

        A hub that has lost its database names few; of whoever it does not name, a day passes.
        """
        known = self._known.get(name)
        if known is None:
            return ""
        if known.refusal:
            return known.refusal
        if known.absent is not None and self._clock() - known.absent > ABSENT_FOR:
            return "The hub has not known this account for a day."
        return ""

    def current(self, name: str) -> PosixIdentity | None:
        """Give a user's identity where the hub stands by it now."""
        known = self._known.get(name)
        if known is None or known.refusal or known.absent is not None:
            return None
        return known.identity

    async def take(self, said: Iterable[Any], *, run: str, fresh: bool, complete: bool) -> bool:
        """Take what the hub says, and say whether it has to say everything anew.

        Parameters
        ----------
        said : iterable
            Names with their identities or refusals.
        run : str
            The hub's process.
        fresh : bool
            It begins to speak with this.
        complete : bool
            With this it has named everybody it knows.
        """
        resend = False
        if run != self._run:
            self._run, self._named, self._whole = run, set(), False
            # An earlier manager may have lost what this hub has told it.
            resend = not fresh
        news: dict[str, Known] = {}
        for each in said:
            known = self._read(each)
            if known is None:
                continue
            self._named.add(known.name)
            if known.gone:
                self._named.discard(known.name)
            if known != self._known.get(known.name):
                news[known.name] = known
        if complete and not resend and not self._whole:
            self._whole = True
            now = self._clock()
            for name, known in self._known.items():
                if name not in self._named and not known.gone and known.absent is None:
                    news[name] = known.model_copy(update={"absent": now})
        await self._keep(news)
        return resend

    def _read(self, said: Any) -> Known | None:
        try:
            name = str(said["name"])
            before = self._known.get(name) or Known(name=name, identity=None)
            if said.get("unknown"):
                # The hub knows her, and cannot say more now.
                return before.model_copy(update={"absent": None, "gone": False})
            refusal = str(said.get("refusal") or "")[:_LONGEST]
            if said.get("identity") is None:
                return Known(
                    name=name,
                    identity=before.identity,
                    refusal=refusal or "This account cannot be used.",
                    gone=bool(said.get("gone")),
                )
            identity = PosixIdentity.model_validate(said["identity"])
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            self._log.warning("An identity from the hub cannot be read: %s", str(error)[:200])
            return None
        if identity.name != name:
            self._log.warning("The identity of %s is somebody else's", shown(name))
            return None
        return Known(name=name, identity=identity)

    async def _keep(self, news: dict[str, Known]) -> None:
        self._known.update(news)
        async with self._news:
            self._news.notify_all()
        self._unwritten |= news
        if not self._unwritten:
            return
        # Of a deleted account the name is kept: her jobs still have to be told.
        writing = dict(self._unwritten)
        kept = {name: known.model_dump_json() for name, known in writing.items()}
        try:
            await self._store.run(lambda db: keep_identities(db, kept))
        except Unavailable as error:
            self._log.warning("Identities could not be written down yet: %s", error.detail)
            return
        for name, known in writing.items():
            if self._unwritten.get(name) is known:
                del self._unwritten[name]

    def gone(self) -> frozenset[str]:
        """Give the users whose accounts the hub has deleted."""
        return frozenset(name for name, known in self._known.items() if known.gone)

    async def forget(self, names: Iterable[str]) -> None:
        """Forget users that are gone and have nothing any more."""
        gone = [name for name in names if name in self._known and self._known[name].gone]
        if not gone:
            return
        for name in gone:
            del self._known[name]
            self._unwritten.pop(name, None)
        await self._store.run(lambda db: forget_identities(db, gone))
