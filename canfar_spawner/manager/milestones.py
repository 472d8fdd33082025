"""What happened to a session on its way, from one state of its record to the next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.status import Reason
from canfar_spawner.manager.records import SessionRecord

_LONGEST: Final = 500


class Step(StrEnum):
    """The kinds of milestone."""

    ASKED = "asked"
    BEGUN = "begun"
    PLACED = "placed"
    READY = "ready"
    EXTENDED = "extended"
    RENAMED = "renamed"
    WARNED = "warned"
    ENDING = "ending"
    """It was told to end."""
    ENDED = "ended"


class Milestone(Frozen):
    """One thing that happened to a session."""

    launch: LaunchId
    session: SessionId
    owner: str
    at: datetime
    step: Step
    reason: Reason = Reason.NONE
    detail: str = ""
    by: str = ""


def milestones(
    before: SessionRecord | None, after: SessionRecord, now: datetime
) -> Iterator[Milestone]:
    """Give what happened between two states of a record.

    Parameters
    ----------
    before : SessionRecord or None
        None where nothing was known of it.
    after : SessionRecord
    now : datetime
        When the record changed, for what it has no time of.
    """

    def one(step: Step, at: datetime, detail: str = "", by: str = "", **more: Reason) -> Milestone:
        return Milestone(
            launch=after.launch,
            session=after.id,
            owner=after.owner,
            at=at,
            step=step,
            detail=detail[:_LONGEST],
            by=by,
            **more,
        )

    if before is None:
        yield one(Step.ASKED, after.asked, by=after.owner)
    if after.begun and not (before and before.begun) and not after.interactive:
        yield one(Step.BEGUN, now)
    if after.node and after.node != (before.node if before else ""):
        yield one(Step.PLACED, now, after.node)
    if after.ready and not (before and before.ready):
        yield one(Step.READY, after.ready)
    if before is not None:
        if after.ends != before.ends:
            yield one(Step.EXTENDED, now, after.ends.isoformat())
        if after.name != before.name:
            yield one(Step.RENAMED, now, after.name)
        if after.warned and after.warned != before.warned:
            yield one(Step.WARNED, now, f"{after.warned} s before the end")
    if after.ending and not (before and before.ending):
        yield one(Step.ENDING, now, by=after.ending_by, reason=after.ending)
    if after.ended and not (before and before.ended):
        yield one(Step.ENDED, after.ended, after.detail, after.ending_by, reason=after.reason)


def steps_of(record: SessionRecord) -> Iterator[Milestone]:
    """Give what a record alone tells of its way, long after the rest is forgotten."""
    known = frozenset({Step.ASKED, Step.READY, Step.ENDED})
    for each in milestones(None, record, record.asked):
        if each.step in known:
            yield each
