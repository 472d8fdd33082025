"""Sharing: who may enter a session, by which share, until when.

What is kept here decides, and `doors` sees that the hub does as is said. What is taken away waits
for nothing to be written down: a database that is away keeps nobody in.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from canfar_spawner.core.errors import (
    Conflict,
    Invalid,
    LimitReached,
    NotAllowed,
    PlatformError,
    SessionError,
    shown,
)
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.names import SessionId
from canfar_spawner.core.sharing import SharingPolicy, demand_sharing, end_of_share, refusal
from canfar_spawner.manager.doors import Doors, Sessions
from canfar_spawner.manager.observer import for_ever
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.shares import (
    Book,
    Deed,
    Entrant,
    How,
    HubShares,
    Line,
    People,
    Share,
    Terms,
    entrants,
)
from canfar_spawner.manager.sharing_notes import Notes
from canfar_spawner.manager.visitors import Here, Visits

if TYPE_CHECKING:
    from canfar_spawner.manager.intake import Heartbeat

LOOK_EVERY: Final = 1.0
"""Seconds between two looks for what has expired."""
COMPARE_EVERY: Final = timedelta(seconds=30)
"""How often groups, and the hub's list of every shared session, are compared with ours."""
SWEEP_EVERY: Final = timedelta(minutes=10)
"""How often sessions that nobody shared are compared as well, after the first time."""
_MOST: Final = 100
"""Shares of one session."""
_PLATFORM: Final = "sessions"


class Sharing:
    """All shares of all living sessions.

    Parameters
    ----------
    book : Book
    hub : HubShares
    people : People
    sessions : callable
        Gives the living sessions.
    policy : callable
        Gives what the site permits now.
    own_origins : bool
        Every user has an origin of her own.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        book: Book,
        hub: HubShares,
        people: People,
        sessions: Sessions,
        policy: Callable[[], SharingPolicy],
        own_origins: bool,
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._book = book
        self._people = people
        self._notes = Notes(book, clock, log)
        self._sessions = sessions
        self._policy = policy
        self._own_origins = own_origins
        self._clock = clock
        self._log = log
        self._shares: dict[SessionId, dict[str, Share]] = {}
        self._loaded = False
        self._off = ""
        self._compared: datetime | None = None
        self._swept: datetime | None = None
        self._doors = Doors(
            hub,
            sessions=sessions,
            wanted=lambda session: frozenset(self._let_in(session)),
            stray=self._tell_stray,
            clock=clock,
            log=log,
        )
        self.visits = Visits(clock, self._moved)

    # What is known.

    def off(self) -> str:
        """Say why nothing can be shared here; empty where it can."""
        return refusal(self._policy(), own_origins=self._own_origins)

    def shares(self, session: SessionId) -> tuple[Share, ...]:
        """Give the shares of a session, the newest first."""
        found = self._shares.get(session, {}).values()
        return tuple(sorted(found, key=lambda share: share.made, reverse=True))

    def entrants(self, session: SessionId) -> tuple[Entrant, ...]:
        """Give everybody who may enter a session, by name, and since when they are in it."""
        here = {one.name: one.since for one in self.visits.here(session)}
        found = self._let_in(session)
        return tuple(
            found[name].model_copy(update={"here_since": here.get(name)}) for name in sorted(found)
        )

    def used_by(self, share: Share) -> tuple[str, ...]:
        """Give everybody whom a share lets in."""
        return tuple(sorted(share.names(self._people.members)))

    def shared_with(self, name: str) -> tuple[tuple[SessionRecord, datetime], ...]:
        """Give the sessions of others that somebody may enter, and until when."""
        found = []
        for record in self._sessions():
            entrant = self._let_in(record.id).get(name) if record.id in self._shares else None
            if entrant is not None:
                found.append((record, entrant.until))
        return tuple(found)

    async def audit(self, session: SessionId) -> tuple[Line, ...]:
        """Give what happened to a session's sharing, the oldest first."""
        return await self._notes.lines(session)

    def link(self, code: str) -> Share | None:
        """Find the link whose code has this digest."""
        for shares in self._shares.values():
            for share in shares.values():
                if share.code and share.code == code:
                    return share
        return None

    def _let_in(self, session: SessionId) -> dict[str, Entrant]:
        shares = self._shares.get(session)
        if not shares or self.off():
            return {}
        return entrants(shares.values(), self._clock(), self._people.members)

    # What people do.

    async def with_person(self, record: SessionRecord, name: str, terms: Terms) -> Share:
        """Share a session with somebody; once more changes until when, and whether with storage.

        Raises
        ------
        RequestRefused
            It cannot be shared, or not with her.
        Unavailable
            Hub or database did not answer.
        """
        share = self._new(record, How.PERSON, terms, whom=name)
        if name == record.owner:
            raise Invalid("The session is its owner's already. Name somebody else.", field="user")
        if not name or not self._people.knows(name):
            raise Invalid(
                f"Nobody called {shown(name)} is known here. Give the exact name that she signs in"
                " with.",
                field="user",
            )
        return await self._add(share, Deed.SHARED)

    async def with_group(self, record: SessionRecord, group: str, terms: Terms) -> Share:
        """Share a session with everybody who is, or comes to be, in a group of its owner."""
        share = self._new(record, How.GROUP, terms, whom=group)
        mine = self._people.groups(record.owner)
        if group not in mine:
            raise NotAllowed(
                f"You are not in a group called {shown(group)}.",
                field="group",
                allowed=sorted(mine),
            )
        return await self._add(share, Deed.SHARED)

    async def by_link(
        self, record: SessionRecord, code: str, terms: Terms, *, people: int
    ) -> Share:
        """Keep a new link; only the digest of its code is given."""
        share = self._new(record, How.LINK, terms)
        ends = min(share.until, share.made + self._policy().link_lifetime)
        share = share.model_copy(update={"code": code, "people": people, "link_until": ends})
        return await self._add(share, Deed.LINKED)

    async def join(self, link: Share, name: str) -> Share | None:
        """Let somebody in by a link that is open; None where it has ended meanwhile."""
        session = link.session
        async with self._doors.lock(session):
            share = self._shares.get(session, {}).get(link.id)
            if share is None or not share.open_link(self._clock()):
                return None
            if name in share.joined and name not in share.left:
                return share
            if share.full or name in share.left:
                raise NotAllowed("This link has been used. Ask for another.", code="link_used")
            joined = share.model_copy(update={"joined": (*share.joined, name)})
            await self._grant(joined, before=share, name=name)
        await self._note(joined, Deed.JOINED, by=name, whom=name)
        return joined

    async def revoke(self, session: SessionId, share: str, *, by: str) -> bool:
        """End one share; one that is not there is over already.

        Returns
        -------
        bool
            False where the hub did not answer: it is done as soon as it does.
        """
        found = self._shares.get(session, {}).get(share)
        return found is None or await self._drop([found], Deed.REVOKED, by=by)

    async def revoke_all(self, session: SessionId, *, by: str) -> bool:
        """End all shares of a session; see `revoke`."""
        if shares := self.shares(session):
            return await self._drop(shares, Deed.REVOKED, by=by)
        return await self._read_again(session)

    async def remove(self, session: SessionId, name: str, *, by: str) -> bool:
        """Let one person in no more, whichever shares let her in; see `revoke`.

        A group's share goes on for the others, and a link for whoever has come in by it.
        """
        deed = Deed.LEFT if by == name else Deed.REMOVED
        async with self._doors.lock(session):
            touched = []
            for share in self.shares(session):
                if name not in share.names(self._people.members):
                    continue
                news = share.model_copy(update={"left": (*share.left, name)})
                if share.how is How.PERSON:
                    news = news.model_copy(update={"over": self._clock(), "why": deed})
                    self._forget(share)
                else:
                    self._shares[session][share.id] = news
                touched.append(news)
            self._notes.keep_later(touched)
            done = bool(touched) and await self._doors.attempt(touched[0].owner, session)
        if not touched:
            return await self._read_again(session)
        await self._note(touched[0], deed, by=by, whom=name)
        return done

    async def _read_again(self, session: SessionId) -> bool:
        """Have the hub let nobody in but whom we do: our database may be younger than its list."""
        return self._loaded and await self._doors.read_again(session)

    # What goes on by itself.

    async def load(self) -> None:
        """Take up the shares of all living sessions."""
        living = [record.id for record in self._sessions()]
        for share in await self._book.load(living):
            self._shares.setdefault(share.session, {}).setdefault(share.id, share)
            self._doors.know(share.owner, share.session, share.names(self._people.members))
        self._loaded = True

    def heard(self, record: SessionRecord, beat: Heartbeat) -> None:
        """Hear from a session who is in it; for `Intake.heard`."""
        found = (Here(name=one.name, since=one.since) for one in beat.visitors)
        self.visits.tell(record.id, found, owner=record.owner)

    def changed(self, record: SessionRecord, what: str) -> None:
        """Hear of a session from the registry."""
        if what == "ended":
            self.visits.forget(record.id)

    async def run(self) -> None:
        """Go on until it is cancelled."""
        failing = "Shares could not be looked at"
        await asyncio.gather(
            for_ever(self.look, LOOK_EVERY, log=self._log, failing=failing),
            for_ever(self.compare, LOOK_EVERY, log=self._log, failing=failing),
        )

    async def look(self) -> None:
        """End what is over, and do what has waited for hub or database."""
        if not self._loaded:
            return
        now = self._clock()
        living = {record.id for record in self._sessions()}
        work = []
        for session, shares in list(self._shares.items()):
            if session not in living:
                work.append(self._drop(shares.values(), Deed.ENDED, by=_PLATFORM))
                continue
            over = [each for each in shares.values() if each.past(now)]
            if over:
                work.append(self._drop(over, Deed.EXPIRED, by=_PLATFORM))
        await asyncio.gather(*work)
        await self._doors.settle()
        await self._notes.catch_up()

    async def compare(self) -> None:
        """Compare the hub's lists with ours, where it is time: groups change, and so may hubs."""
        if not self._loaded:
            # As long as the shares cannot be read, none is taken for a stray.
            return
        now = self._clock()
        off = self.off()
        if off == self._off and self._compared and now - self._compared < COMPARE_EVERY:
            return
        self._off, self._compared = off, now
        sweep = self._swept is None or now - self._swept >= SWEEP_EVERY
        # Those that are shared come first: there are few, and they matter.
        found = sorted(self._sessions(), key=lambda record: record.id not in self._shares)
        for record in found:
            # A session that was adopted since the sweep may have been shared before.
            due = sweep or record.id in self._shares or self._doors.unread(record)
            if record.interactive and due:
                try:
                    await self._doors.compare(record)
                except PlatformError as error:
                    self._log.warning("The hub's shares cannot be compared: %s", error)
                    return
                except SessionError as error:
                    self._log.warning(
                        "The hub does not tell the shares of %s: %s", record.id, error
                    )
        self._doors.tidy()
        if sweep:
            self._swept = now

    def _tell_stray(self, owner: str, session: SessionId, name: str) -> None:
        self._log.warning(
            "The hub let %s into %s/%s, which nobody shared here; it was taken back",
            name,
            owner,
            session,
        )
        self._notes.note(session, owner, Deed.UNKNOWN, by=_PLATFORM, whom=name)

    def _moved(self, session: SessionId, *, owner: str, name: str, came: bool) -> None:
        self._notes.note(session, owner, Deed.CAME if came else Deed.WENT, by=name, whom=name)

    # How it is done.

    def _new(self, record: SessionRecord, how: How, terms: Terms, *, whom: str = "") -> Share:
        policy = self._policy()
        demand_sharing(policy, own_origins=self._own_origins)
        if not record.live or record.ending is not None:
            raise Conflict("The session has ended or is ending. Share one that goes on.")
        if not record.interactive:
            raise NotAllowed("A batch job has no page that others could open.")
        if terms.storage and not KINDS[record.kind].panel:
            raise Invalid(
                "Storage is shown in JupyterLab's panel, which this session does not have.",
                field="storage",
            )
        now = self._clock()
        ends = end_of_share(terms.until, now=now, ends=record.ends, policy=policy)
        same = self._same(record.id, how, whom)
        if same is not None:
            again = {"until": ends, "by": terms.by, "left": (), "storage": terms.storage}
            return same.model_copy(update=again)
        if len(self._shares.get(record.id, {})) >= _MOST:
            raise LimitReached(f"A session has at most {_MOST} shares. Revoke one first.")
        return Share(
            id=secrets.token_hex(6),
            session=record.id,
            owner=record.owner,
            how=how,
            whom=whom,
            until=ends,
            made=now,
            by=terms.by,
            storage=terms.storage,
        )

    def _same(self, session: SessionId, how: How, whom: str) -> Share | None:
        """Find the share with a person or a group; links are each for themselves."""
        for share in self.shares(session):
            if how is not How.LINK and (share.how, share.whom) == (how, whom):
                return share
        return None

    async def _add(self, share: Share, deed: Deed) -> Share:
        async with self._doors.lock(share.session):
            same = self._same(share.session, share.how, share.whom)
            if same is not None:
                # Made while this one waited: of two, one would outlast the other's end.
                share = share.model_copy(update={"id": same.id, "made": same.made})
            before = self._shares.get(share.session, {}).get(share.id)
            await self._grant(share, before=before, name=share.whom)
        await self._note(share, deed, by=share.by, whom=share.whom)
        return share

    async def _grant(self, share: Share, *, before: Share | None, name: str) -> None:
        """Write a share and have the hub let in whom it lets in, or take it back; locked."""
        await self._notes.keep(share)
        self._shares.setdefault(share.session, {})[share.id] = share
        try:
            refused = await self._doors.apply(share.owner, share.session)
            if share.how is not How.GROUP and name in refused:
                raise refused[name]
        except SessionError:
            if before is None:
                self._forget(share)
                over = {"over": self._clock(), "why": "failed"}
                self._notes.keep_later([share.model_copy(update=over)])
            elif share.id in self._shares.get(share.session, {}):
                self._shares[share.session][share.id] = before
                self._notes.keep_later([before])
            # One that was revoked meanwhile stays so, and is written down by whoever revoked it.
            self._doors.again(share.owner, share.session)
            raise

    async def _drop(self, shares: Iterable[Share], deed: Deed, *, by: str) -> bool:
        """End shares of one session: here at once, at the hub and in the book when they answer."""
        # Here before anything is awaited: whoever joins meanwhile finds nothing.
        found = self._end(shares, deed)
        if not found:
            return True
        owner, session = found[0].owner, found[0].session
        async with self._doors.lock(session):
            # Once more: whoever held the lock may have put back what was joined or extended.
            found = self._end(found, deed)
            over = {"over": self._clock(), "why": deed}
            self._notes.keep_later(each.model_copy(update=over) for each in found)
            done = await self._doors.attempt(owner, session)
        for share in found:
            await self._note(share, deed, by=by, whom=share.whom or ", ".join(share.joined))
        return done

    def _end(self, shares: Iterable[Share], deed: Deed) -> list[Share]:
        """Forget shares and give them as they are now; what was extended has not expired."""
        ended, now = [], self._clock()
        for share in list(shares):
            latest = self._shares.get(share.session, {}).get(share.id, share)
            if deed is not Deed.EXPIRED or latest.past(now):
                self._forget(latest)
                ended.append(latest)
        return ended

    async def _note(self, share: Share, deed: Deed, *, by: str, whom: str) -> None:
        self._notes.note(share.session, share.owner, deed, by=by, whom=whom, share=share)
        await self._notes.catch_up()

    def _forget(self, share: Share) -> None:
        shares = self._shares.get(share.session, {})
        shares.pop(share.id, None)
        if not shares:
            self._shares.pop(share.session, None)
