"""What a site says of its pods: the section ``pods`` of the catalogue file.

Values only: the back end for clusters turns them into manifests.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import Field, model_validator

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import SessionKind

Label = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
"""A name of Kubernetes: an RFC 1123 label."""
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$")]
SubPath = Annotated[
    str, Field(pattern=r"^$|^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
]
"""A path within a volume: relative, without empty parts, ``.`` and ``..``."""
MountPath = Annotated[str, Field(pattern=r"^(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$")]


class ProvisionerKind(StrEnum):
    """Who makes the directories of arc."""

    JOB = "job"
    """A short Job of ours, before a first launch and for new projects."""
    EXTERNAL = "external"
    """Something of the site; sessions wait for nothing."""


class ArcPolicy(Frozen):
    """Where arc is, and who makes its directories."""

    claim: ObjectName = "arc"
    """The claim in the namespace of the sessions."""
    homes: SubPath = "home"
    """The directory of homes within the claim."""
    projects: SubPath = "projects"
    provisioner: ProvisionerKind = ProvisionerKind.JOB
    namespace: Label = "canfar-storage"
    """Where the provisioner's Jobs run."""
    storage_claim: ObjectName = "arc"
    """The claim of the same storage in that namespace."""
    image: str = ""
    """What the Jobs run; by default the hub's own image under the catalogue's registry."""


class CvmfsPolicy(Frozen):
    """Where /cvmfs comes from."""

    claim: ObjectName | None = None
    csi_driver: ObjectName | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.claim is not None and self.csi_driver is not None:
            raise ValueError("give a claim or a csi_driver, not both")
        return self


class SiteVolume(Frozen):
    """A volume that every session of the site has."""

    name: Label
    path: MountPath
    claim: ObjectName
    sub_path: SubPath = ""
    read_only: bool = True

    @model_validator(mode="after")
    def _elsewhere(self) -> Self:
        taken = ("/arc", "/scratch", "/dev", "/etc", "/run", "/proc", "/sys", "/cvmfs")
        if any(PurePosixPath(self.path).is_relative_to(root) for root in taken):
            raise ValueError(f"{self.path} lies where sessions have their own files")
        return self


class Toleration(Frozen):
    """A taint that session pods put up with; the words are those of Kubernetes."""

    key: str | None = None
    operator: Annotated[str, Field(pattern="^(Exists|Equal)$")] = "Equal"
    value: str | None = None
    effect: Annotated[str, Field(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")] | None = None


class Placement(Frozen):
    """Where pods may run and with which priority."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    priority_class: ObjectName | None = None
    runtime_class: ObjectName | None = None


class PodsPolicy(Frozen):
    """Everything that shapes pods beside the plan of a session."""

    namespace: Label = "canfar-sessions"
    """Where sessions run; not the hub's own."""
    instance: Label = "canfar"
    """Which hub a pod belongs to, where several share a cluster."""
    storage: ArcPolicy = ArcPolicy()
    cvmfs: CvmfsPolicy = CvmfsPolicy()
    volumes: tuple[SiteVolume, ...] = ()
    gateway_image: str = ""
    """The gateway's; by default that of the hub's version under the catalogue's registry."""
    placement: Placement = Placement()
    kinds: dict[SessionKind, Placement] = Field(default_factory=dict)
    """Kinds that are placed differently: this in place of `placement`."""
    gpus: Placement | None = None
    """Sessions with GPUs are placed so, where it differs."""
    gpu_resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = "nvidia.com/gpu"
    queue: Label | None = None
    """The queue of Kueue for batch jobs."""
    pull_secrets: tuple[ObjectName, ...] = ()
    """Secrets in the sessions' namespace with the site's own registry credentials."""
    unschedulable_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """An interactive session that finds no room for so long is given up."""
    image_seconds: Annotated[int, Field(ge=1, le=3600)] = 45
    """An image that cannot be fetched for so long fails the start."""

    def placed(self, kind: SessionKind, *, gpus: int) -> Placement:
        """Say where a session's pod may run."""
        if gpus and self.gpus is not None:
            return self.gpus
        return self.kinds.get(kind, self.placement)
