"""The spawner for one machine; ``c.JupyterHub.spawner_class = "canfar-local"``."""

from __future__ import annotations

from typing import Any

from jupyterhub.utils import random_port
from traitlets import default
from typing_extensions import override

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.gateway import start_url
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Phase
from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.local.backend import LocalBackend

_STATE = "canfar_port"


class LocalSpawner(SessionSpawnerMixin):
    """Runs each session as a supervised process of this machine."""

    expected_phases = (Phase.ASKED, Phase.PREPARING, Phase.STARTING, Phase.READY)

    @default("ip")
    def _ip_default(self) -> str:
        return "127.0.0.1"

    @default("start_timeout")
    def _start_timeout_default(self) -> int:
        return 300

    @default("http_timeout")
    def _http_timeout_default(self) -> int:
        return 60

    @default("env_keep")
    def _env_keep_default(self) -> list[str]:
        return ["TZ"]

    @property
    def _backend(self) -> LocalBackend:
        backend = self.platform.backend
        if not isinstance(backend, LocalBackend):
            raise TypeError("LocalSpawner needs the local back end; see hub_config/")
        return backend

    @override
    def apply_plan(self, plan: SessionPlan) -> None:
        """Choose a port, or take that of a session that runs already, and the page to open with."""
        self.port = self._backend.port_of(plan.launch) or random_port()
        self.default_url = start_url(plan)

    @override
    def get_state(self) -> dict[str, Any]:
        """Add the port, which JupyterHub stores only after a start is over."""
        state = super().get_state()
        if self.plan is not None:
            state[_STATE] = self.port
        return state

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take the port up again."""
        super().load_state(state)
        if _STATE in state:
            self.port = state[_STATE]
        if self.plan is not None:
            self._backend.remember(self.plan)

    @override
    async def address(self, plan: SessionPlan) -> str:
        """Give the address of the chosen port."""
        return f"http://{self.ip}:{self.port}"

    @override
    async def launch(self, plan: SessionPlan, secrets: Secrets) -> None:
        """Start the session's program."""
        self.enter(Phase.PREPARING)
        await self._backend.start(plan, secrets, port=self.port)
        self.enter(Phase.STARTING)
