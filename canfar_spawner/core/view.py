"""The one JSON of a session: wire contract, pages and panel show nothing else."""

from __future__ import annotations

import types
import typing
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.resources import GIB, Allocation, number
from canfar_spawner.core.status import REASONS, Evidence, Phase, Reason, Status, status_of
from canfar_spawner.core.storage import Area

VIEW_VERSION: Final = 1


class SessionView(Frozen):
    """A session as its owner sees it."""

    api: Literal[1] = VIEW_VERSION
    """Grows when a field changes its meaning; new fields alone do not change it."""
    id: str
    owner: str
    name: str
    kind: SessionKind
    container: str | None
    title: str
    version: str
    image: str
    allocation: Allocation
    cores_request: str
    cores_limit: str
    memory_request_gb: int
    memory_limit_gb: int
    gpus: int
    qos: str
    projects: tuple[str, ...]
    status: Status
    phase: Phase
    reason: Reason
    sentence: str
    advice: str
    detail: str
    url: str
    started: datetime
    ends: datetime
    exit_code: int | None


def session_view(plan: SessionPlan, evidence: Evidence, *, answers: bool, url: str) -> SessionView:
    """Show a session.

    Parameters
    ----------
    plan : SessionPlan
    evidence : Evidence
    answers : bool
        Whether its program answers at `url`; always true for batch jobs.
    url : str
        Where it is opened, empty for batch jobs.
    """
    resources = plan.resources
    interactive = KINDS[plan.kind].interactive
    return SessionView(
        id=plan.session,
        owner=plan.owner,
        name=plan.name,
        kind=plan.kind,
        container=plan.container,
        title=plan.title,
        version=plan.version,
        image=str(plan.image),
        allocation=resources.allocation,
        cores_request=number(resources.cores_request),
        cores_limit=number(resources.cores_limit),
        memory_request_gb=resources.memory_request // GIB,
        memory_limit_gb=resources.memory_limit // GIB,
        gpus=resources.gpus,
        # What it got, not what it was promised, as soon as that is known.
        qos=evidence.qos or resources.qos,
        projects=tuple(mount.name for mount in plan.storage.find(Area.PROJECT)),
        status=status_of(evidence, answers=answers or not interactive, interactive=interactive),
        phase=evidence.phase,
        reason=evidence.reason,
        sentence=REASONS[evidence.reason].sentence,
        advice=REASONS[evidence.reason].advice,
        detail=evidence.detail,
        url=url,
        started=plan.started,
        ends=plan.ends,
        exit_code=evidence.exit_code,
    )


def _typescript(annotation: object) -> str:
    if isinstance(annotation, types.UnionType):
        return " | ".join(_typescript(part) for part in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return f"{_typescript(typing.get_args(annotation)[0])}[]"
    if typing.get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " | ".join(f'"{member.value}"' for member in annotation)
    names = {str: "string", int: "number", bool: "boolean", types.NoneType: "null"}
    names[datetime] = "string"
    if isinstance(annotation, type) and annotation in names:
        return names[annotation]
    raise TypeError(f"no TypeScript for {annotation!r}")


def typescript() -> str:
    """Write the TypeScript type of `SessionView`; ``canfar-hub types`` prints it."""
    lines = [
        "// Generated from canfar_spawner/core/view.py by `canfar-hub types`; do not edit.",
        "",
        "export interface SessionView {",
    ]
    for name, field in SessionView.model_fields.items():
        lines.append(f"  {name}: {_typescript(field.annotation)};")
    return "\n".join([*lines, "}", ""])
