"""The storage provisioner: short Jobs that make the directories of arc before sessions need them.

The kubelet would make a missing directory as root's, which its user cannot write to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.names import owner_slug
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.pods import ArcPolicy, ProvisionerKind
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.resources import GIB
from canfar_spawner.core.storage import Area
from canfar_spawner.kubernetes.arc import REFUSED
from canfar_spawner.kubernetes.client import (
    AlreadyExists,
    ApiError,
    Budget,
    KubeClient,
    NotFound,
    Unreachable,
)
from canfar_spawner.kubernetes.manifests import INSTANCE, OWNER, PREFIX, Manifest
from canfar_spawner.replacing import replace_file

WORK: Final = f"{PREFIX}/provision"
"""The label of a Job and its pod: a digest of what it makes."""
CONTAINER: Final = "arc"

_DEADLINE: Final = 90
"""Seconds after which Kubernetes ends a Job that has not."""
_WAITED_FOR: Final = 80.0
"""Seconds for which a Job is waited for: less, so that its pod is still there to say why not."""
_KEPT_FAILED: Final = 3600
_LOOK_EVERY: Final = 0.3
_ASKED_WITHIN: Final = 10.0
_ORDERED_WITHIN: Final = 60.0
_LOG_LINES: Final = 5
_OF_JOB: Final = "batch.kubernetes.io/job-name"
_FAILED = "The session's directories on the storage could not be made. Tell the administrators."
_SLOW = (
    "The session's directories on the storage were not made in time. Try again in some minutes,"
    " and tell the administrators if it stays so."
)


@dataclass(frozen=True)
class Directories:
    """What is to be made for a launch, or was."""

    homes: dict[str, tuple[int, int, int | None]] = field(default_factory=dict)
    """User id, group id and quota in GB of each user."""
    projects: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """Group id and quota of each project."""

    @classmethod
    def of(cls, plan: SessionPlan, gids: Mapping[str, int], policy: SitePolicy) -> Self:
        """Give what a session mounts.

        Parameters
        ----------
        plan : SessionPlan
        gids : mapping
            The group id of each of its projects.
        policy : SitePolicy
        """
        identity, storage = plan.identity, policy.storage
        return cls(
            homes={identity.name: (identity.uid, identity.group.gid, storage.home.quota_gb)},
            projects={
                mount.name: (gids[mount.name], storage.projects.quota_gb)
                for mount in plan.storage.find(Area.PROJECT)
            },
        )

    def without(self, made: Directories) -> Self:
        """Leave out what has been made just so."""
        return type(self)(
            homes={name: how for name, how in self.homes.items() if made.homes.get(name) != how},
            projects={
                name: how for name, how in self.projects.items() if made.projects.get(name) != how
            },
        )

    def __bool__(self) -> bool:
        return bool(self.homes or self.projects)

    def document(self, storage: ArcPolicy) -> str:
        """Write it down for the Job's program, equal for equal directories."""

        def size(quotas: set[int | None]) -> int | None:
            quota = next(iter(quotas), None)
            return None if quota is None else quota * GIB

        return json.dumps(
            {
                "homes": {
                    "path": storage.homes,
                    "quota": size({quota for _, _, quota in self.homes.values()}),
                    "make": [
                        {"name": name, "uid": uid, "gid": gid}
                        for name, (uid, gid, _) in sorted(self.homes.items())
                    ],
                },
                "projects": {
                    "path": storage.projects,
                    "quota": size({quota for _, quota in self.projects.values()}),
                    "make": [
                        {"name": name, "gid": gid}
                        for name, (gid, _) in sorted(self.projects.items())
                    ],
                },
            },
            separators=(",", ":"),
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hub_image(policy: SitePolicy) -> str:
    """Say which image the Jobs run: the site's choice, or the hub's own of this version."""
    registry = policy.catalogue.registry
    return policy.pods.storage.image or f"{registry}/canfar-hub/hub:{version('canfar-spawner')}"


def provision_job(directories: Directories, policy: SitePolicy, *, name: str) -> Manifest:
    """Give the Job that makes directories.

    Parameters
    ----------
    directories : Directories
    policy : SitePolicy
    name : str
        The Job's name.
    """
    pods = policy.pods
    storage, placement = pods.storage, pods.placement
    document = directories.document(storage)
    labels = {INSTANCE: pods.instance, WORK: _digest(document)}
    if directories.homes:
        labels[OWNER] = owner_slug(min(directories.homes))
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            # Without FSETID only a member of the group may keep the set-group-id bit.
            "supplementalGroups": sorted({gid for gid, _ in directories.projects.values()}),
            "supplementalGroupsPolicy": "Strict",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": hub_image(policy),
                "command": ["python3", "-I", "-m", "canfar_spawner.kubernetes.arc"],
                "args": [document],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]},
                },
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi"},
                    "limits": {"cpu": "1", "memory": "256Mi"},
                },
                "volumeMounts": [{"name": "arc", "mountPath": "/arc"}],
            }
        ],
        "volumes": [{"name": "arc", "persistentVolumeClaim": {"claimName": storage.storage_claim}}],
    }
    # The storage may be within reach of the sessions' nodes only.
    if placement.node_selector:
        spec["nodeSelector"] = dict(placement.node_selector)
    if placement.tolerations:
        spec["tolerations"] = [
            toleration.model_dump(exclude_none=True) for toleration in placement.tolerations
        ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": storage.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": _DEADLINE,
            "ttlSecondsAfterFinished": _KEPT_FAILED,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": CONTAINER,
                            "operator": "In",
                            "values": [REFUSED],
                        },
                    }
                ]
            },
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def job_end(job: Manifest) -> bool | None:
    """Say how a Job has ended: True well, False badly, None not yet."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition.get("status") == "True":
            if condition.get("type") in ("Complete", "SuccessCriteriaMet"):
                return True
            if condition.get("type") in ("Failed", "FailureTarget"):
                return False
    return None


def waiting_for(pod: Manifest) -> str:
    """Say what keeps a pod from running, in the words of Kubernetes; empty where nothing does."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("message") or waiting.get("reason"):
            return str(waiting.get("message") or waiting["reason"])
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""


class Memory:
    """What has been made, in a file of the hub; lost, it only means a run that changes nothing.

    Parameters
    ----------
    path : Path
    log : logging.Logger
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log
        self._place = ""
        self._made = Directories()
        self._read()

    def _read(self) -> None:
        try:
            kept = json.loads(self._path.read_text())
            made = Directories(
                homes={name: (how[0], how[1], how[2]) for name, how in kept["homes"].items()},
                projects={name: (how[0], how[1]) for name, how in kept["projects"].items()},
            )
            self._place, self._made = str(kept["place"]), made
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._log.warning("%s cannot be read and is begun anew: %r", self._path, error)

    def of(self, place: str) -> Directories:
        """Give what has been made in a place."""
        return self._made if place == self._place else Directories()

    def add(self, place: str, made: Directories) -> None:
        """Note that directories were made; what is known of any other place is let go."""
        known = self.of(place)
        self._place = place
        self._made = Directories(
            homes={**known.homes, **made.homes}, projects={**known.projects, **made.projects}
        )
        content = {"place": place, "homes": self._made.homes, "projects": self._made.projects}
        try:
            replace_file(self._path, json.dumps(content), lasting=False)
        except OSError as error:
            # After a restart of the hub the same is asked for once more.
            self._log.warning("%s could not be written: %s", self._path, error)


class ArcProvisioner:
    """Sees to it that the directories of a session are there.

    Parameters
    ----------
    client : KubeClient
    policy : callable
        Gives the site's policy.
    data : Path
        The hub's data directory, where it is remembered what has been made.
    log : logging.Logger
    patience : float, optional
        Seconds for which a Job is waited for.
    """

    def __init__(
        self,
        client: KubeClient,
        policy: Callable[[], SitePolicy],
        data: Path,
        log: logging.Logger,
        *,
        patience: float = _WAITED_FOR,
    ) -> None:
        self._client = client
        self._policy = policy
        self._log = log
        self._patience = patience
        self._memory = Memory(data / "arc.json", log)
        self._runs: dict[str, asyncio.Task[None]] = {}

    async def ensure(self, plan: SessionPlan, gids: Mapping[str, int]) -> None:
        """Make what a session mounts and has not been made yet.

        Parameters
        ----------
        plan : SessionPlan
        gids : mapping
            The group id of each of its projects.

        Raises
        ------
        Unavailable
            It could not be made, or not in time.
        """
        policy = self._policy()
        storage = policy.pods.storage
        if storage.provisioner is ProvisionerKind.EXTERNAL:
            return
        place = f"{storage.namespace}/{storage.storage_claim}:{storage.homes}:{storage.projects}"
        missing = Directories.of(plan, gids, policy).without(self._memory.of(place))
        if not missing:
            return
        key = f"{place}:{missing.document(storage)}"
        run = self._runs.get(key)
        if run is None:
            run = asyncio.create_task(self._run(missing, place, policy))
            self._runs[key] = run
            run.add_done_callback(lambda done: self._forget(key, done))
        # Whoever stops waiting does not stop it for the others.
        await asyncio.shield(run)

    def _forget(self, key: str, run: asyncio.Task[None]) -> None:
        del self._runs[key]
        if not run.cancelled():
            # Told to those who wait; where nobody does any more, to nobody.
            run.exception()

    async def close(self) -> None:
        """Stop waiting for Jobs; what they have begun they finish."""
        runs = list(self._runs.values())
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    async def sweep(self) -> None:
        """Remove the Jobs that ended well and that a hub before this one has left."""
        pods = self._policy().pods
        jobs = await self._client.list(
            "jobs",
            pods.storage.namespace,
            Budget(_ASKED_WITHIN),
            labels=f"{INSTANCE}={pods.instance},{WORK}",
        )
        for job in jobs:
            if job_end(job) and not _is_going(job):
                await self._remove(pods.storage.namespace, job["metadata"]["name"])

    async def _run(self, directories: Directories, place: str, policy: SitePolicy) -> None:
        namespace = policy.pods.storage.namespace
        deadline = asyncio.get_running_loop().time() + self._patience
        try:
            name, ended = await self._done(directories, policy, deadline)
        except ApiError as error:
            raise Unavailable(_FAILED, detail=f"the storage provisioner: {error}") from None
        if ended:
            self._memory.add(place, directories)
            await self._remove(namespace, name)
            return
        why = await self._why(namespace, name)
        self._log.error("The Job %s/%s made no directories: %s", namespace, name, why)
        raise Unavailable(_FAILED if ended is False else _SLOW, detail=why)

    async def _done(
        self, directories: Directories, policy: SitePolicy, deadline: float
    ) -> tuple[str, bool | None]:
        """Give the name of the Job that did the work, and how it ended; None where not in time."""
        while True:
            name = await self._begun(directories, policy)
            try:
                return name, await self._end(policy.pods.storage.namespace, name, deadline)
            except NotFound:
                # Hub and session manager wait for the same Job, and the other has seen its end and
                # removed it. How it ended is not known here; done once more, it changes nothing.
                self._log.info("The Job %s went away while it was waited for", name)

    async def _begun(self, directories: Directories, policy: SitePolicy) -> str:
        """Give the name of a Job that does the work: one of a hub before this one, or a new one."""
        pods = policy.pods
        namespace = pods.storage.namespace
        owner = owner_slug(min(directories.homes)) if directories.homes else "projects"
        job = provision_job(directories, policy, name=f"arc-{owner}-{secrets.token_hex(4)}")
        work = job["metadata"]["labels"][WORK]
        jobs = await self._client.list(
            "jobs",
            namespace,
            Budget(_ORDERED_WITHIN),
            labels=f"{INSTANCE}={pods.instance},{WORK}={work}",
        )
        for other in jobs:
            if job_end(other) is None and not _is_going(other):
                return str(other["metadata"]["name"])
        # Nobody else makes a Job of this name: an answer that was lost came from this very order.
        with suppress(AlreadyExists):
            await self._client.create("jobs", namespace, job, Budget(_ORDERED_WITHIN))
        return str(job["metadata"]["name"])

    async def _end(self, namespace: str, name: str, deadline: float) -> bool | None:
        """Wait for a Job's end; None where it does not come in time."""
        loop = asyncio.get_running_loop()
        while loop.time() < deadline:
            try:
                # The Job itself hears of it a second or two later.
                if any(_succeeded(pod) for pod in await self._pods(namespace, name)):
                    return True
                job = await self._client.get("jobs", namespace, name, Budget(_ASKED_WITHIN))
            except Unreachable as error:
                self._log.warning(
                    "The Job %s/%s could not be looked at: %s", namespace, name, error
                )
            else:
                ended = job_end(job)
                if ended is not None:
                    return ended
            await asyncio.sleep(_LOOK_EVERY)
        return None

    async def _remove(self, namespace: str, name: str) -> None:
        try:
            await self._client.delete("jobs", namespace, name, Budget(_ASKED_WITHIN))
        except NotFound:
            return
        except ApiError as error:
            # Kubernetes removes it after an hour.
            self._log.warning("The Job %s/%s could not be removed: %s", namespace, name, error)

    async def _pods(self, namespace: str, name: str) -> list[Manifest]:
        chosen = f"{_OF_JOB}={name}"
        return await self._client.list("pods", namespace, Budget(_ASKED_WITHIN), labels=chosen)

    async def _why(self, namespace: str, name: str) -> str:
        """Say why a Job failed: its last words, or what keeps its pod from running."""
        try:
            pods = await self._pods(namespace, name)
            for pod in sorted(pods, key=_made, reverse=True):
                waiting = waiting_for(pod)
                if waiting:
                    return waiting
                log = await self._client.logs(
                    namespace,
                    pod["metadata"]["name"],
                    Budget(_ASKED_WITHIN),
                    container=CONTAINER,
                    tail=_LOG_LINES,
                )
                if log.strip():
                    return log.strip().splitlines()[-1]
        except ApiError as error:
            return f"its log could not be read: {error}"
        return "it had no pod" if not pods else "its pod said nothing"


def _is_going(job: Manifest) -> bool:
    return bool(job["metadata"].get("deletionTimestamp"))


def _succeeded(pod: Manifest) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Succeeded")


def _made(pod: Manifest) -> str:
    return str(pod["metadata"].get("creationTimestamp"))
