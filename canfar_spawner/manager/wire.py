"""The encodings of the wire contract: what the public client reads, and our own keys beside it.

Everything here is pure. Where the client takes a text for a number, a text is written; what is
not known is left out, since the client tells nothing from null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from xml.sax.saxutils import escape

from canfar_spawner.core.backend import BackendEvent, Capacity, Use
from canfar_spawner.core.catalogue import Catalogue, Container
from canfar_spawner.core.errors import Invalid, listing, shown
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.replicas import replica
from canfar_spawner.core.resources import GIB, Allocation, number
from canfar_spawner.core.status import (
    REASONS,
    Evidence,
    Life,
    Phase,
    Status,
    explained,
    is_failure,
    is_over,
)
from canfar_spawner.core.view import SessionView, session_view
from canfar_spawner.manager.records import SessionRecord

GB: Final = 10**9
"""Answers about sessions count in these; requests and `context` in GB of 2³⁰."""

DESKTOP_APP: Final = "desktop-app"
"""A kind of the contract of which there are none here."""
TYPES: Final = (*(kind.value for kind in SessionKind), DESKTOP_APP)
_SAME_STATUS: Final = {"succeeded": "completed", "error": "failed"}
"""Words that the client uses for others; `canfar prune` says Succeeded for Completed."""
STATUSES: Final = (*(status.value for status in Status), "Succeeded", "Error")

_NONE: Final = "<none>"
_GAP: Final = "  "
_SPACE: Final = re.compile(r"\s+")
_LONGEST_MESSAGE: Final = 1000
_COLUMNS: Final = ("TYPE", "REASON", "MESSAGE", "FIRST-TIME", "LAST-TIME")


def moment(at: datetime) -> str:
    """Write a time, always with its zone: the client cannot take one without."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


# One session.


def evidence_of(record: SessionRecord, evidence: Evidence) -> Evidence:
    """Give what is true of a session: what is written down counts before what was last seen.

    Parameters
    ----------
    record : SessionRecord
    evidence : Evidence
        The last look at it.
    """
    if record.ended is not None:
        return Evidence(
            life=Life.ENDED,
            phase=Phase.READY if record.ready else evidence.phase,
            reason=record.reason,
            detail=record.detail,
            exit_code=record.exit_code,
            node=record.node,
            qos=record.qos,
            at=record.ended,
        )
    if record.ending is not None and is_over(evidence):
        # It is over and not written down yet; why it was told to end will be the reason then too.
        return evidence.model_copy(update={"reason": record.ending})
    if record.ending is not None and evidence.life in (Life.STARTING, Life.RUNNING, Life.ENDING):
        return evidence.model_copy(
            update={"life": Life.ENDING, "phase": Phase.ENDING, "reason": record.ending}
        )
    return evidence


def _view(record: SessionRecord, evidence: Evidence) -> SessionView:
    plan = record.plan.model_copy(update={"name": record.name, "ends": record.ends})
    return session_view(plan, evidence, answers=record.ready is not None, url=record.url)


def _word(record: SessionRecord, state: Status) -> Status:
    """Give a word of the contract, which has none for what is not known."""
    if state is not Status.UNKNOWN:
        return state
    if record.ending is not None:
        return Status.TERMINATING
    return Status.RUNNING if record.ready is not None else Status.PENDING


def session_json(
    record: SessionRecord,
    evidence: Evidence,
    *,
    use: Use | None = None,
    shares: int = 0,
    guests: tuple[str, ...] = (),
    warning: str = "",
) -> dict[str, Any]:
    """Write a session.

    Parameters
    ----------
    record : SessionRecord
    evidence : Evidence
        The last look at it.
    use : Use, optional
        What it uses now, where that is known.
    shares : int
        In how many ways others may enter it.
    guests : tuple of str
        Who may enter it.
    warning : str
        That its end is near, in a sentence.
    """
    evidence = evidence_of(record, evidence)
    view = _view(record, evidence)
    resources, identity = record.plan.resources, record.plan.identity
    written: dict[str, Any] = {
        **view.model_dump(mode="json"),
        "started": moment(view.started),
        "ends": moment(view.ends),
        "state": view.status.value,
        "mode": view.allocation.value,
        "asked": moment(record.asked),
        "ended": moment(record.ended) if record.ended else None,
        "node": record.node or evidence.node or None,
        "shares": shares,
        "guests": list(guests) or None,
        "warning": warning or None,
    }
    written |= {
        "id": record.id,
        "userid": record.owner,
        "runAsUID": str(identity.uid),
        "runAsGID": str(identity.group.gid),
        "supplementalGroups": list(identity.gids),
        "image": str(record.plan.image),
        "type": record.kind.value,
        "status": _word(record, view.status).value,
        "name": record.name,
        "startTime": moment(record.ready) if record.ready else None,
        "expiryTime": moment(record.ends),
        "connectURL": record.url,
        "requestedGPUCores": str(resources.gpus),
        "isFixedResources": resources.allocation is Allocation.FIXED,
    }
    if resources.allocation is Allocation.FIXED:
        written["requestedRAM"] = f"{resources.memory_limit / GB:.2f}"
        written["requestedCPUCores"] = number(resources.cores_limit)
    group = None if record.interactive else replica(record.plan.name, record.plan.env_names)
    if group is not None:
        written["replicaOf"], written["replica"] = group
    if use is not None and record.live:
        written["ramInUse"] = None if use.memory is None else f"{use.memory / GB:.2f}"
        written["cpuCoresInUse"] = None if use.cores is None else f"{use.cores:.3f}"
    return {key: value for key, value in written.items() if value is not None}


# Many.


def check_filter(field: str, value: str, words: Iterable[str]) -> str:
    """Accept a filter in capitals or not; gives it in small letters, empty for none.

    Raises
    ------
    Invalid
        There is no such word.
    """
    known = {word.lower(): word for word in words}
    if value.lower() not in {"", *known}:
        raise Invalid(
            f"{field} must be {listing(known.values())}; you gave {shown(value)}.",
            field=field,
            allowed=known.values(),
        )
    return value.lower()


def _same(status: str) -> str:
    return _SAME_STATUS.get(status.lower(), status.lower())


def matches(row: Mapping[str, Any], *, kind: str = "", status: str = "") -> bool:
    """Say whether a session is among those that were asked for.

    Parameters
    ----------
    row : mapping
        As `session_json` writes it.
    kind, status : str
        As `check_filter` gives them.
    """
    if kind and row["type"] != kind:
        return False
    return not status or _same(status) in (_same(row["status"]), _same(row["state"]))


def usage_row(row: Mapping[str, Any], *, owner: str) -> dict[str, Any]:
    """Write what everybody may know of a session: that somebody has one."""
    kept = {key: row[key] for key in ("type", "status", "startTime") if key in row}
    return {"userid": owner if row["userid"] == owner else "", **kept}


# What happened to one.


def _cell(text: str) -> str:
    plain = "".join(char if char.isprintable() else " " for char in text[:_LONGEST_MESSAGE])
    return _SPACE.sub(" ", plain).strip() or _NONE


def events_table(events: Iterable[BackendEvent]) -> str:
    """Write events as the table that the client cuts at two spaces and more.

    Parameters
    ----------
    events : iterable of BackendEvent
        In the order of their times; those without one come first.
    """
    early = datetime.min.replace(tzinfo=UTC)
    rows = []
    for event in sorted(events, key=lambda event: event.at or early):
        first, last = (moment(at) if at else _NONE for at in (event.first or event.at, event.at))
        kind = "Warning" if event.warning else "Normal"
        # A cell of several words holds no two spaces together; only the gaps between cells do.
        rows.append((kind, _cell(event.reason), _cell(event.message), first, last))
    if not rows:
        return f"{_NONE}\n"
    table = [_COLUMNS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS) - 1)]
    lines = [
        _GAP.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in table
    ]
    return "\n".join([*lines, ""])


def own_events(record: SessionRecord, evidence: Evidence) -> tuple[BackendEvent, ...]:
    """Give what is known of a session without the back end.

    Parameters
    ----------
    record : SessionRecord
    evidence : Evidence
        As `evidence_of` gives it.
    """
    sentence = explained(REASONS[evidence.reason].sentence, evidence.detail)
    failed = is_failure(evidence.reason, interactive=record.interactive)
    found: list[BackendEvent] = []

    def event(at: datetime | None, reason: str, text: str, *, warning: bool = False) -> None:
        found.append(BackendEvent(at=at, warning=warning, reason=reason, message=text))

    event(record.asked, "Asked", f"{record.owner} asked for {record.plan.title}.")
    if record.ready:
        ready = "The session is ready." if record.interactive else "The program runs."
        event(record.ready, "Ready", ready)
    # A job is told as completed as soon as that was seen, which is before it is written down.
    if record.ended or evidence.life is Life.ENDED:
        at = record.ended or evidence.at
        event(at, "Ended", sentence or "It has ended.", warning=failed)
    elif record.ending:
        by = record.ending_by or "the platform"
        event(evidence.at, "Ending", f"{sentence} By {by}.".strip())
    elif sentence:
        event(evidence.at, evidence.phase.value.capitalize(), sentence, warning=failed)
    return tuple(found)


# The platform.


def stats_json(capacity: Capacity, policy: SitePolicy) -> dict[str, Any]:
    """Write how much there is and how much of it is promised.

    Parameters
    ----------
    capacity : Capacity
    policy : SitePolicy
        The largest sizes that may be asked for.
    """
    choices = policy.resources.default
    largest_cores = float(min(max(choices.cores), capacity.cores))
    largest_memory = min(max(choices.memory) * GIB, capacity.memory)
    with_ram = f"{largest_memory // GIB}Gi"
    found: dict[str, Any] = {
        "cores": {
            "requestedCPUCores": float(capacity.cores_taken),
            "cpuCoresAvailable": float(capacity.cores),
            "maxCPUCores": {"cpuCores": largest_cores, "withRam": with_ram},
        },
        "ram": {
            "requestedRAM": f"{capacity.memory_taken / GB:.0f}G",
            "ramAvailable": f"{capacity.memory / GB:.0f}G",
            "maxRAM": {"ram": with_ram, "withCPUCores": largest_cores},
            # Ours: the client passes over them. Whole GB are too coarse for a small machine.
            "bytesRequested": capacity.memory_taken,
            "bytesAvailable": capacity.memory,
        },
    }
    if capacity.gpus:
        found["gpu"] = {
            "requestedGPU": capacity.gpus_taken,
            "gpuAvailable": capacity.gpus,
        }
    # Ours: the client passes over it.
    found["free"] = [
        {
            "nodes": free.nodes,
            "cores": float(free.cores),
            "memoryGb": free.memory // GIB,
            "gpus": free.gpus,
        }
        for free in capacity.free
    ]
    return found


def _whole(sizes: Iterable[Decimal | int]) -> list[int]:
    """Give the sizes that are whole numbers: the client knows no others."""
    return sorted({int(size) for size in sizes if size == int(size)})


def _section(options: list[int], request: Decimal | int, limit: Decimal | int) -> dict[str, Any]:
    least = max(1, math.ceil(request))
    return {
        "default": next((option for option in options if option >= least), least),
        "defaultRequest": least,
        "defaultLimit": max(least, math.floor(limit)),
        "options": options,
    }


def context_json(policy: SitePolicy, groups: frozenset[str]) -> dict[str, Any]:
    """Write what a user of these groups may ask for; memory in GB of 2³⁰ bytes."""
    choices = policy.resources.default
    flexible = choices.flexible
    return {
        "cores": _section(_whole(choices.cores), flexible.cores_request, flexible.cores_limit),
        "memoryGB": _section(
            _whole(choices.memory), flexible.memory_request, flexible.memory_limit
        ),
        "gpus": {"options": _whole(choices.gpus)},
        "maxInteractiveSessions": policy.limits.interactive_for(groups),
    }


def images_json(
    containers: Iterable[Container], catalogue: Catalogue, digests: Mapping[str, str]
) -> list[dict[str, Any]]:
    """List the images of containers, the recommended version of each first and each image once.

    An image that several containers have is told as the first of them, with the types of all.

    Parameters
    ----------
    containers : iterable of Container
        Those that whoever asks may start here.
    catalogue : Catalogue
    digests : mapping
        What an image's name stood for when it was last fetched, where that is known.
    """
    found: dict[str, dict[str, Any]] = {}
    for container in containers:
        types = [kind.value for kind in container.kinds]
        default = container.default_version
        versions = sorted(container.versions, key=lambda version: version is not default)
        for version in versions:
            if version.deprecated and version is not default:
                continue
            image = str(catalogue.image(container, version))
            if image in found:
                known = found[image]["types"]
                known += [each for each in types if each not in known]
                continue
            found[image] = {
                "id": image,
                "types": list(types),
                "digest": digests.get(image, ""),
                "container": container.name,
                "title": container.title,
                "version": version.name,
            }
    return list(found.values())


def repositories(policy: SitePolicy) -> list[str]:
    """List the registries that images come from."""
    hosts = [policy.catalogue.registry.partition("/")[0]]
    hosts += [source.registry for source in policy.images.sources]
    return list(dict.fromkeys(hosts))


_CAPABILITY: Final = """\
  <capability standardID="{standard}">
    <interface xsi:type="vs:ParamHTTP" role="std">
      <accessURL use="{use}">{url}</accessURL>{security}
    </interface>
  </capability>"""
_SECURITY: Final = '\n      <securityMethod standardID="ivo://ivoa.net/sso#token"/>'
_STANDARDS: Final = (
    ("http://www.opencadc.org/std/platform#session-1", "/v1/session", "base", _SECURITY),
    ("http://www.opencadc.org/std/platform#context-1", "/v1/context", "base", _SECURITY),
    ("http://www.opencadc.org/std/platform#image-1", "/v1/image", "base", _SECURITY),
    ("http://www.opencadc.org/std/platform#repository-1", "/v1/repository", "base", _SECURITY),
    ("ivo://ivoa.net/std/VOSI#capabilities", "/capabilities", "full", ""),
    ("ivo://ivoa.net/std/VOSI#availability", "/availability", "full", ""),
)


def capabilities_xml(public: str) -> str:
    """Write what there is here and how one signs in to it, as VOSI wants it.

    Parameters
    ----------
    public : str
        The service as scripts reach it, without a slash at the end.
    """
    entries = "\n".join(
        _CAPABILITY.format(standard=standard, use=use, url=escape(public + path), security=security)
        for standard, path, use, security in _STANDARDS
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<vosi:capabilities xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0"'
        ' xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
        f"{entries}\n"
        "</vosi:capabilities>\n"
    )


def availability_xml(problems: Iterable[str]) -> str:
    """Write whether everything works, as VOSI wants it."""
    notes = "".join(f"\n  <vosi:note>{escape(problem)}</vosi:note>" for problem in problems)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<vosi:availability xmlns:vosi="http://www.ivoa.net/xml/VOSIAvailability/v1.0">\n'
        f"  <vosi:available>{'false' if notes else 'true'}</vosi:available>{notes}\n"
        "</vosi:availability>\n"
    )
