"""The words of the pages for sizes, states and times."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from canfar_spawner.core.resources import GIB, Allocation, FlexibleSizes, ResourcePlan, number
from canfar_spawner.core.status import Life, Phase
from canfar_spawner.portal.views import Meaning

STATES: dict[Phase, str] = {
    Phase.ASKED: "Starting",
    Phase.QUEUED: "Waiting",
    Phase.PLACING: "Looking for room",
    Phase.PULLING: "Fetching the image",
    Phase.PREPARING: "Preparing",
    Phase.STARTING: "Starting",
    Phase.READY: "Running",
    Phase.ENDING: "Stopping",
}

PHASES: dict[Phase, tuple[str, str]] = {
    Phase.ASKED: ("Asked for", "The request was accepted."),
    Phase.QUEUED: ("Waiting", "The session waits for its turn."),
    Phase.PLACING: ("Finding room", "A machine with enough room is looked for."),
    Phase.PULLING: ("Fetching the image", "The first time takes longer than the next."),
    Phase.PREPARING: ("Preparing storage", "Home, projects and an empty scratch are made ready."),
    Phase.STARTING: ("Starting the program", "The program has started and loads."),
    Phase.READY: ("Ready", "The session opens by itself."),
}

STILL_COUNTED = (
    "The platform cannot see this session now. It counts as running; nothing of it is ended."
)
"""Of a session whose back end does not answer."""


def count(value: Decimal | int, noun: str) -> str:
    """Write ``1 core``, ``2 cores``."""
    text = number(Decimal(value))
    return f"{text} {noun}" if text == "1" else f"{text} {noun}s"


def flexible_sentence(sizes: FlexibleSizes) -> str:
    """Say what a flexible session gets."""
    return (
        f"Starts at once with {count(sizes.cores_request, 'core')} and {sizes.memory_request} GB"
        f" and may use up to {count(sizes.cores_limit, 'core')} and {sizes.memory_limit} GB when"
        " they are free. Good for exploring."
    )


def fixed_sentence(*, enforced: bool) -> str:
    """Say what a fixed session gets."""
    if not enforced:
        return (
            "Exactly this much, from start to end. On this machine programs are told the size;"
            " nothing holds other programs back."
        )
    return (
        "Exactly this much, guaranteed, from start to end. May wait longer to start. Good for"
        " long or heavy runs."
    )


def mode_text(resources: ResourcePlan, *, enforced: bool) -> str:
    """Say in one line what a session has."""
    cores = count(resources.cores_limit, "core")
    memory = f"{resources.memory_limit // GIB} GB"
    match resources.allocation:
        case Allocation.FIXED:
            return f"Fixed · {cores}, {memory}" + (" guaranteed" if enforced else "")
        case Allocation.PARTLY_FIXED:
            return f"Partly fixed · up to {cores}, {memory}"
        case Allocation.FLEXIBLE:
            return f"Flexible · up to {cores}, {memory}"


def duration(length: timedelta) -> str:
    """Write a length of time in its two largest units: ``3 d 4 h``."""
    minutes = max(0, int(length.total_seconds()) // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    units = [(days, "d"), (hours, "h"), (minutes, "min")]
    first = next((index for index, (value, _) in enumerate(units) if value), 2)
    shown = [f"{value} {unit}" for value, unit in units[first : first + 2] if value]
    return " ".join(shown) or "less than a minute"


def long_duration(length: timedelta) -> str:
    """Write a length of time for a sentence: ``4 days``, ``12 hours``."""
    hours = int(length.total_seconds()) // 3600
    return count(hours // 24, "day") if hours >= 48 else count(hours, "hour")


def iso(moment: datetime) -> str:
    """Write a time the way pages take it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def state(life: Life, phase: Phase, *, ready: bool, failed: bool) -> tuple[str, Meaning]:
    """Give the word for a state and what it means."""
    if failed:
        return "Failed", "bad"
    if ready and life is not Life.UNKNOWN:
        return "Running", "good"
    match life:
        case Life.UNKNOWN:
            return "Unknown", "warn"
        case Life.ENDING:
            return "Stopping", "busy"
        case Life.ENDED | Life.ABSENT:
            return "Ended", "neutral"
        case _:
            return STATES[phase], "busy"
