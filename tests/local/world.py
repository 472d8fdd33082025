"""A data directory with the back end of one machine over it: real supervisors, no hub."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.names import LaunchId, new_launch_id, new_session_id
from canfar_spawner.core.plan import SessionPlan, plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import parse_request
from canfar_spawner.core.status import Evidence, Life
from canfar_spawner.local import state as supervisor
from canfar_spawner.local.backend import LocalBackend
from canfar_spawner.local.isolation import Isolation
from canfar_spawner.local.launcher import Launcher
from canfar_spawner.local.provision import Provisioner
from tests.conftest import PROBE
from tests.core.world import ADA, site, site_data
from tests.support.hub import wait_for

WITHIN = 20.0
LOOK_EVERY = 0.02

PROGRAMS = {
    "runs": ["sh", "-c", "echo started; exec sleep 600"],
    "busy": ["sh", "-c", "while :; do :; done"],
    "marks": [
        "sh",
        "-c",
        "mkdir -p $CANFAR_SCRATCH/d; touch $HOME/kept; echo done; exec sleep 600",
    ],
    "finishes": ["sh", "-c", "echo all done"],
    "fails": ["sh", "-c", "exit 3"],
    "nowhere": ["no-such-program-of-ours", "{port}"],
}

PORTED = {"command": ["python3", "-c", PROBE.read_text(), "{port}"]}
BEHIND: dict[str, dict[str, Any]] = {
    "socketed": {"local": {"command": ["python3", "-c", PROBE.read_text(), "{socket}"]}},
    "ported": {"local": PORTED},
    "ported-second": {"kinds": ["headless", "contributed"], "local": PORTED},
    "ported-first": {"kinds": ["contributed", "headless"], "local": PORTED},
    "ported-always": {"kinds": ["contributed", "firefly"], "local": PORTED},
    # Each kind's own program, as far as it has one.
    "screens": {"kinds": ["desktop", "carta"], "local": {}},
    "screen": {"kinds": ["desktop", "contributed"], "local": {}},
    "viewer": {"kinds": ["carta"], "local": {"get": "apt-get install it"}},
}
"""What stands behind a gateway."""


def policy(**changes: Any) -> SitePolicy:
    """Give a site with one container for each of the programs."""
    catalogue = site_data()["catalogue"]
    for name, other in BEHIND.items():
        catalogue["containers"].append(
            {
                "name": name,
                "description": "A program with a web page.",
                "kinds": ["contributed"],
                "image": f"skaha/{name}",
                "versions": [{"name": "1"}],
                **other,
            }
        )
    for name, command in PROGRAMS.items():
        catalogue["containers"].append(
            {
                "name": name,
                "title": name.capitalize(),
                "description": "A program of one line.",
                "icon": "notebook",
                "kinds": ["notebook", "headless"],
                "image": f"skaha/{name}",
                "versions": [{"name": "2", "recommended": True}, {"name": "1"}],
                "entry": "direct",
                "local": {"command": command, "get": "apt-get install it"},
            }
        )
    sizes = {"default": {"cores": [1, 2, 4, 1024], "memory": [1, 4, 16384]}}
    return site(catalogue=catalogue, resources=sizes, **changes)


LARGE = {"mode": "fixed", "cores": 1024, "memory": 16384}
"""More than any machine has that these tests run on."""


class NeverStarts(Launcher):
    """A hub that is killed after it has written an order down and before it starts it."""

    @staticmethod
    def supervise(launch: Path) -> None:
        """Start nothing."""


@dataclass
class World:
    """A data directory, the back end over it, and what a test asks of it."""

    data: Path
    isolation: Isolation
    backend: LocalBackend = field(init=False)
    policy: SitePolicy = field(default_factory=policy)
    planned: list[LaunchId] = field(default_factory=list)

    def __post_init__(self) -> None:
        Provisioner(self.data).prepare_tree()
        self.backend = self.new_backend()

    def new_backend(self, launcher: type[Launcher] = Launcher) -> LocalBackend:
        """Make a back end as a hub makes one at its start."""
        made = launcher(Provisioner(self.data), self.isolation)
        groups = {group.name: group.gid for group in ADA.groups}
        return LocalBackend(made, policy=lambda: self.policy, gids=lambda: groups)

    def plan(self, container: str, **options: Any) -> SessionPlan:
        """Plan a new launch."""
        session = new_session_id(secrets.choice)
        launch = new_launch_id(session, secrets.choice)
        self.planned.append(launch)
        return plan_session(
            parse_request({"container": container, **options}),
            identity=ADA,
            policy=self.policy,
            usage=Usage(interactive=0),
            now=datetime.now(UTC),
            session=session,
            launch=launch,
        )

    async def start(self, container: str, **options: Any) -> SessionPlan:
        """Start a new launch."""
        plan = self.plan(container, **options)
        await self.backend.start(plan, Secrets())
        return plan

    async def job(self, container: str, **options: Any) -> SessionPlan:
        """Order a batch job, with its variables as the manager hands them over."""
        plan = self.plan(container, kind="headless", **options)
        self.backend.accepts(plan)
        request = parse_request({"container": container, **options})
        await self.backend.start(plan, Secrets(env=request.env))
        return plan

    @contextlib.asynccontextmanager
    async def tended(self, backend: LocalBackend | None = None) -> AsyncIterator[None]:
        """Start jobs as their turn comes, as the session manager does, for the length of a block."""
        task = asyncio.ensure_future((backend or self.backend).tend_queue())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(
        self, plan: SessionPlan, is_so: Callable[[Evidence], bool], what: str
    ) -> Evidence:
        """Observe until something is so of a launch, and give what was seen."""
        deadline = time.monotonic() + WITHIN
        seen = None
        while time.monotonic() < deadline:
            seen = (await self.backend.observe()).get(plan.launch)
            if seen is not None and is_so(seen):
                return seen
            await asyncio.sleep(LOOK_EVERY)
        raise AssertionError(f"waited in vain for {what}; last seen: {seen}")

    async def running(self, container: str, **options: Any) -> SessionPlan:
        """Start a new launch and wait until its program runs."""
        plan = await self.start(container, **options)
        await self.until(plan, lambda seen: seen.life is Life.RUNNING, "the program to run")
        return plan

    async def ended(self, plan: SessionPlan) -> Evidence:
        """Wait until a launch has ended."""
        return await self.until(plan, lambda seen: seen.life is Life.ENDED, "the launch to end")

    async def log_says(self, plan: SessionPlan, text: str) -> None:
        """Wait until the program has written something."""
        deadline = time.monotonic() + WITHIN
        while text not in await self.backend.logs(plan.launch, lines=10):
            assert time.monotonic() < deadline, f"{text} was never written"
            await asyncio.sleep(LOOK_EVERY)

    def directory(self, plan: SessionPlan) -> Path:
        """Give the directory of a launch."""
        return self.data / "run" / plan.launch

    def supervisor(self, plan: SessionPlan) -> int:
        """Give the process id of a launch's supervisor."""
        state = supervisor.read_state(self.directory(plan))
        assert state is not None
        return state.supervisor_pid

    def clear(self) -> None:
        """End what a test has left."""
        launches = [path for path in (self.data / "run").iterdir() if path.is_dir()]

        def over() -> bool:
            # One that is just about to begin is asked at the next look.
            living = [path for path in launches if supervisor.is_alive(path)]
            for path in living:
                with contextlib.suppress(OSError, ValueError):
                    supervisor.stop(path)
            return not living

        wait_for(over, "all launches to end")
