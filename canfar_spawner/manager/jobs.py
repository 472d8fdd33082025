"""Batch jobs: from the request to the kept log, each started at most once.

A job is in the registry before anything of it is made, and is marked as begun once the back end
has it. What a manager leaves behind that is killed in between is looked for by the next one: it
is there, and goes on, or it is not, and has ended without ever starting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from canfar_spawner.core.backend import Backend, Secrets
from canfar_spawner.core.errors import Conflict, NotAllowed, SessionError, Unavailable
from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.logs import last_of
from canfar_spawner.core.names import LaunchId, SessionId, new_launch_id, new_session_id
from canfar_spawner.core.plan import plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import SessionRequest
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.replacing import replace_file

if TYPE_CHECKING:
    from canfar_spawner.manager.registry import Registry

_ANSWER_WITHIN: Final = 2.0
"""Seconds that whoever asks for a job is kept waiting; a start that takes longer goes on."""
_LOG_WITHIN: Final = 60.0
"""Seconds for which the log of an ended job is tried to be fetched."""
_LOOK_EVERY: Final = 2.0
_CLEAR_EVERY: Final = 300.0
_PROOFS: Final = 2
"""How often a job must be absent that nobody knows to have begun: its order may be on its way."""
_FAILED: Final = "The job could not be started. Tell the administrators."


class Jobs:
    """Creates, cancels and puts away batch jobs.

    Parameters
    ----------
    registry : Registry
    backend : Backend
    identities : IdentitySource
    policy : callable
        Gives the site's policy.
    logs : Path
        The directory where the logs of ended jobs are kept.
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
        logs: Path,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._identities = identities
        self._policy = policy
        self._logs = logs
        self._clock = clock
        self._monotonic = monotonic
        self._log = log
        self._locks: WeakValueDictionary[LaunchId, asyncio.Lock] = WeakValueDictionary()
        """One thing at a time is done with a job."""
        self._starting: dict[LaunchId, asyncio.Task[None]] = {}
        self._unfetched: dict[LaunchId, float] = {}
        """Since when the log of an ended job cannot be fetched."""

    def _lock(self, launch: LaunchId) -> asyncio.Lock:
        return self._locks.setdefault(launch, asyncio.Lock())

    # Creating.

    async def create(
        self,
        owner: str,
        request: SessionRequest,
        *,
        by: str,
        session: SessionId | None = None,
    ) -> SessionId:
        """Take a job and start it; one that takes long to start goes on doing so.

        Parameters
        ----------
        owner : str
            The name the hub has verified.
        request : SessionRequest
            With its secrets, which go to the back end and nowhere else.
        by : str
            Who asks for it.
        session : SessionId, optional
            The id that it gets, never used before; by default a new one.

        Raises
        ------
        SessionError
            It was refused, or could not be started and has ended.
        """
        policy = self._policy()
        identity = self._identities.identity(owner)
        session = session or new_session_id(secrets.choice)
        if self._registry.get(session) is not None:
            raise Conflict(f"There is a session {session} already.", field="session")
        now = self._clock()
        plan = plan_session(
            request,
            identity=identity,
            policy=policy,
            usage=Usage(),
            now=now,
            session=session,
            launch=new_launch_id(session, secrets.choice),
        )
        if KINDS[plan.kind].interactive:
            raise NotAllowed("Only batch jobs run without the hub.", field="kind")
        self._backend.accepts(plan)
        record = SessionRecord(plan=plan, name=plan.name, asked=now, ends=plan.ends)
        await self._registry.add_job(record, most=policy.limits.batch_for(identity.group_names))
        self._log.info("%s of %s was asked for by %s", plan.launch, owner, by)
        given = Secrets(env=request.env, credentials=request.credentials)
        task = asyncio.ensure_future(self._start(record, given))
        self._starting[plan.launch] = task
        task.add_done_callback(lambda done: self._started(plan.launch, done))
        done, _ = await asyncio.wait({task}, timeout=_ANSWER_WITHIN)
        if done:
            task.result()
        return session

    async def _start(self, record: SessionRecord, given: Secrets) -> None:
        async with self._lock(record.launch):
            current = self._registry.get(record.id)
            if current is None or not current.live or current.begun or current.ending is not None:
                return
            try:
                await self._backend.start(record.plan, given)
            except SessionError as error:
                await self._never_started(current, error)
                raise
            except Exception as error:  # noqa: BLE001 - told as one of ours
                self._log.exception("%s could not be started", record.launch)
                failure = Unavailable(_FAILED, detail=repr(error))
                await self._never_started(current, failure)
                raise failure from None
            await self._registry.change(record.id, begun=True)

    def _started(self, launch: LaunchId, done: asyncio.Task[None]) -> None:
        self._starting.pop(launch, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            detail = error.detail if isinstance(error, SessionError) else ""
            self._log.warning("%s did not start: %s", launch, detail or error)

    async def _never_started(self, record: SessionRecord, error: SessionError) -> None:
        """Write down why nothing came of a job, and remove what may be there of it."""
        try:
            reason = Reason(error.code)
        except ValueError:
            reason = Reason.NEVER_STARTED
        await self._registry.end(record.id, reason=reason, at=self._clock(), detail=error.sentence)
        await self._remove(record)

    async def _remove(self, record: SessionRecord) -> None:
        try:
            await self._backend.stop(record.launch)
        except SessionError as error:
            # It is known to have ended, so that what is left of it is removed later.
            self._log.warning("Something of %s stays for now: %s", record.launch, error.detail)

    async def recover(self) -> None:
        """Find out what became of jobs that an earlier manager was about to start."""
        absences: dict[LaunchId, int] = {}
        while pending := self._pending():
            for record in pending:
                try:
                    await self._settle(record, absences)
                except Exception as error:  # noqa: BLE001 - whatever it is, it proves nothing
                    self._log.warning("%s could not be looked for: %r", record.launch, error)
            if self._pending():
                await asyncio.sleep(_LOOK_EVERY)

    async def run(self) -> None:
        """Go on for as long as the manager runs."""
        cleared = float("-inf")
        while True:
            try:
                await self.recover()
                if self._monotonic() - cleared > _CLEAR_EVERY:
                    cleared = self._monotonic()
                    await self.clear_ended()
            except Exception:  # noqa: BLE001 - the next round tries again
                self._log.exception("Jobs could not be seen to; tried again")
            await asyncio.sleep(_LOOK_EVERY)

    async def clear_ended(self) -> None:
        """Remove what is left of jobs whose end is written down: a manager may have been killed."""
        try:
            launches = await self._backend.plans()
        except SessionError as error:
            self._log.info("What is left of ended jobs stays for now: %s", error.detail)
            return
        for launch in launches:
            record = self._registry.by_launch(launch)
            if record is not None and not (record.live or record.interactive):
                await self._remove(record)

    def _pending(self) -> list[SessionRecord]:
        return [
            record
            for record in self._registry.live()
            if not (record.interactive or record.begun or record.launch in self._starting)
        ]

    async def _settle(self, record: SessionRecord, absences: dict[LaunchId, int]) -> None:
        async with self._lock(record.launch):
            evidence = await self._backend.look(record.plan)
            if evidence.life is Life.UNKNOWN:
                return
            if evidence.life is not Life.ABSENT:
                await self._registry.change(record.id, begun=True)
                return
            absences[record.launch] = absences.get(record.launch, 0) + 1
            if absences[record.launch] >= _PROOFS:
                self._log.warning("%s was never started", record.launch)
                reason = record.ending or Reason.NEVER_STARTED
                await self._registry.end(record.id, reason=reason, at=self._clock())
                await self._remove(record)

    # Ending.

    async def cancel(
        self, record: SessionRecord, by: str, *, reason: Reason = Reason.STOPPED
    ) -> None:
        """Write down that a job is to end, and end it.

        Raises
        ------
        SessionError
            The back end cannot end it now. That it is to end stays written down.
        """
        current = self._registry.get(record.id)
        if current is None or not current.live:
            return
        if current.ending is None:
            current = await self._registry.change(record.id, ending=reason, ending_by=by)
        await self.stop(current)

    async def stop(self, record: SessionRecord) -> None:
        """End a job that was told to end; the observer finds the proof of it.

        Raises
        ------
        SessionError
        """
        async with self._lock(record.launch):
            current = self._registry.get(record.id)
            if current is None or not current.live:
                return
            with contextlib.suppress(SessionError, OSError):
                # On a cluster nothing is left to be read afterwards.
                await self._save(current)
            await self._backend.stop(current.launch)

    async def finished(self, record: SessionRecord, evidence: Evidence) -> None:
        """Put a job away that is proven to be over: its log, how it ended; then what is left of it.

        Raises
        ------
        SessionError, OSError
            Its log could not be fetched or kept. It is worth another try, for a minute.
        """
        async with self._lock(record.launch):
            current = self._registry.get(record.id)
            if current is None or not current.live:
                return
            await self._save_in_time(current)
            reason = current.ending or evidence.reason
            await self._registry.end(
                current.id,
                reason=reason,
                at=evidence.finished or evidence.at or self._clock(),
                detail=evidence.detail,
                exit_code=evidence.exit_code,
            )
            self._unfetched.pop(current.launch, None)
            self._log.info("%s is over: %s", current.launch, reason.value or "no reason given")
            await self._remove(current)

    # Logs.

    async def log(self, record: SessionRecord) -> str:
        """Give what a job has written, while it runs and afterwards.

        Raises
        ------
        Unavailable
            It runs, and the back end does not answer.
        """
        text = await self._backend.logs(record.launch) if record.live else ""
        return text or await asyncio.to_thread(self._kept, record.launch)

    def _path(self, launch: LaunchId) -> Path:
        return self._logs / f"{launch}.log"

    def _kept(self, launch: LaunchId) -> str:
        try:
            return last_of(self._path(launch).read_bytes())
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Unavailable(
                "The log cannot be read now. Tell the administrators.", detail=str(error)
            ) from None

    async def _save_in_time(self, record: SessionRecord) -> None:
        try:
            await self._save(record)
        except (SessionError, OSError) as error:
            since = self._unfetched.setdefault(record.launch, self._monotonic())
            if self._monotonic() - since < _LOG_WITHIN:
                raise
            # A log that cannot be had keeps nobody from learning that the job is over.
            self._log.warning("The log of %s is lost: %r", record.launch, error)

    async def _save(self, record: SessionRecord) -> None:
        text = await self._backend.logs(record.launch)
        if text:
            await asyncio.to_thread(self._write, record.launch, text)

    def _write(self, launch: LaunchId, text: str) -> None:
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._path(launch), last_of(text.encode(errors="replace")))

    def forget_log(self, launch: LaunchId) -> None:
        """Remove the log of a job whose history is over."""
        self._path(launch).unlink(missing_ok=True)
