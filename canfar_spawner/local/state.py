"""What a launch's directory tells: its state file, its lock, its end; standard library only.

The exclusive lock on ``lock`` is the proof of life: a pid alone proves nothing, since pids are
used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from canfar_spawner.local import processes
from canfar_spawner.local.processes import Process
from canfar_spawner.local.wipe import wipe
from canfar_spawner.replacing import replace_file

QUEUED: Final = "queued"
"""The file that marks an order as one that waits for its turn."""
ENDS: Final = "ends"
"""The file with the end that a launch has been promised since its order was written."""


@dataclass(frozen=True)
class LaunchState:
    """What a supervisor has written down of its launch; never a secret."""

    phase: str
    """``starting``, ``running`` or ``ended``."""
    launch_id: str
    supervisor: Process
    boot_id: str
    at: float
    """When the supervisor began."""
    session: str = ""
    owner: str = ""
    port: int | None = None
    program: Process | None = None
    gateway: Process | None = None
    """What stands before the program, where something does."""
    started_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    """``exited``, ``stopped``, ``deadline``, ``start_failed`` or ``supervisor_lost``."""
    detail: str | None = None
    out_of_memory: bool = False
    peak_memory_bytes: int | None = None
    unwiped: int = 0
    """How many paths could not be removed."""
    ended_at: float | None = None

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's pid; only `is_alive` says whether it is still its own."""
        return self.supervisor.pid


def read_state(launch_dir: Path) -> LaunchState | None:
    """Read what a supervisor has written down; None where none has begun.

    Raises
    ------
    OSError
        It is there and cannot be read.
    ValueError
        It is not what a supervisor writes.
    """
    try:
        content = json.loads((launch_dir / "state.json").read_text())
    except FileNotFoundError:
        return None
    try:
        for name in ("program", "gateway"):
            if content.get(name):
                content[name] = Process(**content[name])
        return LaunchState(supervisor=Process(**content.pop("supervisor")), **content)
    except (TypeError, KeyError, AttributeError):
        raise ValueError(f"{launch_dir}/state.json is not a supervisor's") from None


def is_alive(launch_dir: Path) -> bool:
    """Say whether a supervisor holds the lock of a launch; never makes the file.

    Raises
    ------
    OSError
        The lock cannot be looked at, so nothing is known.
    """
    try:
        lock = os.open(launch_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # Not left to close: a process being forked right now would keep the lock for a moment.
        fcntl.flock(lock, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def stop(launch_dir: Path) -> bool:
    """Ask the supervisor of a launch to end it; a second time skips the grace.

    Returns
    -------
    bool
        Whether there was one to ask. A later process with the same pid is never signalled.
    """
    state = read_state(launch_dir)
    if state is None or state.phase == "ended" or state.boot_id != processes.boot_id():
        return False
    seen = processes.look_at(state.supervisor.pid)
    if seen is None or seen.process != state.supervisor:
        return False
    try:
        os.kill(state.supervisor.pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True


def write_state(launch_dir: Path, state: LaunchState) -> None:
    """Replace the state file, so that a reader sees the old or the new one."""
    replace_file(launch_dir / "state.json", json.dumps(asdict(state)), mode=0o644)


def read_ends(launch_dir: Path) -> float | None:
    """Read the end that was promised later than by the order; None where there was none.

    Raises
    ------
    OSError, ValueError
        It is there and cannot be read.
    """
    try:
        return float((launch_dir / ENDS).read_text())
    except FileNotFoundError:
        return None


def call_off(launch_dir: Path, *, owner: str, session: str, paths: Sequence[str]) -> bool:
    """Take an order back that nobody has begun to carry out, and write down that it was.

    Parameters
    ----------
    launch_dir : Path
    owner, session : str
        Whose it is.
    paths : sequence of str
        What is to be wiped.

    Returns
    -------
    bool
        Whether it was still to be had: a supervisor that has the lock carries it out.
    """
    lock = os.open(launch_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if read_state(launch_dir) is not None:
            return False
        itself = processes.identify(os.getpid())
        assert itself is not None  # noqa: S101 - this process runs
        now = time.time()
        ended = LaunchState(
            phase="ended",
            launch_id=launch_dir.name,
            supervisor=itself,
            boot_id=processes.boot_id(),
            at=now,
            session=session,
            owner=owner,
            reason="stopped",
            ended_at=now,
            unwiped=sum(map(wipe, paths)),
        )
        write_state(launch_dir, ended)
        for name in ("spec.json", QUEUED):
            with contextlib.suppress(FileNotFoundError):
                (launch_dir / name).unlink()
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)
