"""The spawner for one machine; ``c.JupyterHub.spawner_class = "canfar-local"``."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.utils import random_port
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from traitlets import Float, default
from typing_extensions import override

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.errors import StartFailed
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import REASONS, Evidence, Phase, Reason, is_over
from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.local.backend import LocalBackend
from canfar_spawner.local.variables import start_url

_STATE = "canfar_port"
_LOOK_EVERY = 0.15
_ANSWER_WITHIN = 5.0
_SERVER_ERROR = 500


class LocalSpawner(SessionSpawnerMixin):
    """Runs each session as a supervised process of this machine."""

    expected_phases = (Phase.ASKED, Phase.PREPARING, Phase.STARTING, Phase.READY)

    slow_start = Float(
        280.0,
        config=True,
        help="""
        Seconds for which a program that runs but does not answer yet is waited for.

        Keep it below ``start_timeout``, so that the reason reaches the page.
        """,
    )

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
        """Choose a port and the page to open with."""
        self.port = random_port()
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
            self._backend.promise(self.plan)

    def _url(self) -> str:
        return f"http://{self.ip}:{self.port}"

    @override
    async def launch(self, plan: SessionPlan, secrets: Secrets) -> str:
        """Start the session's program and wait until it answers."""
        self.enter(Phase.PREPARING)
        await self._backend.start(plan, secrets, port=self.port)
        self.enter(Phase.STARTING)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.slow_start
        while not await self._answers():
            evidence = await self.look()
            if is_over(evidence):
                raise await self._failure(plan, evidence)
            if loop.time() > deadline:
                self.evidence = evidence.model_copy(update={"reason": Reason.START_TIMEOUT})
                words = REASONS[Reason.START_TIMEOUT]
                raise StartFailed(f"{words.sentence} {words.advice}", code=Reason.START_TIMEOUT)
            await asyncio.sleep(_LOOK_EVERY)
        return self._url()

    async def _failure(self, plan: SessionPlan, evidence: Evidence) -> StartFailed:
        log = await self._backend.logs(plan.launch, lines=20)
        self.log.warning("The last lines of %s:\n%s", self._log_name, log)
        reason = evidence.reason
        if reason is Reason.FINISHED:
            # It should not have finished before it answered.
            reason = Reason.PROGRAM_FAILED
            self.evidence = evidence.model_copy(update={"reason": reason})
        words = REASONS[reason]
        detail = f" ({evidence.detail})" if evidence.detail else ""
        return StartFailed(f"{words.sentence}{detail} {words.advice}", code=reason)

    async def _answers(self) -> bool:
        request = HTTPRequest(
            f"{self._url()}{self.server.base_url}api",
            follow_redirects=False,
            request_timeout=_ANSWER_WITHIN,
            connect_timeout=_ANSWER_WITHIN,
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except Exception:  # noqa: BLE001 - refused, reset, half-open: not yet
            return False
        # The client reports what is no answer at all as 599.
        return bool(answer.code < _SERVER_ERROR)

    @override
    async def get_url(self) -> str:
        """Wait, after a restart of the hub, for a session that was still starting.

        JupyterHub calls this in its restart check only, and would stop a session that does not
        answer in time: here only a session proven dead is given up.
        """
        while not await self._answers():
            if is_over(await self.look()):
                break
            await asyncio.sleep(1)
        else:
            self.enter(Phase.READY)
        return f"{self._url()}{self.server.base_url}"
