"""What a session tells the session manager of itself, several times a minute."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_LOOK_FOR = 1.0
"""Seconds that counting scratch files may take."""
_GLANCE = 256
"""How many entries are counted between two looks at the clock."""


def activity(last: datetime | None) -> str:
    """Write when something was last done; a time without a zone is UTC."""
    at = last or datetime.now(UTC)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def busy_kernels(kernels: Any) -> int:
    """Count the kernels that compute."""
    return sum(model.get("execution_state") == "busy" for model in kernels.list_kernels())


def shells(terminals: Any) -> frozenset[int]:
    """Give the process ids of the terminals' shells."""
    open_ = getattr(terminals, "terminals", None) or {}
    pids = (getattr(terminal.ptyproc, "pid", None) for terminal in list(open_.values()))
    return frozenset(pid for pid in pids if pid)


def busy_shells(pids: frozenset[int], proc: Path = Path("/proc")) -> int:
    """Count the shells that have started something which still runs."""
    if not pids:
        return 0
    busy = set()
    for entry in _numbered(proc):
        try:
            # The name of a program may hold anything; what follows it begins at the last bracket.
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if len(fields) > 1 and int(fields[1]) in pids and fields[0] != b"Z":
            busy.add(int(fields[1]))
    return len(busy)


def _numbered(proc: Path) -> Iterable[Path]:
    try:
        return [entry for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def scratch(directory: str, *, seconds: float = _LOOK_FOR) -> dict[str, object] | None:
    """Count files and their bytes below a directory, for so long at most.

    Returns
    -------
    dict or None
        ``complete`` is false where there was not enough time, and then the numbers are the
        least there is. None without a directory.
    """
    if not directory or not Path(directory).is_dir():
        return None
    deadline = time.monotonic() + seconds
    files = size = seen = 0
    complete = True
    left = [directory]
    while left and complete:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen % _GLANCE == 0 and time.monotonic() > deadline:
                        complete = False
                        break
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                        continue
                    files += 1
                    size += _size(entry)
        except OSError:
            # A directory that was removed meanwhile, or may not be read.
            continue
    return {"files": files, "bytes": size, "complete": complete}


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
