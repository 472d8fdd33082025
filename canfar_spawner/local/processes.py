"""What ``/proc`` says of processes, for the supervisor; standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start_ticks: int


@dataclass(frozen=True)
class Seen:
    """A process as one look at ``/proc`` shows it."""

    process: Process
    parent: int
    group: int


def boot_id() -> str:
    """Give the id of this boot: pids and start times mean nothing beyond it."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _fields(pid: int) -> list[bytes]:
    """Give what follows the name in a process's line; nothing where it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def identify(pid: int) -> Process | None:
    """Say which process has a pid now, even one that only waits to be buried."""
    fields = _fields(pid)
    return Process(pid, int(fields[19])) if fields else None


def look_at(pid: int) -> Seen | None:
    """Look at a process; None where none lives."""
    fields = _fields(pid)
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return Seen(Process(pid, int(fields[19])), int(fields[1]), int(fields[2]))


def look_at_all() -> dict[int, Seen]:
    """Look at every living process, by pid."""
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (seen := look_at(int(entry.name))):
            found[seen.process.pid] = seen
    return found


def carries(pid: int, mark: bytes) -> bool:
    """Say whether a process was started with a variable; no where that cannot be read."""
    try:
        return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def holds_namespace(pid: int, seen: Mapping[int, Seen]) -> bool:
    """Say whether a process is the outer end of a sandbox: its child is a namespace's first."""
    for child, look in seen.items():
        if look.parent == pid:
            with contextlib.suppress(OSError):
                for line in (_PROC / str(child) / "status").read_text().splitlines():
                    name, *pids = line.split() or [""]
                    if name == "NSpid:" and len(pids) > 1 and pids[-1] == "1":
                        return True
    return False


def oom_kills() -> int:
    """Count what the kernel killed for want of memory in this control group, else on the host."""
    candidates = []
    with contextlib.suppress(OSError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                candidates.append(Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control"))
            elif not controllers:
                candidates.append(Path(f"/sys/fs/cgroup{path}/memory.events"))
    for candidate in (*candidates, _PROC / "vmstat"):
        with contextlib.suppress(OSError):
            for line in candidate.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes, as far as they are there."""
    for pid in pids:
        # What runs as another user cannot be signalled, and is not this launch's any more.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reachable(pid: int) -> bool:
    """Say whether this process may signal another."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
