"""What is known of a session, and what that means to a person."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from canfar_spawner.core.frozen import Frozen


class Phase(StrEnum):
    """How far a session has come."""

    ASKED = "asked"
    QUEUED = "queued"
    PLACING = "placing"
    PULLING = "pulling"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"


STARTUP: Final = (
    Phase.ASKED,
    Phase.QUEUED,
    Phase.PLACING,
    Phase.PULLING,
    Phase.PREPARING,
    Phase.STARTING,
    Phase.READY,
)
"""The phases of a start, in order; a back end skips those it does not have."""


class Status(StrEnum):
    """The status words of the wire contract, and the one it lacks."""

    PENDING = "Pending"
    RUNNING = "Running"
    TERMINATING = "Terminating"
    COMPLETED = "Completed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class Life(StrEnum):
    """What a back end has positive proof of."""

    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    ABSENT = "absent"
    """The back end answered, and there is nothing of this launch."""
    UNKNOWN = "unknown"
    """The back end did not answer. Unknown is not dead."""


class Reason(StrEnum):
    """Why a session is as it is; metrics, refusals and pages share these words."""

    NONE = ""
    WAITING_FOR_RESOURCES = "waiting_for_resources"
    PULLING_IMAGE = "pulling_image"
    STOPPED = "stopped"
    FINISHED = "finished"
    PROGRAM_FAILED = "program_failed"
    PROGRAM_MISSING = "program_missing"
    OUT_OF_MEMORY = "out_of_memory"
    EXPIRED = "expired"
    IDLE = "idle"
    REVOKED = "revoked"
    EVICTED = "evicted"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_REFUSED = "image_refused"
    IMAGE_FAILED = "image_failed"
    UNSCHEDULABLE = "unschedulable"
    NOT_GUARANTEED = "not_guaranteed"
    SCRATCH_FULL = "scratch_full"
    STORAGE_FAILED = "storage_failed"
    QUOTA = "quota"
    NODE_LOST = "node_lost"
    SUPERVISOR_LOST = "supervisor_lost"
    NEVER_STARTED = "never_started"
    START_TIMEOUT = "start_timeout"
    NOT_ANSWERING = "not_answering"


class ReasonText(Frozen):
    """The words for a reason."""

    sentence: str
    advice: str
    failed: bool
    """Whether an end for this reason is a failure."""


REASONS: Final[dict[Reason, ReasonText]] = {
    Reason.NONE: ReasonText(sentence="", advice="", failed=False),
    Reason.WAITING_FOR_RESOURCES: ReasonText(
        sentence="Waiting for cores and memory to become free.",
        advice="A smaller size may start sooner.",
        failed=False,
    ),
    Reason.PULLING_IMAGE: ReasonText(
        sentence="The image is being fetched.",
        advice="The first start of an image takes longer than the next.",
        failed=False,
    ),
    Reason.STOPPED: ReasonText(
        sentence="Stopped on request.",
        advice="Home and projects are kept; scratch is gone.",
        failed=False,
    ),
    Reason.FINISHED: ReasonText(
        sentence="The program finished by itself.",
        advice="Home and projects are kept; scratch is gone.",
        failed=False,
    ),
    Reason.PROGRAM_FAILED: ReasonText(
        sentence="The session's program ended with an error.",
        advice="Launch it again, or choose another version. If it stays, tell the administrators.",
        failed=True,
    ),
    Reason.PROGRAM_MISSING: ReasonText(
        sentence="The session's program could not be started.",
        advice="Tell the administrators; another container may work meanwhile.",
        failed=True,
    ),
    Reason.OUT_OF_MEMORY: ReasonText(
        sentence="The session used more than its memory and was ended.",
        advice="Home and projects are safe. Launch it again with more memory.",
        failed=True,
    ),
    Reason.EXPIRED: ReasonText(
        sentence="The session reached the end of its lifetime.",
        advice="Home and projects are kept; launch it again to go on.",
        failed=False,
    ),
    Reason.IDLE: ReasonText(
        sentence="Nobody and nothing used the session for as long as the site allows.",
        advice="Home and projects are kept; launch it again to go on.",
        failed=False,
    ),
    Reason.REVOKED: ReasonText(
        sentence="Its owner may no longer use what the job was launched with.",
        advice="Ask the administrators of the account or of the project.",
        failed=True,
    ),
    Reason.EVICTED: ReasonText(
        sentence="The machine ran short and the session was ended to protect the others.",
        advice="Keep less in scratch, or choose a fixed size.",
        failed=True,
    ),
    Reason.IMAGE_NOT_FOUND: ReasonText(
        sentence="The image was not found in its registry.",
        advice="Choose another version, or tell the image's owner.",
        failed=True,
    ),
    Reason.IMAGE_REFUSED: ReasonText(
        sentence="The registry refused to give out the image.",
        advice="Check its name and the registry's user and secret. An image of the site: tell the administrators.",
        failed=True,
    ),
    Reason.IMAGE_FAILED: ReasonText(
        sentence="The image could not be fetched.",
        advice="Launch it again in a few minutes; tell the administrators if it stays so.",
        failed=True,
    ),
    Reason.UNSCHEDULABLE: ReasonText(
        sentence="No machine of the cluster has room for the session.",
        advice="Choose a smaller size, or try again later.",
        failed=True,
    ),
    Reason.NOT_GUARANTEED: ReasonText(
        sentence="The cluster did not reserve what a fixed session is promised.",
        advice="Choose flexible, and tell the administrators.",
        failed=True,
    ),
    Reason.SCRATCH_FULL: ReasonText(
        sentence="The session kept more in scratch than it holds and was ended.",
        advice="Home and projects are kept. Keep less in scratch, or move it to a project.",
        failed=True,
    ),
    Reason.STORAGE_FAILED: ReasonText(
        sentence="The session's storage could not be attached.",
        advice="Wait a little; tell the administrators if it stays so.",
        failed=True,
    ),
    Reason.QUOTA: ReasonText(
        sentence="The site has no room for a session of this size.",
        advice="Choose a smaller size, or stop another session.",
        failed=True,
    ),
    Reason.NODE_LOST: ReasonText(
        sentence="The machine of the session does not answer any more.",
        advice="Launch it again; home and projects are kept.",
        failed=True,
    ),
    Reason.SUPERVISOR_LOST: ReasonText(
        sentence="The session was ended from outside, without notice.",
        advice="Launch it again; home and projects are kept.",
        failed=True,
    ),
    Reason.NEVER_STARTED: ReasonText(
        sentence="The session was asked for but never started.",
        advice="Launch it again.",
        failed=True,
    ),
    Reason.START_TIMEOUT: ReasonText(
        sentence="The session did not start in time.",
        advice="Launch it again, or choose a smaller size.",
        failed=True,
    ),
    Reason.NOT_ANSWERING: ReasonText(
        sentence="The session's program started but does not answer.",
        advice="Wait a little; stop and launch it again if it stays so.",
        failed=True,
    ),
}


class Evidence(Frozen):
    """What a back end says of one launch."""

    life: Life
    phase: Phase = Phase.ASKED
    """Of a start; `Phase.READY` once the program runs."""
    reason: Reason = Reason.NONE
    detail: str = ""
    """One line more, safe to show: the image, the position in a queue."""
    exit_code: int | None = None
    node: str = ""
    qos: str = ""
    """The class that the cluster gave the session, where there is one."""
    image_digest: str = ""
    """What the image's name stood for when it was fetched, where that is known."""
    started: datetime | None = None
    """When its program began to run."""
    finished: datetime | None = None
    """When its program ended."""
    peak_memory: int | None = None
    """The most bytes it had at a time, where the back end tells it after the end."""
    at: datetime | None = None
    """Since when it is so."""
    seen: datetime | None = None
    """When the back end last answered."""


def is_over(evidence: Evidence) -> bool:
    """Say whether a session has ended, on positive proof only."""
    return evidence.life in (Life.ENDED, Life.ABSENT)


def is_failure(reason: Reason, *, interactive: bool) -> bool:
    """Say whether an end for a reason is a failure; a job that is cut off by its end is no success."""
    return REASONS[reason].failed or (reason is Reason.EXPIRED and not interactive)


def status_of(evidence: Evidence, *, answers: bool, interactive: bool = True) -> Status:
    """Give the word for a session.

    Parameters
    ----------
    evidence : Evidence
    answers : bool
        Whether the program answers at its address; batch jobs always do.
    interactive : bool
        Whether it is a session with a page, and no batch job.
    """
    match evidence.life:
        case Life.UNKNOWN:
            return Status.UNKNOWN
        case Life.ENDING:
            return Status.TERMINATING
        case Life.ENDED | Life.ABSENT:
            failed = is_failure(evidence.reason, interactive=interactive)
            return Status.FAILED if failed else Status.COMPLETED
        case Life.RUNNING if answers:
            return Status.RUNNING
        case Life.STARTING | Life.RUNNING:
            return Status.PENDING


def explained(sentence: str, detail: str) -> str:
    """Give a sentence with what more is known, in brackets."""
    if not detail or detail == sentence:
        return sentence
    if not sentence:
        return detail
    return f"{sentence} ({detail})"


def exit_reason(exit_code: int | None, *, out_of_memory: bool, asked_to_stop: bool) -> Reason:
    """Say why a program ended, from what the kernel reports."""
    if out_of_memory:
        return Reason.OUT_OF_MEMORY
    if asked_to_stop:
        return Reason.STOPPED
    return Reason.FINISHED if exit_code == 0 else Reason.PROGRAM_FAILED


def exit_detail(reason: Reason, exit_code: int | None) -> str:
    """Say with which code a program failed; empty where it did not, or where none is known."""
    return f"exit code {exit_code}" if exit_code and reason is Reason.PROGRAM_FAILED else ""


def unknown_for(evidence: Evidence, now: datetime) -> timedelta:
    """Say how old the last answer of the back end is."""
    return now - evidence.seen if evidence.seen else timedelta(0)
