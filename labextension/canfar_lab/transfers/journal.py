"""What is written down of transfers, so that a server that starts again goes on with them.

One file for each, in the home of whose they are. While a transfer is at work, what has changed is
added to a second file, a line each time: of thousands of files, each costs the same. The lock of a
file beside it is held by the server that works at it: what another session of the same person does is
left to that one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canfar_lab.transfers.jobs import ACTIVE, Job

_NAME = re.compile(r"([0-9a-f]{12})\.json")
_LONGEST = 16 << 20
_LONGEST_LINES = 64 << 20
_LONG = frozenset({"source", "target", "placed"})
"""Fields that may hold thousands of names: the first two stay as they are, to the last names are added."""
_json = json.JSONEncoder(separators=(",", ":")).encode
_ENDINGS = ("json", "new", "lines", "lock")


@dataclass
class _Written:
    """What of a transfer is in its files by now.

    Attributes
    ----------
    place : Path
    number : int
        Of the record: lines that were added to an earlier one do not count.
    fields : dict
        Each but the long ones.
    placed : int
        How many of its names.
    """

    place: Path
    number: int
    fields: dict[str, Any]
    placed: int


def directories(environ: dict[str, str]) -> list[Path]:
    """Give where transfers may be written down, the best place first.

    A home that is full must not keep anybody from moving files out of it.
    """
    home = environ.get("CANFAR_HOME") or environ.get("HOME") or ""
    found = [Path(home) / ".local" / "share" / "canfar-hub" / "transfers"] if home else []
    runtime = environ.get("JUPYTER_RUNTIME_DIR", "")
    return [*found, Path(runtime) / "canfar-transfers"] if runtime else found


class Journal:
    """The records of transfers.

    Parameters
    ----------
    places : iterable of Path
        Directories, the best first; the others are for when nothing can be written there.
    """

    def __init__(self, places: Iterable[Path]) -> None:
        self._places = list(places)
        self._locks: dict[str, int] = {}
        self._written: dict[str, _Written] = {}
        self._writing = threading.Lock()

    def load(self) -> list[Job]:
        """Take over what no other server works at, the oldest first."""
        found: dict[str, Job] = {}
        for place in self._places:
            for path in sorted(place.glob("*.json")) if place.is_dir() else []:
                name = _NAME.fullmatch(path.name)
                if name is None or name[1] in found or not self._lock(place, name[1]):
                    continue
                job = _read(path)
                if job is not None and job.id == name[1]:
                    found[job.id] = job
                else:
                    self.forget(name[1])
        return sorted(found.values(), key=lambda job: job.created)

    def save(self, job: Job) -> bool:
        """Write down how far a transfer is; false where that is not possible anywhere."""
        with self._writing:
            record = job.record()
            # Lists are copied: they are added to in their place.
            fields = {
                name: [*each] if isinstance(each, list) else each
                for name, each in record.items()
                if name not in _LONG
            }
            if job.state in ACTIVE and self._add(job, fields):
                return True
            return self._save(job, record, fields)

    def _add(self, job: Job, fields: dict[str, Any]) -> bool:
        """Add a line with what has changed; false where all of it must be written."""
        # Where it is cut short, only a record of another number is true.
        written = self._written.pop(job.id, None)
        if written is None:
            return False
        line = {"number": written.number, "placed": job.placed[written.placed :]}
        line |= {name: each for name, each in fields.items() if written.fields[name] != each}
        path = written.place / f"{job.id}.lines"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{_json(line)}\n")
        except OSError:
            return False
        written.fields, written.placed = fields, len(job.placed)
        self._written[job.id] = written
        return True

    def _save(self, job: Job, record: dict[str, Any], fields: dict[str, Any]) -> bool:
        number = secrets.randbelow(1 << 48)
        text = _json({**record, "number": number})
        for place in self._places:
            try:
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not self._lock(place, job.id):
                    continue
                new = place / f"{job.id}.new"
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(text)
                new.replace(place / f"{job.id}.json")
            except OSError:
                continue
            with suppress(OSError):
                (place / f"{job.id}.lines").unlink(missing_ok=True)
            self._remove(job.id, [other for other in self._places if other != place])
            self._written[job.id] = _Written(place, number, fields, len(job.placed))
            return True
        return False

    def forget(self, name: str) -> None:
        """Remove the record of a transfer."""
        self._remove(name, self._places)
        self._written.pop(name, None)
        descriptor = self._locks.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _remove(self, name: str, places: Iterable[Path]) -> None:
        for place in places:
            for ending in _ENDINGS:
                with suppress(OSError):
                    (place / f"{name}.{ending}").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of everything, for the server that comes next."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()
        self._written.clear()

    def _lock(self, place: Path, name: str) -> bool:
        if name in self._locks:
            return True
        try:
            descriptor = os.open(
                place / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._locks[name] = descriptor
        return True


def _read(path: Path) -> Job | None:
    """Read a record; None where it is none, whoever wrote it."""
    try:
        if path.stat().st_size > _LONGEST:
            return None
        record = json.loads(path.read_text(encoding="ascii"))
        _read_lines(path.with_suffix(".lines"), record)
        return Job.from_record(record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _read_lines(path: Path, record: dict[str, Any]) -> None:
    """Bring a record up to date by the lines that were added to it."""
    with suppress(FileNotFoundError), path.open(encoding="ascii") as file:
        if os.fstat(file.fileno()).st_size > _LONGEST_LINES:
            return
        for line in file:
            try:
                changed = json.loads(line)
            except ValueError:
                continue  # it was being written as the server was killed
            if changed.pop("number") == record["number"]:
                record["placed"].extend(changed.pop("placed"))
                record.update(changed)
