"""All transfers of a session: what is at work, what waits, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from canfar_lab.storage.areas import Areas
from canfar_lab.storage.errors import Refused
from canfar_lab.transfers import asked as questions
from canfar_lab.transfers import content, copying, uploads
from canfar_lab.transfers.jobs import ACTIVE, COPIES, ENDED, Job, Stopped, Work, told_of, view
from canfar_lab.transfers.journal import Journal
from canfar_lab.transfers.uploads import Upload

_AT_ONCE = 2
"""Copies at work: more would only take turns at the same disk."""
_LOOK_EVERY = 0.5
_MOST_KEPT = 100
"""How many that have ended are remembered."""
_KEPT_FOR = 86_400.0
_UPLOAD_WAITS = 7 * 86_400.0
"""Seconds for which the beginning of an upload is kept for the rest of it."""
_GO_ON = frozenset({"away", "failed"})
"""What ends a transfer only for now: what there is of it is kept."""
Result = TypeVar("Result")


class Transfers:
    """The transfers of one server.

    Parameters
    ----------
    areas : Areas
    journal : Journal
    log : logging.Logger
    session : str
        Which session this is: what is in the scratch of another one is gone.
    moving : callable
        Called now and then while bytes move: the session is in use, whoever looks.
    """

    def __init__(
        self,
        areas: Areas,
        journal: Journal,
        log: logging.Logger,
        session: str,
        moving: Callable[[], object] = lambda: None,
    ) -> None:
        self._areas = areas
        self._journal = journal
        self._log = log
        self._session = session
        self._moving = moving
        self._works: dict[str, Work] = {}
        self._uploads: dict[str, Upload] = {}
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Task[None] | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        # One that a page has from an earlier server must not seem to be of the future.
        self.version = int(time.time() * 1000)

    async def ready(self) -> None:
        """Take over what earlier servers have left, once."""
        if self._ready is None:
            self._loop = asyncio.get_running_loop()
            for number in range(_AT_ONCE):
                # Whatever they wait for, they must not keep the server from ending.
                threading.Thread(
                    target=self._work_off, name=f"transfers-{number}", daemon=True
                ).start()
            self._ready = asyncio.ensure_future(self._take_over())
        await asyncio.shield(self._ready)

    async def _take_over(self) -> None:
        for job in await self._in_thread(self._journal.load):
            too_old = job.is_ended and time.time() - (job.ended or 0) > _KEPT_FOR
            if too_old or self._is_gone(job):
                await self._in_thread(self._journal.forget, job.id)
                continue
            work = self._add(job)
            if job.kind == "upload" and not job.is_ended:
                await self._take_over_upload(work)
            elif job.state in ACTIVE:
                job.state = "queued"
                self._queue.put(work)

    async def _take_over_upload(self, work: Work) -> None:
        """See how much of an upload there is; a page that has the rest compares that."""
        job = work.job
        job.state = "paused" if job.state == "paused" else "waiting"
        upload = Upload(work, self._areas, lambda: self._save(job))
        try:
            if await self._in_thread(upload.was_placed):
                await self._placed(upload)
                return
            await self._in_thread(upload.open)
        except (Refused, OSError) as error:
            await self.failed(upload, error)
            return
        self._uploads[job.id] = upload
        if time.time() - job.created > _UPLOAD_WAITS:
            await self._cancel(work)
            return
        # All of it may have come, and not its name: no page sends anything then.
        with suppress(Refused, OSError, Stopped):
            await self._complete(upload)

    def _is_gone(self, job: Job) -> bool:
        """Say whether it is about the scratch of a session that has ended."""
        if job.session == self._session:
            return False
        spots = [spot.area for spot in (job.source, job.target) if spot is not None]
        wiped = {area.id for area in self._areas.areas if area.persistence == "wiped"}
        return bool(wiped.intersection(spots))

    def _add(self, job: Job) -> Work:
        work = Work(job)
        self._works[job.id] = work
        self._changed()
        return work

    async def begin(self, asked: Mapping[str, Any]) -> Job:
        """Begin what is asked for.

        Raises
        ------
        Refused
        OSError
        """
        await self.ready()
        job = questions.transfer(asked)
        job.session = self._session
        await self._in_thread(self._check, job)
        work = self._add(job)
        if job.kind == "upload":
            await self._open(work)
        await self._in_thread(self._save, job)
        if job.kind != "upload":
            self._queue.put(work)
        self._forget_oldest()
        return job

    def _check(self, job: Job) -> None:
        if job.kind in COPIES:
            copying.check(job, self._areas)
        elif job.kind == "upload":
            uploads.check(job, self._areas)
        elif job.source is not None:
            place = self._areas.locate(job.source.area, job.source.path)
            os.close(place.open_file(os.O_RDONLY))

    async def _open(self, work: Work) -> None:
        job = work.job
        upload = Upload(work, self._areas, lambda: self._save(job))
        self._uploads[job.id] = upload
        job.state = "waiting"
        try:
            await self._in_thread(upload.open)
            await self._complete(upload)
        except BaseException:
            del self._works[job.id], self._uploads[job.id]
            await self._in_thread(upload.abandon)
            raise

    def add(self, job: Job) -> Work:
        """Show a transfer that is done elsewhere, such as a download."""
        self._forget_oldest()
        return self._add(job)

    def find(self, name: str) -> Work:
        """Give a transfer by its id.

        Raises
        ------
        Refused
        """
        work = self._works.get(name)
        if work is None:
            raise Refused("not-found", "There is no such transfer any more.", 404)
        return work

    def _settled_one(self, name: str) -> Work:
        """Give a transfer of which nothing is being removed, which would remove what is new as well."""
        work = self.find(name)
        if work.clearing:
            raise Refused(
                "busy", "What there is of this transfer is being removed; try again soon.", 409
            )
        return work

    def works(self) -> list[Work]:
        """Give all transfers, the oldest first."""
        return list(self._works.values())

    def views(self) -> list[dict[str, Any]]:
        """Give all transfers as callers see them, the newest first."""
        return [view(work.job, work.speed) for work in reversed(self.works())]

    async def wait(self, after: int, seconds: float) -> None:
        """Wait for something new, or for so long."""
        await self.ready()
        if self.version <= after:
            news = self._news
            try:
                await asyncio.wait_for(news.wait(), seconds)
            except TimeoutError:
                return

    async def upload(self, name: str) -> Upload:
        """Give an upload that is to go on.

        Raises
        ------
        Refused
        OSError
        """
        await self.ready()
        work = self.find(name)
        if work.job.kind != "upload":
            raise Refused("invalid", "This transfer is no upload; it takes no bytes.")
        if work.job.is_ended:
            raise Refused("changed", "This upload has ended; begin a new one.", 409)
        upload = self._uploads.get(name)
        if upload is None:
            upload = Upload(work, self._areas, lambda: self._save(work.job))
            self._uploads[name] = upload
        await self._in_thread(upload.open)
        return upload

    async def received(self, upload: Upload) -> None:
        """Note that a piece of an upload is there, which may have been the last.

        Raises
        ------
        Refused
        OSError
        """
        upload.work.rest()
        if not upload.job.is_ended:
            upload.job.state = "waiting" if upload.job.state == "running" else upload.job.state
        await self._complete(upload)
        self._changed()

    async def _complete(self, upload: Upload) -> None:
        job = upload.job
        if job.bytes_done != job.bytes_total or job.is_ended:
            return
        try:
            await self._in_thread(upload.complete)
        except (Refused, OSError, Stopped) as error:
            await self.failed(upload, error)
            raise
        await self._placed(upload)

    async def _placed(self, upload: Upload) -> None:
        job = upload.job
        job.state, job.ended = "done", time.time()
        self._uploads.pop(job.id, None)
        await self._in_thread(self._save, job)
        self._changed()

    async def failed(self, upload: Upload, error: Exception) -> None:
        """End an upload that cannot go on."""
        job = upload.job
        if job.is_ended:
            return
        job.state, job.error, job.ended = "failed", told_of(error, job), time.time()
        self._uploads.pop(job.id, None)
        await self._in_thread(self._tidy, upload.abandon)
        await self._in_thread(self._save, job)
        self._changed()

    async def pause(self, name: str) -> Job:
        """Stop for now.

        Raises
        ------
        Refused
        """
        work = self._settled_one(name)
        job = work.job
        if job.kind == "download":
            raise Refused("invalid", "Pause a download where the browser lists its downloads.")
        if job.is_ended:
            raise Refused("changed", "This transfer has ended, and cannot be paused.", 409)
        if job.state != "paused":
            work.stop = "paused"
            if job.state in {"queued", "waiting"} or job.kind == "upload":
                job.state = "paused"
            await self._settled(work)
        return job

    async def resume(self, name: str) -> Job:
        """Go on with what was paused, or has failed.

        Raises
        ------
        Refused
        """
        work = self._settled_one(name)
        job = work.job
        if job.kind == "download" or (job.is_ended and job.kind == "upload"):
            raise Refused("invalid", "This cannot be resumed; begin it anew.")
        if job.state not in {"paused", "failed", "cancelled"}:
            return job
        work.stop = ""
        work.rest()
        if job.kind == "upload":
            job.state = "waiting"
        else:
            job.again()
            self._queue.put(work)
        await self._in_thread(self._save, job)
        self._changed()
        return job

    async def cancel(self, name: str) -> Job:
        """Stop for good; nothing of what is not complete stays.

        Raises
        ------
        Refused
        """
        await self.ready()
        work = self.find(name)
        if not work.job.is_ended:
            await self._cancel(work)
        return work.job

    async def _cancel(self, work: Work) -> None:
        job = work.job
        with work.claim:
            before, work.stop = job.state, "cancelled"
            if job.kind != "upload" and before in {"queued", "paused"}:
                # Nobody works at it, and nobody shall begin to.
                job.state, job.ended, work.clearing = "cancelled", time.time(), True
        if job.kind == "upload":
            upload = self._uploads.pop(job.id, None) or Upload(work, self._areas, lambda: None)
            await self._in_thread(self._tidy, upload.open)
            job.state, job.ended = "cancelled", time.time()
            await self._in_thread(self._tidy, upload.abandon)
        elif work.clearing:
            await self._in_thread(self._discard, work)
        await self._settled(work)

    async def _settled(self, work: Work) -> None:
        """Wait a moment for the thread that has the transfer, and write down what became of it."""
        for _ in range(40):
            if work.job.state not in ACTIVE or work.job.kind == "download":
                break
            await asyncio.sleep(0.05)
        await self._in_thread(self._save, work.job)
        self._changed()

    async def forget(self, name: str) -> None:
        """Take a transfer that has ended from the list.

        Raises
        ------
        Refused
        """
        work = self._settled_one(name)
        if not work.job.is_ended:
            raise Refused("changed", "This transfer goes on; cancel it first.", 409)
        work.clearing = True
        await self._in_thread(self._discard, work)
        self._works.pop(name, None)
        await self._in_thread(self._journal.forget, name)
        self._changed()

    async def forget_ended(self) -> None:
        """Take all that have ended from the list."""
        for work in self.works():
            if work.job.is_ended and not work.clearing:
                await self.forget(work.job.id)

    def _forget_oldest(self) -> None:
        ended = [work.job.id for work in self.works() if work.job.is_ended]
        for name in ended[: max(0, len(ended) - _MOST_KEPT)]:
            self._works.pop(name, None)
            self._journal.forget(name)

    def _work_off(self) -> None:
        """Do one transfer after the other, in a thread."""
        while True:
            self._run(self._queue.get())
            self._call(self._changed)

    def _run(self, work: Work) -> None:
        job = work.job
        with work.claim:
            if job.state != "queued":
                return
            job.state, job.started = "running", job.started or time.time()
        self._call(self._changed)
        state, error = "done", None
        try:
            work.moved(0)
            if job.kind == "checksum":
                self._checksum(work)
            else:
                copying.Copying(work, self._areas, lambda: self._save(job)).run()
        except Stopped as stopped:
            state = stopped.how
        except (Refused, OSError) as failure:
            state, error = "failed", told_of(failure, job)
        except Exception as failure:  # noqa: BLE001 - the thread goes on with the next one
            state, error = "failed", told_of(failure, job)
            self._log.exception("A transfer failed in an unforeseen way")
        work.rest()
        if state == "cancelled" or (error and error["code"] not in _GO_ON):
            # Before it is told: who tries again must not write to what is being removed.
            self._discard(work)
        job.error, job.ended = error, time.time() if state in ENDED else None
        job.state = state
        self._save(job)

    def _checksum(self, work: Work) -> None:
        job = work.job
        assert job.source is not None  # noqa: S101 - asked for by asked.py
        place = self._areas.locate(job.source.area, job.source.path)
        file = place.open_file(os.O_RDONLY)
        try:
            before = os.fstat(file)
            job.bytes_done, job.bytes_total, job.files_total = 0, before.st_size, 1
            found = content.digest(file, work.moved)
            if content.identity(os.fstat(file)) != content.identity(before):
                raise content.changed(place.name)
            job.checksum, job.files_done = found, 1
        finally:
            os.close(file)

    def _discard(self, work: Work) -> None:
        """Remove what there is of a transfer that is not complete."""
        job, spot = work.job, work.job.target

        def remove() -> None:
            if spot is not None and job.state != "done":
                with copying.folder(copying.target_of(self._areas, spot)) as directory:
                    copying.discard(directory, job.part)

        work.clearing = True
        self._tidy(remove)
        job.current, work.clearing = [], False

    def _tidy(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (Refused, OSError) as error:
            self._log.warning(
                "What is not complete of a transfer could not be removed (%s)", type(error).__name__
            )

    def _save(self, job: Job) -> None:
        if job.kind != "download" and not self._journal.save(job):
            self._log.warning("A transfer could not be written down; it ends with this server")

    def _changed(self) -> None:
        """Tell those who wait that there is something new."""
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            active = [work for work in self._works.values() if work.job.state in ACTIVE]
            if not active:
                return
            now = time.monotonic()
            # Each has to look, whatever the others have seen.
            seen = [work.look(now) for work in active]
            if any(seen):
                self._moving()
                self.version += 1
                self._news.set()
                self._news = asyncio.Event()

    def _call(self, what: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)
