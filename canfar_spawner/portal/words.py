"""The words of the pages for sizes, states and times."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from canfar_spawner.core.resources import GIB, Allocation, FlexibleSizes, ResourcePlan, number
from canfar_spawner.core.status import Life, Phase
from canfar_spawner.portal.language import marked, say, say_many
from canfar_spawner.portal.views import Meaning

STATES: dict[Phase, str] = {
    Phase.ASKED: marked("Starting"),
    Phase.QUEUED: marked("Waiting"),
    Phase.PLACING: marked("Looking for room"),
    Phase.PULLING: marked("Fetching the image"),
    Phase.PREPARING: marked("Preparing"),
    Phase.STARTING: marked("Starting"),
    Phase.READY: marked("Running"),
    Phase.ENDING: marked("Stopping"),
}

PHASES: dict[Phase, tuple[str, str]] = {
    Phase.ASKED: (marked("Asked for"), marked("The request was accepted.")),
    Phase.QUEUED: (marked("Waiting"), marked("The session waits for its turn.")),
    Phase.PLACING: (marked("Finding room"), marked("A machine with enough room is looked for.")),
    Phase.PULLING: (
        marked("Fetching the image"),
        marked("The first time takes longer than the next."),
    ),
    Phase.PREPARING: (
        marked("Preparing storage"),
        marked("Home, projects and an empty scratch are made ready."),
    ),
    Phase.STARTING: (marked("Starting the program"), marked("The program has started and loads.")),
    Phase.READY: (marked("Ready"), marked("The session opens by itself.")),
}

STILL_COUNTED = marked(
    "The platform cannot see this session now. It counts as running; nothing of it is ended."
)
"""Of a session whose back end does not answer."""


def cores_text(value: Decimal) -> str:
    """Write ``1 core``, ``2 cores``."""
    shown = number(Decimal(value))
    return say("%(num)s core", num=shown) if shown == "1" else say("%(num)s cores", num=shown)


def flexible_sentence(sizes: FlexibleSizes) -> str:
    """Say what a flexible session gets."""
    return say(
        "Starts at once with %(cores)s and %(memory)s GB and may use up to %(most_cores)s and"
        " %(most_memory)s GB when they are free. Good for exploring.",
        cores=cores_text(sizes.cores_request),
        memory=sizes.memory_request,
        most_cores=cores_text(sizes.cores_limit),
        most_memory=sizes.memory_limit,
    )


def fixed_sentence(*, enforced: bool) -> str:
    """Say what a fixed session gets."""
    if not enforced:
        return say(
            "Exactly this much, from start to end. On this machine programs are told the size;"
            " nothing holds other programs back."
        )
    return say(
        "Exactly this much, guaranteed, from start to end. May wait longer to start. Good for"
        " long or heavy runs."
    )


def mode_text(resources: ResourcePlan, *, enforced: bool) -> str:
    """Say in one line what a session has."""
    size = {
        "cores": cores_text(resources.cores_limit),
        "memory": resources.memory_limit // GIB,
    }
    match resources.allocation:
        case Allocation.FIXED if enforced:
            return say("Fixed · %(cores)s, %(memory)s GB guaranteed", **size)
        case Allocation.FIXED:
            return say("Fixed · %(cores)s, %(memory)s GB", **size)
        case Allocation.PARTLY_FIXED:
            return say("Partly fixed · up to %(cores)s, %(memory)s GB", **size)
        case Allocation.FLEXIBLE:
            return say("Flexible · up to %(cores)s, %(memory)s GB", **size)


def duration(length: timedelta) -> str:
    """Write a length of time in its two largest units: ``3 d 4 h``."""
    minutes = max(0, int(length.total_seconds()) // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    units = [(days, say("d")), (hours, say("h")), (minutes, say("min"))]
    first = next((index for index, (value, _) in enumerate(units) if value), 2)
    shown = [f"{value} {unit}" for value, unit in units[first : first + 2] if value]
    return " ".join(shown) or say("less than a minute")


def long_duration(length: timedelta) -> str:
    """Write a length of time for a sentence: ``4 days``, ``12 hours``."""
    hours = int(length.total_seconds()) // 3600
    if hours >= 48:
        return say_many("%(num)s day", "%(num)s days", hours // 24)
    return say_many("%(num)s hour", "%(num)s hours", hours)


def iso(moment: datetime) -> str:
    """Write a time the way pages take it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def state(life: Life, phase: Phase, *, ready: bool, failed: bool) -> tuple[str, Meaning]:
    """Give the word for a state and what it means."""
    if failed:
        return say("Failed"), "bad"
    if ready and life is not Life.UNKNOWN:
        return say("Running"), "good"
    match life:
        case Life.UNKNOWN:
            return say("Unknown"), "warn"
        case Life.ENDING:
            return say("Stopping"), "busy"
        case Life.ENDED | Life.ABSENT:
            return say("Ended"), "neutral"
        case _:
            return say(STATES[phase]), "busy"
