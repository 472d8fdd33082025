"""Resource modes and sizes: what is asked, what is promised, what the kernel enforces."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from canfar_spawner.core.errors import Invalid, listing, shown
from canfar_spawner.core.frozen import Frozen

GIB = 2**30

Cores = Annotated[Decimal, Field(gt=0, le=1024, max_digits=8, decimal_places=3)]
"""A number of processor cores, exact to a thousandth (Kubernetes' millicore)."""

MemoryGB = Annotated[int, Field(gt=0, le=16384)]
"""Memory in whole GB of 2³⁰ bytes."""


class ResourceMode(StrEnum):
    """Whether a session shares spare resources or owns exactly what it asked for."""

    FLEXIBLE = "flexible"
    FIXED = "fixed"


class Allocation(StrEnum):
    """What a request came to; *partly fixed* only by giving one of cores and memory alone."""

    FLEXIBLE = "flexible"
    FIXED = "fixed"
    PARTLY_FIXED = "partly fixed"


class QosClass(StrEnum):
    """Kubernetes' quality of service class of the pod."""

    BURSTABLE = "Burstable"
    GUARANTEED = "Guaranteed"


class FlexibleSizes(Frozen):
    """The bounds of a flexible session: surely this much, at most that much."""

    cores_request: Cores = Decimal(1)
    cores_limit: Cores = Decimal(8)
    memory_request: MemoryGB = 4
    memory_limit: MemoryGB = 32

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.cores_request > self.cores_limit:
            raise ValueError("cores_request must not exceed cores_limit")
        if self.memory_request > self.memory_limit:
            raise ValueError("memory_request must not exceed memory_limit")
        return self


class ResourceChoices(Frozen):
    """The sizes a site offers for one kind of session."""

    cores: Annotated[tuple[Cores, ...], Field(min_length=1)] = tuple(map(Decimal, (1, 2, 4, 8)))
    memory: Annotated[tuple[MemoryGB, ...], Field(min_length=1)] = (1, 2, 4, 8, 16, 32)
    gpus: Annotated[tuple[Annotated[int, Field(ge=0, le=64)], ...], Field(min_length=1)] = (0,)
    flexible: FlexibleSizes = FlexibleSizes()


class ResourcePlan(Frozen):
    """Requests and limits of one session, and the class they lead to."""

    allocation: Allocation
    cores_request: Decimal
    cores_limit: Decimal
    memory_request: int
    """In bytes."""
    memory_limit: int
    """In bytes."""
    gpus: int
    qos: QosClass

    @property
    def threads(self) -> int:
        """How many threads numerical libraries should use: the cores surely there."""
        return max(1, int(self.cores_request))


def number(value: Decimal) -> str:
    """Write a size without exponent or trailing zeros: ``2``, ``0.5``."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _member(field: str, title: str, value: Decimal, options: tuple[Decimal, ...]) -> Decimal:
    for option in options:
        if value == option:
            return option
    raise Invalid(
        f"{title} must be {listing(number(option) for option in options)};"
        f" you asked for {shown(number(value))}.",
        field=field,
        allowed=(number(option) for option in options),
    )


def plan_resources(
    *,
    mode: ResourceMode | None,
    cores: Decimal | None,
    memory: Decimal | None,
    gpus: Decimal | None,
    choices: ResourceChoices,
    modes: tuple[ResourceMode, ...],
    kind_title: str,
) -> ResourcePlan:
    """Turn what was asked into requests and limits.

    Without a mode, both sizes make a fixed session, none a flexible one, and one alone fixes
    that one and leaves the other flexible.

    Parameters
    ----------
    mode : ResourceMode or None
    cores : Decimal or None
        Number of cores.
    memory : Decimal or None
        GB of 2³⁰ bytes.
    gpus : Decimal or None
    choices : ResourceChoices
        The sizes the site offers for this kind.
    modes : tuple of ResourceMode
        The modes this kind of session may have.
    kind_title : str
        For sentences.

    Raises
    ------
    Invalid
        A size is not offered, or the mode and the sizes contradict each other.
    """
    if mode is not None and mode not in modes:
        raise Invalid(
            f"{kind_title} sessions are always {listing(modes)}; leave the mode out.",
            field="mode",
            allowed=modes,
        )
    sized = {"cores": cores, "memory": memory}
    if mode is ResourceMode.FLEXIBLE:
        for field, value in sized.items():
            if value is not None:
                raise Invalid(
                    f"A flexible session takes no {field}: choose fixed to set it, or leave it out.",
                    field=field,
                )
    if mode is ResourceMode.FIXED:
        for field, value in sized.items():
            if value is None:
                sizes = choices.cores if field == "cores" else map(Decimal, choices.memory)
                offered = tuple(map(number, sizes))
                raise Invalid(
                    f"A fixed session needs {field}: {listing(offered)}.",
                    field=field,
                    allowed=offered,
                )
    if ResourceMode.FIXED not in modes:
        for field, value in sized.items():
            if value is not None:
                raise Invalid(
                    f"{kind_title} sessions are always {listing(modes)}; leave {field} out.",
                    field=field,
                )
    flexible = choices.flexible
    cores_request, cores_limit = flexible.cores_request, flexible.cores_limit
    memory_request, memory_limit = flexible.memory_request, flexible.memory_limit
    if cores is not None:
        cores_request = cores_limit = _member("cores", "Cores", cores, choices.cores)
    if memory is not None:
        offered_memory = tuple(map(Decimal, choices.memory))
        memory_request = memory_limit = int(_member("memory", "Memory", memory, offered_memory))
    offered_gpus = tuple(map(Decimal, choices.gpus))
    asked_gpus = offered_gpus[0] if gpus is None else gpus
    fixed = cores is not None and memory is not None
    partly = (cores is None) != (memory is None)
    return ResourcePlan(
        allocation=(
            Allocation.FIXED
            if fixed
            else Allocation.PARTLY_FIXED
            if partly
            else Allocation.FLEXIBLE
        ),
        cores_request=cores_request,
        cores_limit=cores_limit,
        memory_request=memory_request * GIB,
        memory_limit=memory_limit * GIB,
        gpus=int(_member("gpus", "GPUs", asked_gpus, offered_gpus)),
        qos=QosClass.GUARANTEED if fixed else QosClass.BURSTABLE,
    )
