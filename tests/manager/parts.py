"""The parts of a session manager over a real database, with a clock that a test moves."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.plan import SessionPlan, plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import parse_request
from canfar_spawner.core.status import Reason
from canfar_spawner.manager.hubapi import HubAway, HubServer
from canfar_spawner.manager.identities import HubIdentities
from canfar_spawner.manager.intake import Intake
from canfar_spawner.manager.jobs import Jobs
from canfar_spawner.manager.lifetimes import Lifetimes, Means
from canfar_spawner.manager.news import News
from canfar_spawner.manager.observer import Observer
from canfar_spawner.manager.reconcile import Reconciler
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.store import Store
from tests.core.world import ADA, BEN, EVE, NOW, site
from tests.support.memory_backend import MemoryBackend

LOG = logging.getLogger("tests.manager")
_NUMBERS = itertools.count()


@dataclass
class Clock:
    """The time of day, and seconds that only grow."""

    now: datetime = NOW
    seconds: float = 1000.0

    def __call__(self) -> datetime:
        return self.now

    def steady(self) -> float:
        return self.seconds

    def go(self, length: timedelta | float) -> None:
        """Let time pass."""
        length = length if isinstance(length, timedelta) else timedelta(seconds=length)
        self.now += length
        self.seconds += length.total_seconds()

    def jump(self, length: timedelta) -> None:
        """Set the time of day to another."""
        self.now += length


@dataclass
class MemoryHub:
    """What the manager asks of the hub, answered from a table; it stops what it is told to."""

    backend: MemoryBackend
    away: bool = False
    rows: dict[SessionId, HubServer] = field(default_factory=dict)
    told: list[SessionId] = field(default_factory=list)

    async def servers(self) -> tuple[HubServer, ...]:
        if self.away:
            raise HubAway("connection refused")
        return tuple(self.rows.values())

    async def stop(self, owner: str, session: SessionId) -> None:
        del owner
        if self.away:
            raise HubAway("connection refused")
        self.told.append(session)
        row = self.rows.pop(session, None)
        if row is not None and row.plan is not None:
            await self.backend.stop(row.plan.launch)


class Parts:
    """One manager's parts; `again` gives those of the next one over the same database."""

    def __init__(
        self,
        data: Path,
        *,
        clock: Clock | None = None,
        policy: SitePolicy | None = None,
        backend: MemoryBackend | None = None,
        hub: MemoryHub | None = None,
    ) -> None:
        self.data = data
        self.clock = clock or Clock()
        self.policy = policy or site()
        self.backend = backend or MemoryBackend(self.clock)
        self.hub = hub or MemoryHub(self.backend)
        self.store = Store(f"sqlite:///{data / 'sessions.sqlite'}", log=LOG)
        self.registry = Registry(self.store, clock=self.clock, log=LOG)
        self.news = News(registry=self.registry, store=self.store, clock=self.clock, log=LOG)
        self.identities = HubIdentities(self.store, self.clock, LOG)
        self.intake = Intake(
            registry=self.registry,
            identities=self.identities,
            news=self.news,
            epoch=lambda: self.store.epoch,
            clock=self.clock,
            log=LOG,
        )
        self.jobs = Jobs(
            registry=self.registry,
            backend=self.backend,
            identities=self.identities,
            policy=lambda: self.policy,
            logs=data / "logs",
            clock=self.clock,
            monotonic=self.clock.steady,
            log=LOG,
        )
        self.lifetimes = Lifetimes(
            registry=self.registry,
            backend=self.backend,
            identities=self.identities,
            policy=lambda: self.policy,
            means=Means(news=self.news, stop=self.stop_one, scratch=self.intake.scratch),
            clock=self.clock,
            monotonic=self.clock.steady,
            log=LOG,
        )
        self.observer = Observer(
            registry=self.registry,
            backend=self.backend,
            finished=self.jobs.finished,
            clock=self.clock,
            monotonic=self.clock.steady,
            log=LOG,
        )
        self.reconciler = Reconciler(
            registry=self.registry,
            backend=self.backend,
            hub=self.hub,  # type: ignore[arg-type]
            identities=self.identities,
            observer=self.observer,
            ender=self.lifetimes,
            clock=self.clock,
            log=LOG,
        )
        self.endings: list[asyncio.Task[None]] = []
        self.registry.subscribe(self._changed)

    def _changed(self, record: SessionRecord, what: str) -> None:
        if what == "ended":
            self.endings.append(asyncio.ensure_future(self.news.ended(record)))
        self.intake.forget(record, what)

    async def stop_one(self, record: SessionRecord) -> None:
        """End one, as the manager does."""
        if record.interactive:
            await self.hub.stop(record.owner, record.id)
        else:
            await self.jobs.stop(record)

    async def open(self, people: Iterable[PosixIdentity] = (ADA, BEN, EVE)) -> None:
        """Begin with what the database has, and with users that the hub has named."""
        await self.store.open()
        await self.registry.load()
        await self.news.load()
        await self.identities.load()
        await self.tell(identities=people)

    async def close(self) -> None:
        """End as a manager that is killed does, but for the files."""
        await asyncio.gather(*self.endings)
        await self.store.close()

    def again(self) -> Parts:
        """Give the parts of the next manager."""
        return Parts(
            self.data, clock=self.clock, policy=self.policy, backend=self.backend, hub=self.hub
        )

    # What hub and users do.

    async def tell(
        self,
        *events: SessionEvent,
        identities: Iterable[PosixIdentity] = (),
        cursor: int = 0,
        epoch: str = "",
        said: list[dict[str, Any]] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Tell the manager something, as the hub does."""
        body = {
            "run": "run-1",
            "fresh": True,
            "epoch": epoch,
            "cursor": cursor,
            "events": [event.model_dump(mode="json") for event in events],
            "identities": [
                {"name": one.name, "identity": one.model_dump(mode="json"), "refusal": ""}
                for one in identities
            ]
            + (said or []),
            "complete": False,
            **more,
        }
        return dict(await self.intake.events(body))

    async def refuse(self, name: str, sentence: str = "Your account is closed.") -> None:
        """Have the hub say that a user may use nothing any more."""
        await self.say({"name": name, "identity": None, "refusal": sentence})

    async def say(self, *identities: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Tell the manager of users, as the hub does."""
        return await self.tell(said=list(identities), **more)

    def plan(self, owner: PosixIdentity = ADA, **options: object) -> SessionPlan:
        """Plan a session that starts now, with an id of its own."""
        number = next(_NUMBERS)
        session = SessionId(f"s{number:07d}")
        return plan_session(
            parse_request({"container": "astroml", **options}),
            identity=owner,
            policy=self.policy,
            usage=Usage(),
            now=self.clock(),
            session=session,
            launch=LaunchId(f"{session}-0123456789ab"),
        )

    async def launch(self, owner: PosixIdentity = ADA, **options: object) -> SessionRecord:
        """Launch an interactive session and let it get ready."""
        plan = self.plan(owner, **options)
        await self.backend.start(plan, Secrets())
        url = f"http://hub.example.org/user/{plan.owner}/{plan.session}/"
        self.hub.rows[plan.session] = HubServer(
            owner=plan.owner,
            session=plan.session,
            ready=True,
            pending=None,
            url=url,
            plan=plan,
            started=plan.started,
        )
        await self.tell(
            event(plan, What.ASKED, self.clock(), plan=plan, url=url),
            event(plan, What.READY, self.clock()),
        )
        return self.record(plan.session)

    async def submit(self, owner: PosixIdentity = ADA, **options: object) -> SessionRecord:
        """Submit a batch job."""
        request = parse_request({"container": "astroml", "kind": "headless", **options})
        session = await self.jobs.create(owner.name, request, by=owner.name)
        return self.record(session)

    def record(self, session: str) -> SessionRecord:
        """Give a record that is known to be there."""
        found = self.registry.get(session)
        assert found is not None
        return found

    async def hub_tells_end(
        self, record: SessionRecord, reason: Reason = Reason.STOPPED, **more: Any
    ) -> None:
        """Have the hub say that a session has ended."""
        await self.tell(event(record.plan, What.ENDED, self.clock(), reason=reason, **more))

    async def tick(self) -> None:
        """Let lifetimes be looked at once, and what they begin be over."""
        await self.lifetimes.tick()
        await self.lifetimes.settle()


def event(of: SessionPlan, what: What, at: datetime, **more: Any) -> SessionEvent:
    """Write down something that happened to a session."""
    return SessionEvent(
        launch=of.launch, owner=of.owner, session=of.session, at=at, what=what, **more
    )
