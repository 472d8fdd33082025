"""One session manager with all its parts, and its life as a process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from canfar_spawner.core.backend import Backend
from canfar_spawner.core.errors import SessionError, Unavailable
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import SessionRequest, options_of
from canfar_spawner.hub.platform import utc_now
from canfar_spawner.manager import journal
from canfar_spawner.manager.app import LARGEST_BODY, application
from canfar_spawner.manager.callers import Callers
from canfar_spawner.manager.creates import Creates
from canfar_spawner.manager.creating import what_was_asked
from canfar_spawner.manager.history import History
from canfar_spawner.manager.hubapi import HubClient
from canfar_spawner.manager.identities import HubIdentities
from canfar_spawner.manager.idle import IdleWatch
from canfar_spawner.manager.intake import Intake
from canfar_spawner.manager.jobs import Jobs
from canfar_spawner.manager.kept import RefusalBook
from canfar_spawner.manager.lifetimes import Lifetimes, Means
from canfar_spawner.manager.links import Links
from canfar_spawner.manager.metrics import Metrics
from canfar_spawner.manager.migrations import Unusable
from canfar_spawner.manager.news import News
from canfar_spawner.manager.observer import Observer, for_ever
from canfar_spawner.manager.pages import page_routes
from canfar_spawner.manager.people import KnownPeople
from canfar_spawner.manager.reconcile import Reconciler
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.refusals import Refusals
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.routes import v1_routes
from canfar_spawner.manager.rows import Rows
from canfar_spawner.manager.settings import ManagerSettings
from canfar_spawner.manager.sharing import Sharing
from canfar_spawner.manager.sharing_book import SharingBook
from canfar_spawner.manager.storage import StorageWatch
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.v1 import described
from canfar_spawner.site.files import WatchedFile

_LOCK_WITHIN: Final = 15.0
_LOCK_EVERY: Final = 0.1
_END_WITHIN: Final = 10.0
_LOAD_EVERY: Final = 3.0
_TIDY_EVERY: Final = 5.0
_FORGET_EVERY: Final = 3600.0


class ManagerError(Exception):
    """The manager cannot run; says why in a sentence."""


class Manager:
    """The parts of the session manager.

    Parameters
    ----------
    settings : ManagerSettings
    policy : WatchedFile of SitePolicy
    backend : Backend
        One of its own; the hub has another.
    log : logging.Logger
    clock : callable
        Gives the time in UTC.
    background : tuple of callable
        What the back end wants done beside everything else, for as long as the manager runs.
    """

    def __init__(
        self,
        settings: ManagerSettings,
        *,
        policy: WatchedFile[SitePolicy],
        backend: Backend,
        log: logging.Logger,
        clock: Callable[[], datetime] = utc_now,
        background: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (),
    ) -> None:
        self.settings = settings
        self._policy = policy
        self.backend = backend
        self.log = log
        self.clock = clock
        self._background = background
        self._tasks: set[asyncio.Task[None]] = set()
        self._loaded = False
        """What an earlier manager knew has been taken up."""
        self.store = Store(settings.database_url, log=log)
        self.rows = Rows()
        self.registry = Registry(self.store, clock=clock, log=log)
        self.hub = HubClient(settings.hub_api, settings.token)
        self.callers = Callers(self.hub)
        self.identities = HubIdentities(self.store, clock, log)
        self.news = News(registry=self.registry, store=self.store, clock=clock, log=log)
        self.refusals = Refusals(book=RefusalBook(self.store), news=self.news, clock=clock, log=log)
        self.jobs = Jobs(
            registry=self.registry,
            backend=backend,
            identities=self.identities,
            policy=self.policy,
            logs=settings.logs,
            clock=clock,
            log=log,
        )
        self.creates = Creates(
            hub=self.hub,
            jobs=self.jobs,
            registry=self.registry,
            identities=self.identities,
            policy=self.policy,
            late=self._refused_late,
            secret=settings.token,
            clock=clock,
            log=log,
        )
        self.intake = Intake(
            registry=self.registry,
            identities=self.identities,
            news=self.news,
            epoch=lambda: self.store.epoch,
            clock=clock,
            log=log,
        )
        self.storage = StorageWatch(
            arc=settings.arc,
            scratch=settings.scratch,
            identities=self.identities,
            policy=self.policy,
            beaten=self.intake.scratch,
            clock=clock,
            log=log,
        )
        self.lifetimes = Lifetimes(
            registry=self.registry,
            backend=backend,
            identities=self.identities,
            policy=self.policy,
            means=Means(news=self.news, stop=self._stop_one, scratch=self.intake.scratch),
            clock=clock,
            log=log,
        )
        self.idle = IdleWatch(
            registry=self.registry,
            lifetimes=lambda: self.policy().lifetimes,
            ender=self.lifetimes,
            clock=clock,
            log=log,
        )
        self.sharing = Sharing(
            book=SharingBook(self.store),
            hub=self.hub,
            people=KnownPeople(self.identities),
            sessions=self.registry.live,
            policy=lambda: self.policy().sharing,
            own_origins=settings.own_origins,
            clock=clock,
            log=log,
        )
        self.links = Links(
            self.sharing,
            find=self.registry.get,
            clock=clock,
            page=f"{settings.public}/join",
        )
        self.observer = Observer(
            registry=self.registry,
            backend=backend,
            finished=self.jobs.finished,
            clock=clock,
            log=log,
        )
        self.history = History(
            store=self.store,
            registry=self.registry,
            policy=lambda: self.policy().history,
            logs=settings.logs,
            clock=clock,
            log=log,
        )
        self.metrics = Metrics(
            self.registry,
            database_up=lambda: self._loaded and not self.store.problem,
            observed=self.observer.answered_ago,
        )
        self.reconciler = Reconciler(
            registry=self.registry,
            backend=backend,
            hub=self.hub,
            identities=self.identities,
            observer=self.observer,
            ender=self.lifetimes,
            clock=clock,
            log=log,
        )
        self.intake.heard += [
            *(self.idle.heard, self.sharing.heard),
            lambda record, beat: self.storage.heard(record, beat.storage),
        ]
        self.intake.used.append(self.idle.used)
        self.observer.measured.append(self.idle.measured)
        self.reconciler.compared.append(
            lambda found: self.metrics.reconciled(Counter(each.what.value for each in found))
        )
        self.registry.subscribe(self._changed)

    def _changed(self, record: SessionRecord, what: str) -> None:
        if what == "ended":
            self.spawn(self.news.ended(record))
        self.sharing.changed(record, what)
        self.intake.forget(record, what)

    async def _stop_one(self, record: SessionRecord) -> None:
        """End a session by the hub, or a job by what runs it."""
        if record.interactive:
            await self.hub.stop(record.owner, record.id)
        else:
            await self.jobs.stop(record)

    async def _refused_late(self, owner: str, request: SessionRequest, error: SessionError) -> None:
        name, what = what_was_asked(options_of(request))
        await self.refusals.add(owner, name=name, what=what, error=error)

    @property
    def loaded(self) -> bool:
        """Whether what was known before this start has been read."""
        return self._loaded

    def policy(self) -> SitePolicy:
        """Give the policy as the catalogue file has it now."""
        return self._policy.value

    def problems(self) -> list[str]:
        """Say which parts do not work now."""
        parts = (self.lifetimes, self.observer, self.reconciler)
        found = [problem for part in parts for problem in part.problems()]
        if self.store.problem or not self._loaded:
            found.insert(0, "The database cannot be used.")
        return found

    def note_request(self, handler: web.RequestHandler) -> None:
        """Count a request and write it down: never its query, its body or a token."""
        operation, owner, session = described(handler)
        seconds = handler.request.request_time()
        self.metrics.answered(operation, handler.get_status(), seconds)
        journal.note(
            self.log,
            request=getattr(handler, "request_id", ""),
            method=str(handler.request.method),
            operation=operation,
            status=handler.get_status(),
            ms=1000 * seconds,
            owner=owner,
            session=session,
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background for as long as the manager runs."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self) -> None:
        """Take up what there is, and begin everything that goes on by itself."""
        try:
            await self._load()
        except Unusable as error:
            raise ManagerError(error.sentence) from None
        except Unavailable as error:
            self.log.warning("What is kept cannot be read yet; tried again: %s", error.detail)
            self.spawn(self._load_later())
        for work in self._background:
            self.spawn(work())
        parts = (
            *(self.observer, self.jobs, self.lifetimes),
            *(self.idle, self.sharing, self.reconciler),
        )
        for part in parts:
            self.spawn(part.run())
        failing = "What waits to be written could not be"
        self.spawn(for_ever(self._tidy, _TIDY_EVERY, log=self.log, failing=failing))
        self.spawn(self._forget())

    async def _load(self) -> None:
        await self.store.open()
        await self.registry.load()
        self.history.load()
        await self.identities.load()
        await self.news.load()
        await self.refusals.load()
        await self.sharing.load()
        self._loaded = True

    async def _load_later(self) -> None:
        while not self._loaded:
            await asyncio.sleep(_LOAD_EVERY)
            with contextlib.suppress(Unavailable):
                await self._load()

    async def _tidy(self) -> None:
        await self.registry.tidy()
        await self.history.flush()

    async def _forget(self) -> None:
        """Forget what need not be kept any longer, every hour."""
        while True:
            if self._loaded:
                try:
                    await self.history.sweep()
                except Unavailable as error:
                    self.log.info("The history is swept later: %s", error.detail)
            await asyncio.sleep(_FORGET_EVERY)

    async def stop(self) -> None:
        """End what goes on by itself; sessions and jobs go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.registry.flush()
        await self.history.flush()
        self.storage.close()
        self.hub.close()
        await self.store.close()

    def routes(self) -> list[Any]:
        """Give every address of the service with its handler."""
        return [*v1_routes(), *page_routes(self)]


async def _locked(settings: ManagerSettings) -> int:
    """Take the lock of the data directory: one manager at a time works with it."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.data.chmod(0o700)
    lock = os.open(settings.data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = asyncio.get_running_loop().time() + _LOCK_WITHIN
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > until:
                raise ManagerError(
                    f"Another session manager works with {settings.data}. End it first."
                ) from None
            await asyncio.sleep(_LOCK_EVERY)
        else:
            return lock


async def serve(make: Callable[[], Manager]) -> None:
    """Run a manager until it is told to end.

    Parameters
    ----------
    make : callable
        Makes the manager, once the loop runs.

    Raises
    ------
    ManagerError
        Its directory or its port is taken.
    """
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, over.set)
    manager = make()
    lock = await _locked(manager.settings)
    try:
        server = HTTPServer(application(manager, manager.routes()), max_body_size=LARGEST_BODY)
        try:
            sockets = bind_sockets(manager.settings.port, manager.settings.host)
        except OSError as error:
            raise ManagerError(
                f"Port {manager.settings.port} of the session manager is in use: {error.strerror}."
            ) from None
        await manager.start()
        # Whoever called in between has waited for what was read, and is not told to come again.
        server.add_sockets(sockets)
        manager.log.info("The session manager serves %s", manager.settings.public)
        await over.wait()
        server.stop()
        async with asyncio.timeout(_END_WITHIN):
            await manager.stop()
        await server.close_all_connections()
    finally:
        os.close(lock)
