"""A back end in memory, for tests of what the session manager makes of what it is told.

What it does is what `tests/manager/test_backends.py` asks of it and of the real one alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

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
from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Phase, Reason


class MemoryBackend:
    """See `canfar_spawner.core.backend.Backend`; everything it runs is a line in a table."""

    enforces_sizes = True
    runs_images = True

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.away = False
        self.learned_ago = 0.0
        """It does not answer."""
        self.known: dict[LaunchId, Recovered] = {}
        self.evidence: dict[LaunchId, Evidence] = {}
        self.uses: dict[LaunchId, Use] = {}
        self.written: dict[LaunchId, str] = {}
        self.stopped: list[LaunchId] = []

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("The back end does not answer now.", detail="away")

    def offer(self, container: Container) -> Offer:
        """Offer everything."""
        del container
        return Offer(available=True)

    def accepts(self, plan: SessionPlan) -> None:
        """Accept everything."""

    async def start(self, plan: SessionPlan, secrets: Secrets) -> None:
        """Run it, unless it was started before."""
        del secrets
        self._answer()
        if plan.launch not in self.known:
            self.known[plan.launch] = Recovered(plan=plan, ends=plan.ends)
            self.evidence[plan.launch] = Evidence(
                life=Life.RUNNING, phase=Phase.STARTING, started=self._clock(), seen=self._clock()
            )

    def end(self, launch: LaunchId, reason: Reason = Reason.FINISHED, code: int = 0) -> None:
        """Let its program end."""
        self.evidence[launch] = Evidence(
            life=Life.ENDED,
            reason=reason,
            exit_code=code,
            finished=self._clock(),
            at=self._clock(),
            seen=self._clock(),
        )

    def lose(self, launch: LaunchId) -> None:
        """Let every trace of it vanish."""
        self.known.pop(launch, None)
        self.evidence.pop(launch, None)

    async def observe(self) -> Mapping[LaunchId, Evidence]:
        """Tell everything."""
        self._answer()
        return dict(self.evidence)

    def answered_ago(self) -> float:
        """It learns nothing by itself."""
        return self.learned_ago

    async def look(self, plan: SessionPlan) -> Evidence:
        """Tell of one."""
        self._answer()
        absent = Evidence(life=Life.ABSENT, reason=Reason.SUPERVISOR_LOST, seen=self._clock())
        return self.evidence.get(plan.launch, absent)

    async def stop(self, launch: LaunchId) -> None:
        """End it."""
        self._answer()
        self.stopped.append(launch)
        found = self.evidence.get(launch)
        if found is not None and found.life is not Life.ENDED:
            self.end(launch, Reason.STOPPED, 143)

    async def unclaimed(self, owner: str, known: frozenset[LaunchId]) -> tuple[Unclaimed, ...]:
        """Find nothing."""
        del owner, known
        return ()

    async def extend(self, plan: SessionPlan, until: datetime) -> None:
        """Keep a new end."""
        self._answer()
        if plan.launch in self.known:
            self.known[plan.launch] = Recovered(plan=plan, ends=until)

    async def plans(self) -> Mapping[LaunchId, Recovered]:
        """Give what left a trace."""
        self._answer()
        return dict(self.known)

    async def logs(self, launch: LaunchId, *, lines: int | None = None) -> str:
        """Give what was written."""
        self._answer()
        text = self.written.get(launch, "")
        return text if lines is None else "".join(text.splitlines(keepends=True)[-lines:])

    async def events(self, launch: LaunchId) -> tuple[BackendEvent, ...]:
        """Give nothing."""
        del launch
        return ()

    async def usage(self, launch: LaunchId) -> Use | None:
        """Give what a test has set."""
        self._answer()
        return self.uses.get(launch)

    async def capacity(self) -> Capacity | None:
        """Give a large machine."""
        return Capacity(cores=Decimal(64), cores_taken=Decimal(0), memory=2**38, memory_taken=0)
