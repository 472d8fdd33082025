"""One transfer: what was asked for, how far it is, and what is written down of it."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field, fields
from typing import Any, Self

from canfar_lab.storage.errors import Refused, from_os_error

COPIES = frozenset({"copy", "move"})
KINDS = ("copy", "move", "upload", "checksum", "download")
CONFLICTS = ("refuse", "replace", "keep_both")
ACTIVE = frozenset({"queued", "counting", "running", "checking"})
"""States in which something is done, or about to be."""
ENDED = frozenset({"done", "failed", "cancelled"})
CHUNK = 16 << 20
"""Bytes that a page should send of an upload at once."""
_STEADY = 0.3
"""How much the latest second counts for what is shown as speed."""


@dataclass
class Spot:
    """Something in an area: files to take, or the folder that they go to."""

    area: str
    paths: list[str]

    @property
    def path(self) -> str:
        """The folder, or the first file."""
        return self.paths[0]


class Stopped(Exception):
    """Somebody has stopped a transfer; says how: ``paused`` or ``cancelled``."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


@dataclass
class Job:
    """One transfer.

    Attributes
    ----------
    kind : str
        ``copy``, ``move``, ``upload``, ``checksum`` or ``download``.
    placed : list of str
        The names under which sources are in their folder already, in their order.
    current : list
        Of the file that is being copied: its way, and inode, length and time of change. What there
        is of it is good only as long as these are the same.
    boot : str
        Which start of the machine wrote what there is; after another one it may have holes.
    placing : list of int
        Inode, length and time of change of what is being given its final name: who finds that
        there need not do so again.
    bytes_placed, files_placed : int
        What all that is in its place amounts to.
    """

    kind: str
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    source: Spot | None = None
    target: Spot | None = None
    name: str = ""
    conflict: str = "refuse"
    verify: bool = False
    modified: int | None = None
    """Milliseconds since 1970, of the file that is uploaded."""
    state: str = "queued"
    bytes_done: int = 0
    bytes_total: int | None = None
    files_done: int = 0
    files_total: int | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    error: dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)
    checksum: str | None = None
    placed: list[str] = field(default_factory=list)
    current: list[Any] = field(default_factory=list)
    boot: str = ""
    session: str = ""
    counted: bool = False
    placing: list[int] = field(default_factory=list)
    bytes_placed: int = 0
    files_placed: int = 0

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self.state in ENDED

    @property
    def part(self) -> str:
        """What is not complete yet is called, in the folder that it is for."""
        return f".canfar-{self.id}.part"

    def again(self) -> None:
        """Forget how it ended, to go on from what is in its place."""
        self.state, self.error, self.ended = "queued", None, None
        self.notes, self.counted = [], False

    def record(self) -> dict[str, Any]:
        """Give all that a later server needs."""
        told = dict(vars(self))
        for name in ("source", "target"):
            spot = told[name]
            told[name] = spot and {"area": spot.area, "paths": spot.paths}
        return told

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read what an earlier server wrote; what it knew more or less does not matter."""
        known = {each.name for each in fields(cls)}
        told = {name: value for name, value in record.items() if name in known}
        for name in ("source", "target"):
            if told.get(name):
                told[name] = Spot(str(told[name]["area"]), list(told[name]["paths"]))
        job = cls(**told)
        if job.kind not in KINDS or not isinstance(job.state, str):
            raise ValueError(job.kind)
        return job


@dataclass
class Work:
    """A transfer at work: how it is stopped, and how fast it is.

    Attributes
    ----------
    stop : str
        How it is to be stopped: ``paused`` or ``cancelled``; empty while it goes on.
    claim : threading.Lock
        Held while it is decided who has it: the thread that begins it, or who takes it back.
    clearing : bool
        Whether what there is of it is being removed, and must not be written to.
    """

    job: Job
    stop: str = ""
    speed: float | None = None
    claim: threading.Lock = field(default_factory=threading.Lock)
    clearing: bool = False
    _seen: tuple[float, int] | None = None

    def moved(self, count: int) -> None:
        """Count bytes that are where they belong, and stop where that is wanted.

        Raises
        ------
        Stopped
        """
        self.job.bytes_done += count
        if self.stop:
            raise Stopped(self.stop)

    def look(self, now: float) -> bool:
        """Measure the speed; says whether there is something new to show."""
        done = self.job.bytes_done
        before, self._seen = self._seen, (now, done)
        if before is None or now <= before[0] or done < before[1]:
            return True
        latest = (done - before[1]) / (now - before[0])
        known = self.speed
        self.speed = latest if known is None else known + _STEADY * (latest - known)
        return done != before[1]

    def rest(self) -> None:
        """Forget the speed: nothing is done for a while."""
        self.speed, self._seen = None, None


def told_of(error: Exception, job: Job) -> dict[str, str] | None:
    """Say what ended a transfer, in a sentence; None where somebody wanted it."""
    if isinstance(error, Stopped):
        return None
    if isinstance(error, OSError):
        name = job.name or (job.source.path.rpartition("/")[2] if job.source else "")
        error = from_os_error(error, name or "the file")
    if isinstance(error, Refused):
        return {"code": error.code, "message": error.message}
    return {"code": "failed", "message": "Something went wrong in the session's server; try again."}


def view(job: Job, speed: float | None) -> dict[str, Any]:
    """Give a transfer as callers see it."""
    left = None
    if speed and job.bytes_total is not None and job.state == "running":
        left = max(0, round((job.bytes_total - job.bytes_done) / speed))
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "from": {"area": job.source.area, "paths": job.source.paths} if job.source else None,
        "to": {"area": job.target.area, "path": job.target.path} if job.target else None,
        "name": job.name or (job.source.path.rpartition("/")[2] if job.source else ""),
        "bytes": {"done": job.bytes_done, "total": job.bytes_total},
        "files": {"done": job.files_done, "total": job.files_total},
        "speed": round(speed) if speed is not None and job.state == "running" else None,
        "seconds_left": left,
        "started": job.started,
        "ended": job.ended,
        "error": job.error,
        "notes": job.notes,
        "checksum": job.checksum,
        "placed": job.placed,
        "modified": job.modified,
        "chunk": CHUNK if job.kind == "upload" else None,
    }
