"""What hub and sessions tell the session manager."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from canfar_spawner.core.authority import ACCESS_SCOPE
from canfar_spawner.core.errors import Invalid, NotYours
from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.core.times import utc
from canfar_spawner.manager.callers import Caller
from canfar_spawner.manager.identities import HubIdentities
from canfar_spawner.manager.lifetimes import Scratch
from canfar_spawner.manager.news import News
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry

_MOST_AT_ONCE: Final = 2000
"""Pieces of each kind in one message."""
_EARLY: Final = 2000
"""Launches whose events may come before it is known that they were asked for."""
_STALE_AFTER: Final = timedelta(minutes=2)
_MOST_VISITORS: Final = 200
_MOST_PLACES: Final = 200
Count = Annotated[int, Field(ge=0, le=10**9)]


def _utc(value: object) -> object:
    """Read a time in UTC; one without a zone came from a machine that keeps that."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return utc(value) if isinstance(value, datetime) else value


Moment = Annotated[datetime, BeforeValidator(_utc)]


class _Lenient(BaseModel):
    """Images are frozen for years: what a newer or older one says besides is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class HeartbeatVisitor(_Lenient):
    """Somebody who is in a session."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    since: Moment


class HeartbeatScratch(_Lenient):
    """What is in a session's scratch."""

    files: Count
    bytes: Annotated[int, Field(ge=0, le=2**60)]
    complete: bool = True


class HeartbeatFilling(_Lenient):
    """How full a home or project is that a session sees."""

    path: Annotated[str, Field(max_length=300)]
    used: Annotated[int, Field(ge=0, le=2**60)] | None = None
    quota: Annotated[int, Field(ge=0, le=2**60)] | None = None


class Heartbeat(_Lenient):
    """What a session tells of itself; it counts for that session only, and proves nothing."""

    activity: Moment | None = None
    busy_kernels: Count = 0
    terminals_busy: Count = 0
    visitors: Annotated[tuple[HeartbeatVisitor, ...], Field(max_length=_MOST_VISITORS)] = ()
    scratch: HeartbeatScratch | None = None
    storage: Annotated[tuple[HeartbeatFilling, ...], Field(max_length=_MOST_PLACES)] = ()


Heard = Callable[[SessionRecord, Heartbeat], None]
Used = Callable[[SessionRecord, datetime], None]


class Intake:
    """Takes events, identities and heartbeats.

    Parameters
    ----------
    registry : Registry
    identities : HubIdentities
    news : News
    epoch : callable
        Gives the random id of the manager's database.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        registry: Registry,
        identities: HubIdentities,
        news: News,
        epoch: Callable[[], str],
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._identities = identities
        self._news = news
        self._epoch = epoch
        self._clock = clock
        self._log = log
        self._early: OrderedDict[LaunchId, list[SessionEvent]] = OrderedDict()
        self._beats: dict[SessionId, tuple[datetime, Heartbeat]] = {}
        self.heard: list[Heard] = []
        """Told of every heartbeat."""
        self.used: list[Used] = []
        """Told when the hub's proxy last saw a session used."""
        self.last_heard: datetime | None = None
        """When the hub last spoke."""

    # From the hub.

    async def events(self, body: Any) -> dict[str, object]:
        """Take a message of the hub, and give what it does not know yet.

        Raises
        ------
        Invalid
            It is no message at all.
        """
        if not isinstance(body, dict):
            raise Invalid("A message of the hub is an object.")
        self.last_heard = self._clock()
        for each in _listed(body, "events"):
            await self._event(each)
        resend = await self._identities.take(
            _listed(body, "identities"),
            run=str(body.get("run", "")),
            fresh=body.get("fresh") is True,
            complete=body.get("complete") is True,
        )
        self._activity(body.get("activity"))
        epoch = self._epoch()
        cursor = body.get("cursor")
        same = body.get("epoch") == epoch and isinstance(cursor, int)
        news, last, more = self._news.since(int(cursor or 0) if same else 0)
        return {
            "epoch": epoch,
            "cursor": last,
            "news": news,
            "more": more,
            "resend": resend,
        }

    async def _event(self, said: Any) -> None:
        try:
            # A newer hub may say more than is understood here.
            known = {name: said[name] for name in SessionEvent.model_fields if name in said}
            event = SessionEvent.model_validate(known)
        except (TypeError, ValidationError) as error:
            self._log.warning("An event cannot be read: %s", str(error)[:300])
            return
        if event.what is What.ASKED:
            await self._asked(event)
            return
        record = self._registry.by_launch(event.launch)
        if record is None:
            self._keep_early(event)
        else:
            await self._apply(record, event)

    def _keep_early(self, event: SessionEvent) -> None:
        """Keep what came before the news that it was asked for."""
        waiting = self._early.setdefault(event.launch, [])
        if event not in waiting and event.what is not What.PHASE:
            waiting.append(event)
        while len(self._early) > _EARLY:
            self._early.popitem(last=False)

    async def _asked(self, event: SessionEvent) -> None:
        record = self._registry.by_launch(event.launch)
        if record is None and event.plan is not None:
            plan = event.plan
            if (plan.launch, plan.session, plan.owner) != (
                event.launch,
                event.session,
                event.owner,
            ):
                self._log.warning("An event of %s carries another's plan", event.launch)
                return
            await self._registry.add(
                SessionRecord(
                    plan=plan,
                    name=plan.name,
                    asked=event.at,
                    ends=plan.ends,
                    url=event.url,
                    begun=True,
                )
            )
            self._told_of(event, Life.STARTING, Phase.ASKED)
        elif record is not None and event.url and not record.url and record.live:
            # It was found running before this was heard.
            await self._registry.change(record.id, url=event.url)
        for early in self._early.pop(event.launch, ()):
            found = self._registry.by_launch(event.launch)
            if found is not None:
                await self._apply(found, early)

    async def _apply(self, record: SessionRecord, event: SessionEvent) -> None:
        if event.what is What.READY and record.ready is None:
            self._told_of(event, Life.RUNNING, Phase.READY)
            await self._registry.change(record.id, ready=event.at)
        elif event.what is What.ENDED and record.live:
            await self._registry.end(
                record.id,
                # What it was told to end for counts before what was left of it.
                reason=record.ending or event.reason or Reason.STOPPED,
                at=event.at,
                detail=event.detail,
                exit_code=event.exit_code,
            )

    def _told_of(self, event: SessionEvent, life: Life, phase: Phase) -> None:
        """Take the hub's word for a session until it was looked at: it has just seen it itself."""
        record = self._registry.by_launch(event.launch)
        known = self._registry.evidence.get(event.launch, Evidence(life=Life.STARTING))
        if record is not None and record.live and known.life is Life.STARTING:
            news = {"life": life, "phase": phase, "seen": event.at}
            self._registry.evidence[event.launch] = known.model_copy(update=news)

    def _activity(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        for session, at in list(said.items())[:_MOST_AT_ONCE]:
            record = self._registry.get(str(session))
            try:
                used = _utc(at)
            except ValueError:
                continue
            if record is not None and isinstance(used, datetime):
                for told in self.used:
                    told(record, used)

    # From sessions.

    def heartbeat(self, caller: Caller, body: Any) -> None:
        """Take what a session says of itself.

        Parameters
        ----------
        caller : Caller
            Whoever holds the token; only the session's own will do.
        body : object

        Raises
        ------
        NotYours
            The token is not that of one session.
        Invalid
            It is no heartbeat.
        """
        record = self._registry.get(_session_of(caller))
        if record is None or record.owner != caller.name or not record.live:
            raise NotYours("Only a session that runs tells of itself, with its own token.")
        try:
            beat = Heartbeat.model_validate(body)
        except (ValidationError, ValueError) as error:
            place: tuple[int | str, ...] = ()
            if isinstance(error, ValidationError):
                place = error.errors()[0]["loc"]
            raise Invalid(
                "This is no heartbeat: activity, busy_kernels, terminals_busy, visitors, scratch"
                " and storage are told.",
                field=".".join(str(part) for part in place)[:60],
            ) from None
        self._beats[record.id] = (self._clock(), beat)
        for told in self.heard:
            told(record, beat)

    def last_beat(self, session: SessionId) -> Heartbeat | None:
        """Give what a session said last, if that was lately."""
        at, beat = self._beats.get(session, (None, None))
        return beat if at is not None and self._clock() - at <= _STALE_AFTER else None

    def scratch(self, record: SessionRecord) -> Scratch | None:
        """Say what a session has in scratch, as far as it has told."""
        beat = self.last_beat(record.id)
        if beat is None or beat.scratch is None:
            return None
        found = beat.scratch
        return Scratch(files=found.files, bytes=found.bytes, complete=found.complete)

    def forget(self, record: SessionRecord, what: str) -> None:
        """Drop what an ended session has told; for `Registry.subscribe`."""
        if what == "ended":
            self._beats.pop(record.id, None)


def _listed(body: Mapping[str, Any], name: str) -> Iterable[Any]:
    found = body.get(name)
    return found[:_MOST_AT_ONCE] if isinstance(found, list) else ()


def _session_of(caller: Caller) -> str:
    """Give the session whose token it is, empty where it is nobody's or more than one's."""
    servers = [scope for scope in caller.scopes if scope.startswith(ACCESS_SCOPE)]
    prefix = f"{ACCESS_SCOPE}!server={caller.name}/"
    if len(servers) != 1 or not servers[0].startswith(prefix):
        return ""
    return servers[0].removeprefix(prefix)
