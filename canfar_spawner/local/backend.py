"""The back end for one machine: every launch is a directory and a supervised process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from canfar_spawner.core.backend import (
    BackendEvent,
    Capacity,
    Offer,
    Recovered,
    Secrets,
    Unclaimed,
    Use,
)
from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.errors import NotAllowed, SessionError, StartFailed, Unavailable, listing
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.logs import LONGEST, last_of
from canfar_spawner.core.names import LaunchId, launch_id
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.status import Evidence, Life, Reason, is_over
from canfar_spawner.local import state
from canfar_spawner.local.evidence import evidence_of, look_at
from canfar_spawner.local.launcher import Launcher
from canfar_spawner.local.offers import offer_of
from canfar_spawner.local.queue import next_to_start, places
from canfar_spawner.local.usage import UsageMeter, machine

_LOOK_EVERY: Final = 0.1
_STOP_WITHIN: Final = 30.0
_KEEP_ENDED: Final = timedelta(days=1)
"""How long the log and the state of an ended session stay."""
_KEEP_JOBS: Final = timedelta(days=30)
"""The same of jobs, which the session manager removes once it has the log."""
_ASK_AGAIN: Final = 5.0
_TEND_EVERY: Final = 0.5
"""Seconds after which a job whose turn may have come is looked for."""


class LocalBackend:
    """See `canfar_spawner.core.backend.Backend`.

    Parameters
    ----------
    launcher : Launcher
    policy : callable
        Gives the site's policy.
    gids : callable
        Gives the group id of each project.
    others : callable
        Says whether the hub serves more than accounts for trying it out.
    """

    enforces_sizes = False
    runs_images = False

    def __init__(
        self,
        launcher: Launcher,
        *,
        policy: Callable[[], SitePolicy],
        gids: Callable[[], dict[str, int]],
        others: Callable[[], bool] = lambda: False,
    ) -> None:
        self.launcher = launcher
        self._policy = policy
        self._gids = gids
        self._others = others
        self._runs = launcher.provisioner.runs
        self._plans = launcher.plans
        self._meter = UsageMeter()
        self._over: dict[LaunchId, Evidence] = {}
        """What has ended stays ended."""
        self._ordered = asyncio.Event()
        self._asked_at: dict[LaunchId, float] = {}
        """When a supervisor was last asked for, for a launch that had none."""
        self._starting: WeakValueDictionary[LaunchId, asyncio.Lock] = WeakValueDictionary()

    # What can run here.

    def offer(self, container: Container, kind: SessionKind | None = None) -> Offer:
        """Say whether a container's program is on this machine, for one kind if that is given."""
        return offer_of(container, self._policy(), others=self._others(), kind=kind)

    def accepts(self, plan: SessionPlan) -> None:
        """Refuse what only a cluster could run, or what is not ready here yet."""
        by_name = {each.name: each for each in self._policy().catalogue.containers}
        container = by_name.get(plan.container or "")
        if container is None:
            here = [each.name for each in by_name.values() if self.offer(each).available]
            raise NotAllowed(
                "Images by reference need a cluster; on this machine choose one of the"
                f" containers: {', '.join(here)}.",
                field="image",
                allowed=here,
                code="needs_cluster",
            )
        offer = self.offer(container, plan.kind)
        if not offer.available:
            hint = f" Run: {offer.command}" if offer.command else ""
            raise NotAllowed(f"{offer.reason}{hint}", field="container", code=_offer_code(offer))
        here = [version.name for version in offer.narrowed(container).versions]
        if plan.version not in here:
            raise NotAllowed(
                f"This machine has {container.title} {listing(here)} only;"
                " other versions need a cluster.",
                field="version",
                allowed=here,
                code="needs_cluster",
            )
        if not (KINDS[plan.kind].interactive or plan.command) and (
            container.local is None or container.local.environment is not None
        ):
            raise NotAllowed(
                f"{container.title} has no program of its own for batch jobs; say in cmd which to"
                " run, such as python.",
                field="cmd",
                code="needs_command",
            )

    # Carrying out.

    async def start(self, plan: SessionPlan, secrets: Secrets, *, port: int = 0) -> None:
        """Start a launch; one that was started before is left as it is."""
        async with self._starting.setdefault(plan.launch, asyncio.Lock()):
            path = self._runs / plan.launch
            if not ((path / "spec.json").exists() or (path / "state.json").exists()):
                await self._start(plan, secrets, port)
        self._ordered.set()

    async def _start(self, plan: SessionPlan, secrets: Secrets, port: int) -> None:
        by_name = {each.name: each for each in self._policy().catalogue.containers}
        container = by_name.get(plan.container or "")
        if container is None or container.local is None:
            raise StartFailed("The container is no longer in the catalogue.")
        self._plans.remember(plan)
        self._asked_at[plan.launch] = time.monotonic()
        try:
            await asyncio.to_thread(
                self.launcher.start,
                plan,
                secrets,
                program=container.local,
                # The site's own, and those that came with her sign-in.
                gids=self._policy().project_gids(plan.identity) | self._gids(),
                port=port,
            )
        except SessionError:
            # Nothing was ordered, so nobody would ever clear it away.
            self.launcher.provisioner.forget(plan.launch)
            raise

    def remember(self, plan: SessionPlan) -> None:
        """Know the plan of a launch that was begun by an earlier version, which kept none."""
        self._plans.remember(plan)

    def _launches(self) -> Iterator[tuple[LaunchId, Path]]:
        """Give everything that left a directory, and forget what has none any more."""
        found = set()
        for path in self._runs.iterdir():
            try:
                launch = launch_id(path.name)
            except ValueError:
                continue
            found.add(launch)
            yield launch, path
        self._plans.forget_all_but(found)
        for launch in self._over.keys() - found:
            del self._over[launch]

    async def observe(self) -> Mapping[LaunchId, Evidence]:
        """Look at every launch that left a directory."""
        now = datetime.now(UTC)
        found: dict[LaunchId, Evidence] = {}
        queue: dict[LaunchId, SessionPlan] = {}
        for launch, path in self._launches():
            evidence = self._evidence(launch, path, queue=queue)
            plan = self._plans.of(launch)
            is_job = plan is not None and not KINDS[plan.kind].interactive
            since = evidence.at or _changed(path)
            over = is_over(evidence)
            keep = _KEEP_JOBS if is_job else _KEEP_ENDED
            if over and since is not None and now - since > keep:
                self.launcher.provisioner.forget(launch)
            else:
                found[launch] = evidence
        for launch, place in places(queue.values()).items():
            found[launch] = found[launch].model_copy(update={"detail": place})
        return found

    def answered_ago(self) -> float:
        """Say that nothing is old: it looks when it is asked."""
        return 0.0

    async def look(self, plan: SessionPlan) -> Evidence:
        """Look at the directory of one launch."""
        path = self._runs / plan.launch
        if not path.is_dir():
            # Where none can be seen, that one is not seen proves nothing.
            self._runs.stat()
            return Evidence(life=Life.ABSENT, reason=Reason.SUPERVISOR_LOST, seen=datetime.now(UTC))
        queue: dict[LaunchId, SessionPlan] = {}
        evidence = self._evidence(plan.launch, path, queue=queue)
        if not queue:
            return evidence
        return (await self.observe()).get(plan.launch, evidence)

    def _evidence(
        self,
        launch: LaunchId,
        path: Path,
        *,
        queue: dict[LaunchId, SessionPlan] | None = None,
    ) -> Evidence:
        """Look at one launch, see to it that somebody does, and note it if it waits."""
        over = self._over.get(launch)
        if over is not None:
            return over
        now = datetime.now(UTC)
        try:
            look = look_at(path, now)
        except (OSError, ValueError):
            return Evidence(life=Life.UNKNOWN)
        plan = self._plans.of(launch)
        if look.queued and plan is not None and queue is not None:
            queue[launch] = plan
        if look.abandoned:
            # Either the hub was killed between writing the launch down and starting it, or the
            # supervisor was: a new supervisor starts the one and cleans up after the other.
            self._supervise(launch, path)
        elif look.alive or look.ended:
            self._asked_at.pop(launch, None)
        evidence = evidence_of(look, plan, now, place="in the queue")
        if look.ended:
            # A supervisor may have been killed before it could remove the order and its secrets.
            with contextlib.suppress(OSError):
                (path / "spec.json").unlink(missing_ok=True)
            self._over[launch] = evidence
            self._meter.forget(launch)
        return evidence

    def _supervise(self, launch: LaunchId, path: Path) -> None:
        if time.monotonic() - self._asked_at.get(launch, -_ASK_AGAIN) >= _ASK_AGAIN:
            self._asked_at[launch] = time.monotonic()
            self.launcher.supervise(path)

    # Batch jobs wait for their turn.

    async def tend_queue(self) -> None:
        """Start waiting jobs as their turn comes, until cancelled.

        One process alone may do this: the session manager, which holds the lock of its data.
        """
        log = logging.getLogger("sessions")
        waiting, running = 1, list[Path]()
        looked = float("-inf")
        while True:
            self._ordered.clear()
            # Nobody's turn comes before one that runs is over, or something new is ordered.
            stale = time.monotonic() - looked > _ASK_AGAIN
            if stale or not running or any(map(self._is_over, running)):
                try:
                    waiting, running = self.advance()
                    looked = time.monotonic()
                except Exception:
                    log.exception("The queue of batch jobs could not be looked at; tried again")
            try:
                async with asyncio.timeout(_TEND_EVERY if waiting else None):
                    await self._ordered.wait()
                looked = float("-inf")
            except TimeoutError:
                continue

    def _is_over(self, path: Path) -> bool:
        return not path.is_dir() or is_over(self._evidence(LaunchId(path.name), path))

    def advance(self) -> tuple[int, list[Path]]:
        """Start the jobs whose turn has come; say how many wait on, and which run."""
        waiting: dict[LaunchId, SessionPlan] = {}
        running: list[SessionPlan] = []
        for launch, path in self._launches():
            plan = self._plans.of(launch)
            if plan is None or KINDS[plan.kind].interactive:
                continue
            over = is_over(self._evidence(launch, path, queue=waiting))
            # One that is still being prepared takes no room, and may never be ordered.
            if not over and launch not in waiting and (path / "spec.json").exists():
                running.append(plan)
        has = machine(Decimal(0), 0)
        chosen = next_to_start(waiting.values(), running, cores=has.cores, memory=has.memory)
        for plan in chosen:
            path = self._runs / plan.launch
            # From here on the order is one that is to be carried out, by whoever finds it.
            (path / state.QUEUED).unlink(missing_ok=True)
            self._asked_at[plan.launch] = time.monotonic()
            self.launcher.supervise(path)
        return len(waiting) - len(chosen), [
            self._runs / plan.launch for plan in (*running, *chosen)
        ]

    # Ending.

    async def stop(self, launch: LaunchId) -> None:
        """End a launch with everything it started and wipe its scratch.

        What is left of a job that has ended already, its log above all, is removed; a session's
        stays for a day.
        """
        path = self._runs / launch
        if not path.is_dir():
            return
        plan = self._plans.of(launch)
        is_job = plan is not None and not KINDS[plan.kind].interactive
        if is_job and is_over(self._evidence(launch, path)):
            self.launcher.provisioner.forget(launch)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _STOP_WITHIN
        asked = 0
        while True:
            if self._take_back(path, plan):
                if not is_job:
                    self.launcher.provisioner.forget(launch)
                return
            if self._evidence(launch, path).life is Life.ENDED:
                return
            left = deadline - loop.time()
            # The second signal skips the grace.
            if asked == 0 or (asked == 1 and left < _STOP_WITHIN / 2):
                asked += state.stop(path)
            if left < 0:
                raise StartFailed(
                    "The session could not be stopped. Tell the administrators.",
                    code="stop_failed",
                    detail=f"{launch} did not end within {_STOP_WITHIN:.0f} s",
                )
            await asyncio.sleep(_LOOK_EVERY)

    def _take_back(self, path: Path, plan: SessionPlan | None) -> bool:
        """Take the order of a launch back, if nobody has begun to carry it out."""
        try:
            if state.read_state(path) is not None or state.is_alive(path):
                return False
            wiped = [str(self.launcher.provisioner.scratch / path.name), str(path / "session")]
            return state.call_off(
                path,
                owner=plan.owner if plan else "",
                session=plan.session if plan else "",
                paths=wiped,
            )
        except (OSError, ValueError):
            return False

    async def extend(self, plan: SessionPlan, until: datetime) -> None:
        """Write the new end down where the supervisor looks for it."""
        path = self._runs / plan.launch
        try:
            if path.is_dir() and not look_at(path, datetime.now(UTC)).ended:
                await asyncio.to_thread(self._plans.extend, plan.launch, until)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise Unavailable(
                "The new end could not be written down. Try again in a minute.", detail=str(error)
            ) from None

    # What is known of launches.

    async def plans(self) -> Mapping[LaunchId, Recovered]:
        """Read the plans of everything that left a directory."""
        found = {launch: self._plans.recovered(launch) for launch, _ in self._launches()}
        return {launch: kept for launch, kept in found.items() if kept is not None}

    async def unclaimed(self, owner: str, known: frozenset[LaunchId]) -> tuple[Unclaimed, ...]:
        """Find the sessions that run for a user without being among those that are known."""
        found = []
        for launch, path in self._launches():
            plan = None if launch in known else self._plans.of(launch)
            if plan is None or plan.owner != owner or not KINDS[plan.kind].interactive:
                continue
            # Without its token it could run on, but not be reached.
            token = self._plans.token(launch)
            if token is not None and self._evidence(launch, path).life is Life.RUNNING:
                found.append(Unclaimed(plan=plan, token=token))
        return tuple(found)

    def port_of(self, launch: LaunchId) -> int | None:
        """Say where a launch listens that was begun before, None for any other."""
        try:
            found = state.read_state(self._runs / launch)
        except (OSError, ValueError):
            return None
        return found.port if found else None

    async def logs(self, launch: LaunchId, *, lines: int | None = None) -> str:
        """Give the last lines that the program wrote, or all of them."""
        return await asyncio.to_thread(self._log, self._runs / launch / "session.log", lines)

    @staticmethod
    def _log(path: Path, lines: int | None) -> str:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - LONGEST))
                output = file.read(LONGEST)
        except FileNotFoundError:
            return ""
        text = last_of(output, cut=size > LONGEST)
        if lines is None:
            return text
        return "".join(deque(io.StringIO(text), maxlen=lines))

    async def events(self, launch: LaunchId) -> tuple[BackendEvent, ...]:
        """Give nothing: one machine reports no events beside the phases."""
        del launch
        return ()

    async def usage(self, launch: LaunchId) -> Use | None:
        """Measure the launch's processes."""
        path = self._runs / launch
        try:
            found = state.read_state(path)
            if found is None or found.phase == "ended" or not state.is_alive(path):
                return None
        except (OSError, ValueError):
            return None
        return self._meter.read(launch, found.supervisor_pid, datetime.now(UTC))

    async def capacity(self) -> Capacity | None:
        """Say what this machine has and what those that run were promised of it."""
        cores, memory = Decimal(0), 0
        for launch, path in self._launches():
            plan = None if launch in self._over else self._plans.of(launch)
            if plan is None:
                continue
            waiting: dict[LaunchId, SessionPlan] = {}
            evidence = self._evidence(launch, path, queue=waiting)
            if not is_over(evidence) and not waiting:
                cores += plan.resources.cores_request
                memory += plan.resources.memory_request
        return machine(cores, memory)

    def project_directories(self) -> None:
        """Make the directories of all projects whose group has a number; launches make others."""
        for name, gid in self._gids().items():
            self.launcher.provisioner.project(name, gid)


def _offer_code(offer: Offer) -> str:
    return "being_prepared" if offer.preparation else "needs_cluster"


def _changed(path: Path) -> datetime | None:
    """Say when something was last made or removed in a directory."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
