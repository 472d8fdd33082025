"""A back end beside a real API server, and the administrator who puts in what a kubelet would."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.status import Evidence, Life
from canfar_spawner.kubernetes.backend import KubernetesBackend
from canfar_spawner.kubernetes.client import KubeClient
from canfar_spawner.kubernetes.provisioner import ArcProvisioner
from tests.core.world import plan, site
from tests.kubernetes.conftest import budget

LOG = logging.getLogger("test")
JOB = {"container": "astroml", "kind": "headless", "cmd": "python3"}
TOKEN = Secrets(env=(("JUPYTERHUB_API_TOKEN", SecretStr("a-token-of-this-test")),))


@dataclass
class World:
    """A back end, and the administrator beside it."""

    backend: KubernetesBackend
    client: KubeClient
    namespace: str
    policy: SitePolicy

    def plan(self, **options: object) -> SessionPlan:
        return plan(options, policy=self.policy)

    async def start(self, **options: object) -> SessionPlan:
        made = self.plan(**options)
        await self.backend.start(made, TOKEN)
        return made

    async def state(self, made: SessionPlan, phase: str, state: dict[str, Any]) -> None:
        """Have the API server say what a kubelet would."""
        ready = {"name": "notebook", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
        status = {"phase": phase, "containerStatuses": [{**ready, "state": state}]}
        call = await self.client._connected()
        answer = await call.call_api(
            f"/api/v1/namespaces/{self.namespace}/pods/{made.object_name}/status",
            "PATCH",
            header_params={"Content-Type": "application/merge-patch+json"},
            body={"status": status},
            auth_settings=["BearerToken"],
            _preload_content=False,
        )
        assert answer.status == 200, await answer.read()

    async def remove(self, made: SessionPlan) -> None:
        """Remove a pod as somebody else would."""
        name = made.object_name
        await self.client.delete("pods", self.namespace, name, budget(), grace=0)

    async def until(self, made: SessionPlan, life: Life) -> Evidence:
        """Wait until the back end says so of a launch."""
        async with asyncio.timeout(20):
            while (found := await self.backend.look(made)).life is not life:
                await self.backend.cache.changed(made.object_name, 0.5)
        return found


@contextlib.asynccontextmanager
async def opened(
    client: KubeClient, through: KubeClient, namespace: str, data: Path
) -> AsyncIterator[World]:
    """Have a back end that follows the pods of a namespace, by way of a proxy for faults."""
    pods = {"namespace": namespace, "instance": "test", "storage": {"provisioner": "external"}}
    policy = site(pods=pods)
    provisioner = ArcProvisioner(through, policy=lambda: policy, data=data, log=LOG)
    backend = KubernetesBackend(through, policy=lambda: policy, provisioner=provisioner, log=LOG)
    backend.watch()
    async with asyncio.timeout(20):
        await backend.cache.listed()
    try:
        yield World(backend, client, namespace, policy)
    finally:
        await backend.cache.stop()
