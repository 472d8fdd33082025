"""The one seam between deciding and doing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pydantic import SecretStr

from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.request import RegistryCredentials
from canfar_spawner.core.status import Evidence


class Secrets(Frozen):
    """What a session needs and no plan, log or database may hold."""

    env: tuple[tuple[str, SecretStr], ...] = ()
    """The owner's variables and the hub's own, tokens included."""
    credentials: RegistryCredentials | None = None
    application: SecretStr | None = None
    """What the gateway and the application behind it share, and nobody else knows."""


class BackendEvent(Frozen):
    """One thing that a back end reports of a launch, such as a Kubernetes event."""

    at: datetime | None
    """When it was last seen."""
    warning: bool
    reason: str
    message: str
    first: datetime | None = None
    """When it was seen for the first time, if that was earlier."""


class Use(Frozen):
    """What a launch uses now."""

    cores: Decimal | None
    """Cores busy, averaged over the last seconds; None where it is not known."""
    memory: int | None
    """Bytes in use."""
    at: datetime


class Free(Frozen):
    """Machines that have equally much left, which they have promised to nobody."""

    nodes: int = 1
    cores: Decimal
    memory: int
    """Bytes."""
    gpus: int = 0


class Capacity(Frozen):
    """What there is, and what is taken."""

    cores: Decimal
    cores_taken: Decimal
    memory: int
    """Bytes."""
    memory_taken: int
    gpus: int = 0
    gpus_taken: int = 0
    free: tuple[Free, ...] = ()
    """What is left on each machine, as far as the back end knows who has what."""


class Preparation(Frozen):
    """How far a container is from being usable, where something has to be built first."""

    text: str
    step: int = 0
    steps: int = 0
    seconds_left: int | None = None
    size_mb: int = 0
    error: str = ""


class Unclaimed(Frozen):
    """A launch that runs and that no hub has a record of."""

    plan: SessionPlan
    token: SecretStr
    """With which it speaks to the hub."""


class Recovered(Frozen):
    """A launch as the back end itself remembers it, for a manager that has lost its records."""

    plan: SessionPlan
    ends: datetime
    """As last extended."""


class Offer(Frozen):
    """Whether a back end can run a container now, and if not, why and what would help."""

    available: bool
    reason: str = ""
    """One sentence."""
    command: str = ""
    """What an operator runs to make it available."""
    preparation: Preparation | None = None
    notice: str = ""
    """What whoever starts it should know, in a sentence."""
    only_version: str = ""
    """The one version that can be run, where not all can."""
    only_kinds: tuple[SessionKind, ...] = ()
    """What it may run as, where that is not all that it could."""

    def narrowed(self, container: Container) -> Container:
        """Give the container with the versions and the kinds that can be run."""
        kept = tuple(each for each in container.versions if self.only_version in ("", each.name))
        kinds = self.only_kinds or container.kinds
        return container.model_copy(update={"versions": kept, "kinds": kinds})


class Backend(Protocol):
    """Carries plans out; spawners and the session manager use nothing else.

    No method raises for a launch that is not there, and none reports an end that it has no
    positive proof of.
    """

    enforces_sizes: bool
    """Whether cores and memory are held to, or merely told to the session's programs."""

    runs_images: bool
    """Whether images given by reference can be run."""

    def offer(self, container: Container) -> Offer:
        """Say whether a container can be run now; cheap enough to ask for each on a page."""
        ...

    def accepts(self, plan: SessionPlan) -> None:
        """Refuse a plan that could never run here.

        Raises
        ------
        NotAllowed
            With code ``needs_cluster`` where a cluster could run it.
        """
        ...

    async def start(self, plan: SessionPlan, secrets: Secrets) -> None:
        """Start a launch, or adopt it if it has been started already.

        Raises
        ------
        Refused, StartFailed, Unavailable
        """
        ...

    async def observe(self) -> Mapping[LaunchId, Evidence]:
        """Say what is known of every launch that left a trace."""
        ...

    def answered_ago(self) -> float:
        """Say for how many seconds nothing new could be learned of any launch."""
        ...

    async def look(self, plan: SessionPlan) -> Evidence:
        """Say what is known of one launch, asking for proof where traces of it are missing."""
        ...

    async def stop(self, launch: LaunchId) -> None:
        """End a launch and everything it started; returns when it is over."""
        ...

    async def unclaimed(self, owner: str, known: frozenset[LaunchId]) -> tuple[Unclaimed, ...]:
        """Find what runs for a user without being among the launches that are known."""
        ...

    async def extend(self, plan: SessionPlan, until: datetime) -> None:
        """Keep a new end with the launch itself; one that is gone is left alone.

        Raises
        ------
        Unavailable
        """
        ...

    async def plans(self) -> Mapping[LaunchId, Recovered]:
        """Give the plan and the promised end of everything that left a trace."""
        ...

    async def logs(self, launch: LaunchId, *, lines: int | None = None) -> str:
        """Give the last lines of its output, or all of it: at most the last 8 MB."""
        ...

    async def events(self, launch: LaunchId) -> tuple[BackendEvent, ...]:
        """Give what was reported of it, oldest first."""
        ...

    async def usage(self, launch: LaunchId) -> Use | None:
        """Say what it uses now, None where that is not known."""
        ...

    async def capacity(self) -> Capacity | None:
        """Say what there is in all, None where that is not known."""
        ...
