"""The spawner for clusters; ``c.JupyterHub.spawner_class = "canfar"``."""

from __future__ import annotations

import asyncio
import ipaddress
from datetime import UTC, datetime
from typing import Any

from kubespawner import KubeSpawner
from traitlets import default, validate
from typing_extensions import override

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.gateway import has_gateway, start_url
from canfar_spawner.core.patience import given_up
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Phase, Reason
from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.kubernetes.backend import KubernetesBackend
from canfar_spawner.kubernetes.told import session_port

_LOCAL_ADDRESSES = frozenset({"", "0.0.0.0", "127.0.0.1", "::"})  # noqa: S104 - compared with


class CanfarSpawner(SessionSpawnerMixin, KubeSpawner):  # type: ignore[misc] # no types shipped
    """Runs each session as a pod.

    With a catalogue, what a session is comes from its plan, and KubeSpawner's traits add what a
    site wants of its pods beyond that. Without one it is KubeSpawner.
    """

    expected_phases = (
        Phase.ASKED,
        Phase.PREPARING,
        Phase.PLACING,
        Phase.PULLING,
        Phase.STARTING,
        Phase.READY,
    )

    @default("start_timeout")
    def _start_timeout_default(self) -> int:
        return 900

    @default("slow_start")
    def _slow_start_default(self) -> float:
        return 880.0

    @default("http_timeout")
    def _http_timeout_default(self) -> int:
        return 60

    @default("poll_interval")
    def _poll_interval_default(self) -> int:
        # From the cache: nothing is asked of the cluster.
        return 3

    @default("cmd")
    def _cmd_default(self) -> list[str] | None:
        return ["jupyterhub-singleuser"] if self.managed else None

    @default("profile_list")
    def _profile_list_default(self) -> list[dict[str, Any]]:
        return self._profiles() if self.managed else []

    @validate("profile_list")
    def _profile_list_is_generated(self, proposal: Any) -> Any:
        if not self.managed:
            return proposal["value"]
        profiles = self._profiles()
        if proposal["value"] != profiles:
            self.log.warning("profile_list is made from the catalogue; what is set is not used")
        return profiles

    def _profiles(self) -> list[dict[str, Any]]:
        """Give the catalogue in KubeSpawner's words, for whoever reads them."""
        catalogue = self.platform.policy.catalogue
        return [
            {
                "slug": container.name,
                "display_name": container.title,
                "description": container.description,
                "default": container.recommended,
                "kubespawner_override": {
                    "image": str(catalogue.image(container, container.default_version))
                },
            }
            for container in catalogue.containers
        ]

    @property
    def _backend(self) -> KubernetesBackend:
        backend = self.platform.backend
        if not isinstance(backend, KubernetesBackend):
            raise TypeError("CanfarSpawner needs the Kubernetes back end; see hub_config/")
        return backend

    # From a plan to traits, and from traits to the pod of the plan.

    @override
    def apply_plan(self, plan: SessionPlan) -> None:
        """Set the traits that follow from the plan, then those of the catalogue entry."""
        sizes = plan.resources
        self.namespace = self.platform.policy.pods.namespace
        self.pod_name = plan.object_name
        self.image = str(plan.image)
        port = session_port(plan)
        if port is not None:
            self.port: int = port
        if has_gateway(plan):
            # The image's own program, or that of its kind: what the site's other sessions run is
            # no matter of theirs.
            self.cmd: list[str] | None = None
            self.args: list[str] = []
        self.default_url = start_url(plan)
        self.cpu_guarantee, self.cpu_limit = float(sizes.cores_request), float(sizes.cores_limit)
        self.mem_guarantee, self.mem_limit = sizes.memory_request, sizes.memory_limit
        container = self._container(plan)
        if container is not None and container.kubespawner_override:
            self._apply_overrides(container.kubespawner_override)

    def _container(self, plan: SessionPlan) -> Container | None:
        for container in self.platform.policy.catalogue.containers:
            if container.name == plan.container:
                return container
        return None

    async def _pod(self) -> dict[str, Any]:
        """Give the pod as KubeSpawner's traits shape it, as a plain object."""
        made = await self.get_pod_manifest()
        hook = self.modify_pod_hook
        if hook is not None:
            made = hook(self, made)
            if asyncio.iscoroutine(made):
                made = await made
        found: dict[str, Any] = self.api.api_client.sanitize_for_serialization(made)
        return found

    @override
    async def load_user_options(self) -> None:
        """Do nothing where the plan has set the traits already."""
        if not self.managed:
            await super().load_user_options()

    # Start.

    @override
    async def launch(self, plan: SessionPlan, secrets: Secrets) -> None:
        """Have the storage prepared and the pod made."""
        self.enter(Phase.PREPARING)
        await self._backend.prepare(plan)
        self.enter(Phase.PLACING)
        await self._backend.start(plan, secrets, pod=await self._pod())

    @override
    async def address(self, plan: SessionPlan) -> str | None:
        """Give the pod's address, or the one the hub remembers while the cluster is away."""
        found = self._backend.address(plan)
        if found is None and self.server and self.server.ip not in _LOCAL_ADDRESSES:
            found = str(self.server.ip)
        if found is None:
            return None
        host = f"[{found}]" if ipaddress.ip_address(found).version == 6 else found
        return f"http://{host}:{session_port(plan) or self.port}"

    @override
    def hopeless(self, evidence: Evidence) -> Reason | None:
        """Give up what no waiting mends: an image that is not there, a size without room."""
        pods = self.platform.policy.pods
        return given_up(evidence, interactive=True, pods=pods, now=datetime.now(UTC))
