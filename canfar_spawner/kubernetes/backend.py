"""The back end for clusters: every launch is a pod and its Secrets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import SecretStr

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
from canfar_spawner.core.errors import (
    Conflict,
    NotAllowed,
    Refused,
    SessionError,
    StartFailed,
    Unavailable,
)
from canfar_spawner.core.gateway import TOKEN
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.logs import last_of
from canfar_spawner.core.names import LaunchId, owner_slug
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.resources import QosClass
from canfar_spawner.core.status import REASONS, Evidence, Life, Reason
from canfar_spawner.kubernetes import manifests, usage
from canfar_spawner.kubernetes.cache import ObjectCache
from canfar_spawner.kubernetes.client import (
    AlreadyExists,
    ApiError,
    Budget,
    Forbidden,
    KubeClient,
    NotFound,
    Unreachable,
)
from canfar_spawner.kubernetes.client import Conflict as ApiConflict
from canfar_spawner.kubernetes.evidence import CONTAINER, event_begin, event_time, evidence_of
from canfar_spawner.kubernetes.kept import KeptPlans
from canfar_spawner.kubernetes.manifests import Manifest
from canfar_spawner.kubernetes.metrics import PodMetrics
from canfar_spawner.kubernetes.observations import Observations, launch_of
from canfar_spawner.kubernetes.provisioner import ArcProvisioner
from canfar_spawner.kubernetes.told import PORT, needs_gateways_port, told

_CREATE_WITHIN: Final = 120.0
_ASK_WITHIN: Final = 10.0
_LOOK_WITHIN: Final = 4.0
"""Less than a starting hub waits for its sessions: no answer says nothing against them."""
_STOP_WITHIN: Final = 45.0
_GONE_LOOK: Final = 0.2
_TIDY_EVERY: Final = 600.0
_EXTEND_WITHIN: Final = 20.0
_LOG_WITHIN: Final = 30.0
_LOGS_AT_ONCE: Final = 4


class KubernetesBackend:
    """See `canfar_spawner.core.backend.Backend`.

    Parameters
    ----------
    client : KubeClient
    policy : callable
        Gives the site's policy.
    provisioner : ArcProvisioner
    log : logging.Logger
    """

    enforces_sizes = True
    runs_images = True

    def __init__(
        self,
        client: KubeClient,
        *,
        policy: Callable[[], SitePolicy],
        provisioner: ArcProvisioner,
        log: logging.Logger,
    ) -> None:
        self.client = client
        self._policy = policy
        self._provisioner = provisioner
        self._log = log
        # Moving sessions to another namespace takes a restart: those that run stay where they are.
        self.pods = policy().pods
        self.cache = ObjectCache(
            client, self.pods.namespace, manifests.selector(self.pods), log=log
        )
        self._seen = Observations(self.cache)
        where = (client, self.pods.namespace, manifests.selector(self.pods))
        self._metrics = PodMetrics(*where)
        self._kept = KeptPlans(*where, log=log)
        self._watching, self._begun = False, time.monotonic()
        self._whole_logs = asyncio.Semaphore(_LOGS_AT_ONCE)

    @property
    def namespace(self) -> str:
        """Where sessions run."""
        return self.pods.namespace

    def watch(self) -> None:
        """Begin to follow the pods; needs a running event loop."""
        if not self._watching:
            self._watching = True
            self.cache.start()

    async def tidy(self) -> None:
        """Remove, now and then, what the provisioner's Jobs have left; runs for ever."""
        while True:
            try:
                await self._provisioner.sweep()
            except (ApiError, SessionError) as error:
                self._log.warning("Jobs of the provisioner could not be looked at: %s", error)
            await asyncio.sleep(_TIDY_EVERY)

    # What can run here.

    def offer(self, container: Container) -> Offer:
        """Say that any container can run."""
        del container
        return Offer(available=True)

    def accepts(self, plan: SessionPlan) -> None:
        """Refuse an application that would need the port at which the gateway listens."""
        if needs_gateways_port(plan):
            raise NotAllowed(
                f"{plan.title} listens at port {PORT}, which is taken in every session. Tell the"
                " administrators; another port will do.",
                field="container",
                code="port_taken",
            )

    # Carrying out.

    async def prepare(self, plan: SessionPlan) -> None:
        """Have the directories made that a session mounts; raises Unavailable where that fails."""
        await self._provisioner.ensure(plan, self._policy().project_gids(plan.identity))

    async def start(
        self, plan: SessionPlan, secrets: Secrets, *, pod: Manifest | None = None
    ) -> None:
        """Make Secrets and pod of a launch, or adopt those made before.

        Parameters
        ----------
        plan : SessionPlan
        secrets : Secrets
        pod : dict, optional
            What a spawner's traits made of it; by default a bare one.
        """
        self.watch()
        if not KINDS[plan.kind].interactive:
            # Spawners tell of it as a phase of the start.
            await self.prepare(plan)
        policy = self._policy()
        shaped = pod or manifests.bare_pod(plan)
        program = manifests.program_of(shaped)
        tell = told(plan, secrets, program, volumes=self.pods.volumes)
        made = [manifests.session_secret(plan, tell, self.pods)]
        if manifests.is_too_large(made[0]):
            raise Refused(
                "The session's variables are too large: together at most 600 kB. Put large"
                " values into files of your home.",
                code="too_large",
            )
        if secrets.credentials is not None:
            made.append(manifests.registry_secret(plan, secrets.credentials, self.pods))
        private = secrets.credentials is not None
        finished = manifests.finish(shaped, plan, policy, told=tell, private_image=private)
        budget = Budget(_CREATE_WITHIN)
        try:
            for secret in made:
                await self._create("secrets", secret, plan, budget)
            created = await self._create("pods", finished, plan, budget)
        except SessionError:
            await self._forget_secrets(plan.launch)
            raise
        qos = (created.get("status") or {}).get("qosClass")
        if plan.resources.qos is QosClass.GUARANTEED and qos != QosClass.GUARANTEED:
            await self.stop(plan.launch)
            words = REASONS[Reason.NOT_GUARANTEED]
            raise StartFailed(
                f"{words.sentence} {words.advice}",
                code=Reason.NOT_GUARANTEED,
                detail=f"the pod's class is {qos}",
            )
        await self._own_secrets(created, made)

    async def _create(
        self, kind: str, manifest: Manifest, plan: SessionPlan, budget: Budget
    ) -> Manifest:
        """Make an object, or take up the one that this launch has made already."""
        name = manifest["metadata"]["name"]
        try:
            try:
                return await self.client.create(kind, self.namespace, manifest, budget)
            except AlreadyExists:
                found = await self.client.get(kind, self.namespace, name, budget)
        except Unreachable as error:
            raise Unavailable(
                "The cluster does not answer. Try again in a few minutes.", detail=str(error)
            ) from None
        except ApiError as error:
            raise _refusal(error) from None
        if launch_of(found) != plan.launch:
            raise Conflict(
                "An object of this session's name is in the cluster already. Launch a new one.",
                detail=f"{kind}/{name} belongs to another launch",
            )
        # An attempt of ours was carried out though its answer was lost.
        self._log.info("Adopted %s/%s of launch %s", kind, name, plan.launch)
        return found

    async def _own_secrets(self, pod: Manifest, made: list[Manifest]) -> None:
        """Let the Secrets go with their pod; where that fails the reconciler removes them."""
        patch = manifests.owner_patch(pod)
        budget = Budget(_ASK_WITHIN)
        for secret in made:
            name = secret["metadata"]["name"]
            try:
                await self.client.patch("secrets", self.namespace, name, patch, budget)
            except ApiError as error:
                self._log.warning("The Secret %s has no owner yet: %s", name, error)

    async def _forget_secrets(self, launch: LaunchId) -> None:
        budget = Budget(_ASK_WITHIN)
        chosen = manifests.selector(self.pods, launch)
        try:
            for secret in await self.client.list("secrets", self.namespace, budget, labels=chosen):
                await self._delete("secrets", secret["metadata"]["name"], budget)
        except ApiError as error:
            self._log.warning("Secrets of launch %s stay for now: %s", launch, error)

    async def _delete(self, kind: str, name: str, budget: Budget, **options: Any) -> None:
        try:
            await self.client.delete(kind, self.namespace, name, budget, **options)
        except NotFound:
            return

    async def stop(self, launch: LaunchId) -> None:
        """Delete a launch's pod and Secrets; returns when the pod is gone.

        A pod that cannot go, as its machine is lost, is given up after a while: the reconciler
        goes on with it.

        Raises
        ------
        Unavailable
            The cluster does not answer.
        """
        self.watch()
        budget = Budget(_STOP_WITHIN)
        try:
            for pod in await self._pods_of(launch, Budget(_ASK_WITHIN)):
                name = pod["metadata"]["name"]
                self._seen.stopping(launch, pod)
                await self._delete("pods", name, budget)
                await self._gone(name, launch, budget)
        except ApiError as error:
            raise Unavailable(
                "The cluster does not answer now. The session is stopped as soon as it does.",
                detail=str(error),
            ) from None
        await self._forget_secrets(launch)

    async def _pods_of(self, launch: LaunchId, budget: Budget) -> list[Manifest]:
        chosen = manifests.selector(self.pods, launch)
        return await self.client.list("pods", self.namespace, budget, labels=chosen)

    async def _gone(self, name: str, launch: LaunchId, budget: Budget) -> None:
        while budget.left() > 0:
            pod = self.cache.get(name)
            if pod is None or not self.cache.fresh:
                try:
                    found = await self.client.get("pods", self.namespace, name, budget)
                except NotFound:
                    return
                if launch_of(found) != launch:
                    return
            await asyncio.sleep(_GONE_LOOK)
        self._log.warning("The pod %s does not go away; it is left to the reconciler", name)

    async def extend(self, plan: SessionPlan, until: datetime) -> None:
        """Write a new end on the launch's Secret; one that is gone is left alone.

        Raises
        ------
        Unavailable
            The cluster does not answer.
        """
        budget, name = Budget(_EXTEND_WITHIN), plan.object_name
        try:
            secret = await self.client.get("secrets", self.namespace, name, budget)
            if launch_of(secret) == plan.launch:
                patch = manifests.end_patch(secret, until)
                await self.client.patch("secrets", self.namespace, name, patch, budget)
        except (NotFound, ApiConflict):
            self._log.info("%s is gone and keeps no new end", plan.launch)
        except ApiError as error:
            raise Unavailable(
                "The cluster does not answer now. Extend the session again in a minute.",
                detail=str(error),
            ) from None

    # What is known.

    def _cached(self, plan: SessionPlan) -> Manifest | None:
        pod = self.cache.get(plan.object_name)
        return None if pod is None or launch_of(pod) != plan.launch else pod

    async def _pod_of(self, launch: LaunchId, budget: Budget) -> Manifest | None:
        """Give the pod of a launch, from the cache where it is there."""
        self.watch()
        for pod in self.cache.all():
            if launch_of(pod) == launch:
                return pod
        return next(iter(await self._pods_of(launch, budget)), None)

    async def look(self, plan: SessionPlan) -> Evidence:
        """Look at one launch; a pod that the cache lacks is asked for by name."""
        self.watch()
        pod = self._cached(plan)
        if pod is not None:
            return self._seen.told(pod)
        now = datetime.now(UTC)
        try:
            found = await self.client.get(
                "pods", self.namespace, plan.object_name, budget=Budget(_LOOK_WITHIN)
            )
        except NotFound:
            return self._seen.absent(plan.launch, now)
        except ApiError as error:
            self._log.warning("The pod %s could not be asked for: %s", plan.object_name, error)
            return Evidence(life=Life.UNKNOWN, seen=self.cache.seen)
        if launch_of(found) != plan.launch:
            return self._seen.absent(plan.launch, now)
        return evidence_of(found, (), seen=now)

    def answered_ago(self) -> float:
        """Say how old the cache's knowledge is; before the first list, how old the cache is."""
        return min(self.cache.age, time.monotonic() - self._begun)

    async def observe(self) -> Mapping[LaunchId, Evidence]:
        """Give what the cache knows of every launch, and how those ended that it knew of."""
        self.watch()
        return self._seen.all()

    async def plans(self) -> Mapping[LaunchId, Recovered]:
        """Read plans and promised ends from the Secrets of launches.

        Raises
        ------
        Unavailable
            The cluster does not answer.
        """
        try:
            return await self._kept.all()
        except ApiError as error:
            raise Unavailable("The cluster does not answer now.", detail=str(error)) from None

    async def unclaimed(self, owner: str, known: frozenset[LaunchId]) -> tuple[Unclaimed, ...]:
        """Find a user's running sessions whose launch is not known, where a Secret has the rest."""
        self.watch()
        found: list[Unclaimed] = []
        for pod in self.cache.all():
            metadata = pod["metadata"]
            if (
                metadata["labels"].get(manifests.OWNER) != owner_slug(owner)
                or metadata["labels"].get(manifests.LAUNCH) in known
                or self._seen.told(pod).life is not Life.RUNNING
            ):
                continue
            try:
                secret = await self.client.get(
                    "secrets", self.namespace, metadata["name"], Budget(_ASK_WITHIN)
                )
            except ApiError as error:
                self._log.warning("The Secret of %s: %s", metadata["name"], error)
                continue
            plan = manifests.secret_plan(secret)
            token = manifests.secret_variable(secret, TOKEN)
            # A batch job is the session manager's to take up again.
            if plan is None or plan.owner != owner or not KINDS[plan.kind].interactive or not token:
                continue
            plan = plan.model_copy(update={"ends": manifests.secret_end(secret, plan)})
            found.append(Unclaimed(plan=plan, token=SecretStr(token)))
        return tuple(found)

    def address(self, plan: SessionPlan) -> str | None:
        """Give the address of a launch's pod, once it has one."""
        pod = self._cached(plan)
        if pod is None:
            return None
        running = any(
            "running" in (each.get("state") or {})
            for each in (pod.get("status") or {}).get("containerStatuses") or ()
            if each.get("name") == CONTAINER
        )
        found: str | None = (pod.get("status") or {}).get("podIP")
        return found if running else None

    async def logs(self, launch: LaunchId, *, lines: int | None = None) -> str:
        """Give the last lines that the session's program wrote, or all: at most the last 8 MB.

        Raises
        ------
        Unavailable
            There may be something to read, but not now.
        """
        budget = Budget(_ASK_WITHIN)
        try:
            pod = await self._pod_of(launch, budget)
            if pod is None:
                return ""
            where = (self.namespace, pod["metadata"]["name"])
            if lines is not None:
                return await self.client.logs(*where, budget, container=CONTAINER, tail=lines)
            async with self._whole_logs:
                budget = Budget(_LOG_WITHIN)
                text = await self.client.logs(*where, budget, container=CONTAINER, tail=None)
            return last_of(text.encode())
        except Unreachable as error:
            raise Unavailable("The log cannot be read now.", detail=str(error)) from None
        except ApiError as error:
            # Its program has not begun to run, or the pod has just gone.
            self._log.info("No log of launch %s: %s", launch, error)
            return ""

    async def events(self, launch: LaunchId) -> tuple[BackendEvent, ...]:
        """Give what Kubernetes reported of the launch's pod."""
        self.watch()
        return tuple(
            BackendEvent(
                at=event_time(event),
                warning=event.get("type") == "Warning",
                reason=str(event.get("reason") or ""),
                message=" ".join(str(event.get("message") or "").split()),
                first=event_begin(event),
            )
            for pod in self.cache.all()
            if launch_of(pod) == launch
            for event in self.cache.events_of(pod["metadata"]["uid"])
        )

    async def usage(self, launch: LaunchId) -> Use | None:
        """Say what the cluster's metrics measure of it, None where there are none."""
        try:
            pod = await self._pod_of(launch, Budget(_ASK_WITHIN))
        except ApiError:
            return None
        return None if pod is None else await self._metrics.of(pod["metadata"]["name"])

    async def capacity(self) -> Capacity | None:
        """Say what the nodes have, None where the hub may not see them, or pods are not known."""
        self.watch()
        try:
            nodes = await self.client.list("nodes", "", Budget(_ASK_WITHIN))
        except ApiError:
            return None
        if not self.cache.fresh:
            return None
        return usage.capacity_of(nodes, self.cache.all(), policy=self.pods)


def _refusal(error: ApiError) -> SessionError:
    """Say what the cluster's refusal of an object means to a person."""
    text = str(error)
    if isinstance(error, Forbidden) and "exceeded quota" in text:
        words = REASONS[Reason.QUOTA]
        return Refused(f"{words.sentence} {words.advice}", code=Reason.QUOTA, detail=text)
    return Refused(
        "The cluster refused the session. Tell the administrators; the hub's log has the reason.",
        detail=text,
    )
