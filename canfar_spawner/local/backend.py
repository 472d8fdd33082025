"""The back end for one machine: every launch is a directory and a supervised process."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from weakref import WeakValueDictionary

from canfar_spawner.core.backend import (
    BackendEvent,
    Capacity,
    Offer,
    Preparation,
    Secrets,
    Unclaimed,
    Use,
)
from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.errors import NotAllowed, StartFailed
from canfar_spawner.core.names import LaunchId, launch_id
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.status import Evidence, Life, Phase, Reason, exit_reason
from canfar_spawner.local import environments, run
from canfar_spawner.local.launcher import SYSTEM_PATH, Launcher
from canfar_spawner.local.usage import UsageMeter, machine

_LOOK_EVERY = 0.1
_STOP_WITHIN = 30.0
_PREPARED_WITHIN = 60.0
_KEEP_ENDED = timedelta(days=1)
"""How long the log and the state of an ended launch stay."""
_ASK_AGAIN = 5.0
_SIGNAL_BASE = 128

_REASONS = {
    "stopped": Reason.STOPPED,
    "deadline": Reason.EXPIRED,
    "start_failed": Reason.PROGRAM_MISSING,
    "supervisor_lost": Reason.SUPERVISOR_LOST,
}


class LocalBackend:
    """See `canfar_spawner.core.backend.Backend`.

    Parameters
    ----------
    launcher : Launcher
    policy : callable
        Gives the site's policy.
    gids : callable
        Gives the group id of each project.
    """

    enforces_sizes = False
    runs_images = False

    def __init__(
        self,
        launcher: Launcher,
        *,
        policy: Callable[[], SitePolicy],
        gids: Callable[[], dict[str, int]],
    ) -> None:
        self.launcher = launcher
        self._policy = policy
        self._gids = gids
        self._runs = launcher.provisioner.runs
        self._meter = UsageMeter()
        self._asked_at: dict[LaunchId, float] = {}
        """When a supervisor was last asked for, for a launch that had none."""
        self._starting: WeakValueDictionary[LaunchId, asyncio.Lock] = WeakValueDictionary()
        self._promised: dict[LaunchId, tuple[Decimal, int]] = {}

    # What can run here.

    def offer(self, container: Container) -> Offer:
        """Say whether a container's program is on this machine."""
        program = container.local
        if program is None or program.missing or not (program.environment or program.command):
            reason = program.missing if program else ""
            return Offer(
                available=False,
                reason=reason or f"{container.title} needs a cluster; it has no local program.",
                command=program.get if program else "",
            )
        if program.environment is None:
            # As sessions find it: the hub's own path says nothing of theirs.
            found = shutil.which(program.command[0], path=SYSTEM_PATH) is not None
            return Offer(
                available=found,
                reason="" if found else f"{program.command[0]} is not installed on this machine.",
                command="" if found else program.get,
            )
        status = environments.status(program.environment)
        if status.state == "ready":
            return Offer(available=True)
        preparation = None
        if status.state in ("building", "waiting", "failed"):
            preparation = Preparation(
                text=status.text,
                step=status.step,
                steps=status.steps,
                seconds_left=status.seconds_left,
                size_mb=status.size_mb,
                error=status.error,
            )
        reason = {
            "building": f"{container.title} is being prepared on this machine.",
            "waiting": f"{container.title} waits to be prepared on this machine.",
            "failed": f"{container.title} could not be prepared on this machine.",
        }.get(status.state, f"{container.title} has not been prepared on this machine.")
        return Offer(
            available=False,
            reason=reason,
            # Nobody has to do anything where it is on its way.
            command="" if status.state in ("building", "waiting") else "make environments",
            preparation=preparation,
        )

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
        offer = self.offer(container)
        if not offer.available:
            hint = f" Run: {offer.command}" if offer.command else ""
            raise NotAllowed(f"{offer.reason}{hint}", field="container", code=_offer_code(offer))
        if plan.version != container.default_version.name:
            raise NotAllowed(
                f"This machine has {container.title} {container.default_version.name} only;"
                " other versions need a cluster.",
                field="version",
                allowed=(container.default_version.name,),
                code="needs_cluster",
            )

    # Carrying out.

    async def start(self, plan: SessionPlan, secrets: Secrets, *, port: int = 0) -> None:
        """Start a launch; one that was started before is left as it is."""
        async with self._starting.setdefault(plan.launch, asyncio.Lock()):
            path = self._runs / plan.launch
            if not ((path / "spec.json").exists() or (path / "state.json").exists()):
                await self._start(plan, secrets, port)

    async def _start(self, plan: SessionPlan, secrets: Secrets, port: int) -> None:
        by_name = {each.name: each for each in self._policy().catalogue.containers}
        container = by_name.get(plan.container or "")
        if container is None or container.local is None:
            raise StartFailed("The container is no longer in the catalogue.")
        self.promise(plan)
        self._asked_at[plan.launch] = time.monotonic()
        await asyncio.to_thread(
            self.launcher.start,
            plan,
            secrets,
            program=container.local,
            gids=self._gids(),
            port=port,
        )

    def promise(self, plan: SessionPlan) -> None:
        """Count what a launch asks for as taken, until it ends."""
        resources = plan.resources
        self._promised[plan.launch] = (resources.cores_request, resources.memory_request)

    async def observe(self) -> Mapping[LaunchId, Evidence]:
        """Look at every launch that left a directory."""
        found: dict[LaunchId, Evidence] = {}
        for path in self._runs.iterdir():
            try:
                launch = launch_id(path.name)
            except ValueError:
                continue
            evidence = self._evidence(launch, path)
            if evidence.at is not None and datetime.now(UTC) - evidence.at > _KEEP_ENDED:
                self.launcher.provisioner.forget(launch)
            else:
                found[launch] = evidence
        return found

    async def look(self, plan: SessionPlan) -> Evidence:
        """Look at the directory of one launch."""
        path = self._runs / plan.launch
        if not path.is_dir():
            # Where none can be seen, that one is not seen proves nothing.
            self._runs.stat()
            return Evidence(life=Life.ABSENT, reason=Reason.SUPERVISOR_LOST, seen=datetime.now(UTC))
        return self._evidence(plan.launch, path)

    def _evidence(self, launch: LaunchId, path: Path) -> Evidence:
        now = datetime.now(UTC)
        try:
            alive = run.is_alive(path)
            state = run.read_state(path)
            ordered = (path / "spec.json").exists()
            age = now.timestamp() - path.stat().st_mtime
        except (OSError, ValueError):
            return Evidence(life=Life.UNKNOWN)
        if state is not None and state.phase == "ended":
            self._asked_at.pop(launch, None)
            self._promised.pop(launch, None)
            return self._ended(state)
        if alive:
            self._asked_at.pop(launch, None)
            started = state is not None and state.phase == "running"
            return Evidence(
                life=Life.RUNNING if started else Life.STARTING,
                phase=Phase.STARTING if started else Phase.PREPARING,
                seen=now,
            )
        if state is None and not ordered:
            # A hub prepares the launch now, or was killed while it did.
            if age > _PREPARED_WITHIN:
                return Evidence(life=Life.ABSENT, reason=Reason.NEVER_STARTED, seen=now)
            return Evidence(life=Life.STARTING, phase=Phase.PREPARING, seen=now)
        # Either the hub was killed between writing the launch down and starting it, or the
        # supervisor was: a new supervisor starts the one and cleans up after the other.
        if time.monotonic() - self._asked_at.get(launch, -_ASK_AGAIN) >= _ASK_AGAIN:
            self._asked_at[launch] = time.monotonic()
            self.launcher.supervise(path)
        return Evidence(life=Life.STARTING, phase=Phase.PREPARING, seen=now)

    @staticmethod
    def _ended(state: run.LaunchState) -> Evidence:
        code = state.exit_code
        if code is None and state.signal is not None:
            code = _SIGNAL_BASE + state.signal
        reason = _REASONS.get(state.reason or "") or exit_reason(
            code, out_of_memory=bool(state.out_of_memory), asked_to_stop=False
        )
        at = datetime.fromtimestamp(state.ended_at, UTC) if state.ended_at else None
        return Evidence(
            life=Life.ENDED, reason=reason, exit_code=code, detail=state.detail or "", at=at
        )

    async def stop(self, launch: LaunchId) -> None:
        """End a launch with everything it started and wipe its scratch."""
        path = self._runs / launch
        self._promised.pop(launch, None)
        if not path.is_dir():
            return
        if self._take_back(path):
            self.launcher.provisioner.forget(launch)
            return
        deadline = asyncio.get_running_loop().time() + _STOP_WITHIN
        asked = 0
        while self._evidence(launch, path).life is not Life.ENDED:
            left = deadline - asyncio.get_running_loop().time()
            # The second signal skips the grace.
            if asked == 0 or (asked == 1 and left < _STOP_WITHIN / 2):
                asked += run.stop(path)
            if left < 0:
                raise StartFailed(
                    "The session could not be stopped. Tell the administrators.",
                    code="stop_failed",
                    detail=f"{launch} did not end within {_STOP_WITHIN:.0f} s",
                )
            await asyncio.sleep(_LOOK_EVERY)

    @staticmethod
    def _take_back(path: Path) -> bool:
        """Take the order of a launch back, if nobody has begun to carry it out."""
        try:
            if run.read_state(path) is not None or run.is_alive(path):
                return False
        except (OSError, ValueError):
            return False
        (path / "spec.json").unlink(missing_ok=True)
        # A supervisor that has the lock by now may have read the order just before.
        return not run.is_alive(path)

    async def unclaimed(self, owner: str, known: frozenset[LaunchId]) -> tuple[Unclaimed, ...]:
        """Give nothing: what runs here without a record is ended by ``make stop``."""
        del owner, known
        return ()

    async def logs(self, launch: LaunchId, *, lines: int) -> str:
        """Give the last lines that the session's program wrote."""
        try:
            with (self._runs / launch / "session.log").open(errors="replace") as log:
                return "".join(deque(log, maxlen=lines))
        except FileNotFoundError:
            return ""

    async def events(self, launch: LaunchId) -> tuple[BackendEvent, ...]:
        """Give nothing: one machine reports no events beside the phases."""
        del launch
        return ()

    async def usage(self, launch: LaunchId) -> Use | None:
        """Measure the session's processes."""
        path = self._runs / launch
        try:
            state = run.read_state(path)
            if state is None or state.phase == "ended" or not run.is_alive(path):
                return None
        except (OSError, ValueError):
            return None
        return self._meter.read(state.supervisor_pid, datetime.now(UTC))

    async def capacity(self) -> Capacity | None:
        """Say what this machine has and what sessions were promised of it."""
        promised = self._promised.values()
        return machine(
            sum((cores for cores, _ in promised), Decimal(0)), sum(memory for _, memory in promised)
        )

    def project_directories(self) -> None:
        """Make the directories of all projects of the site."""
        gids = self._gids()
        for project in self._policy().projects:
            self.launcher.provisioner.project(project.name, gids[project.name])


def _offer_code(offer: Offer) -> str:
    return "being_prepared" if offer.preparation else "needs_cluster"
