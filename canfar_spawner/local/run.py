"""``canfar-run``: the supervisor of one local session or job; standard library only.

``python -I run.py <launch directory>`` reads ``spec.json`` there, starts the program, and sees to
it that nothing of it is left when it ends. The exclusive lock on ``lock`` is the proof of life: a
pid alone proves nothing, since pids are used again.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

MARK = "CANFAR_LAUNCH_ID"
"""The variable that marks every process of a launch."""

TAKEN, HAS_RUN, CLEANED, BROKEN = 3, 4, 5, 2
"""Exit statuses: another supervisor has it; it has ended; its supervisor was lost; no spec."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LOOK_EVERY = 0.05
_UNKILLABLE = 20.0
"""Seconds after which a process that survives SIGKILL, stuck in the kernel, is left alone."""
_PROC = Path("/proc")


@dataclass(frozen=True)
class LaunchState:
    """What a supervisor has written down of its launch."""

    phase: str
    """``starting``, ``running`` or ``ended``."""
    launch_id: str
    supervisor_pid: int
    supervisor_ticks: int
    boot_id: str
    port: int | None = None
    program_pid: int | None = None
    started_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    """``exited``, ``stopped``, ``deadline``, ``start_failed`` or ``supervisor_lost``."""
    detail: str | None = None
    out_of_memory: bool = False
    peak_memory_bytes: int | None = None
    unwiped: int = 0
    ended_at: float | None = None


def read_state(launch: Path) -> LaunchState | None:
    """Read what was written down; None where nothing was.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is not what a supervisor writes.
    """
    try:
        content = json.loads((launch / "state.json").read_text())
    except FileNotFoundError:
        return None
    try:
        return LaunchState(**content)
    except TypeError as error:
        raise ValueError(f"{launch}/state.json: {error}") from None


def is_alive(launch: Path) -> bool:
    """Say whether a supervisor holds the lock of a launch; never makes the file.

    Raises
    ------
    OSError
        The lock cannot be looked at.
    """
    try:
        descriptor = os.open(launch / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    """Give when a process started, in ticks since boot; None where there is none."""
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def stop(launch: Path) -> bool:
    """Ask the supervisor of a launch to end it; says whether there was one to ask."""
    state = read_state(launch)
    if state is None or state.phase == "ended" or not is_alive(launch):
        return False
    same = state.boot_id == _boot_id() and _start_ticks(state.supervisor_pid) == state.supervisor_ticks
    if same:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.supervisor_pid, signal.SIGTERM)
            return True
    return False


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in (_PROC / str(pid) / "task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = [child for child in _children(waiting.pop()) if child not in found]
        found.update(children)
        waiting += children
    return found


def _marked(launch_id: str) -> set[int]:
    """Find every process that carries the mark of a launch, wherever it has gone."""
    mark = f"{MARK}={launch_id}".encode()
    found = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found - {os.getpid()}


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _wipe(path: Path) -> int:
    """Remove a tree without following a link out of it; gives how much could not be removed."""
    left = 0

    def again(function: Any, name: str, _error: object) -> None:
        nonlocal left
        parent = os.path.dirname(name)
        for directory in (parent, name):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.lstat(directory).st_mode):
                    os.chmod(directory, 0o700)  # noqa: S103 - the owner alone
        try:
            if function in (os.rmdir, os.unlink):
                function(name)
            else:
                shutil.rmtree(name)
        except FileNotFoundError:
            return
        except OSError:
            left += 1

    if path.is_symlink():
        path.unlink()
    elif path.exists():
        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=again)
        else:
            shutil.rmtree(path, onerror=again)
    return left


class Supervisor:
    """Runs the program of one launch.

    Parameters
    ----------
    launch : Path
        The directory of the launch.
    lock : int
        The descriptor that holds its lock.
    """

    def __init__(self, launch: Path, lock: int) -> None:
        self.launch = launch
        self._lock = lock
        self._program: subprocess.Popen[bytes] | None = None
        self._orders = 0
        self._state: dict[str, Any] = {
            "phase": "starting",
            "launch_id": launch.name,
            "supervisor_pid": os.getpid(),
            "supervisor_ticks": _start_ticks(os.getpid()),
            "boot_id": _boot_id(),
        }

    def _write(self, **news: object) -> None:
        self._state.update(news)
        partial = self.launch / "state.new"
        with partial.open("w") as file:
            json.dump(self._state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(self.launch / "state.json")

    def _end(self, reason: str, **news: object) -> None:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._write(
            phase="ended",
            reason=reason,
            ended_at=time.time(),
            peak_memory_bytes=usage.ru_maxrss * 1024,
            **news,
        )
        (self.launch / "spec.json").unlink(missing_ok=True)

    def _order(self, _number: int, _frame: FrameType | None) -> None:
        self._orders += 1

    def clean_up_after(self, spec: dict[str, Any]) -> int:
        """Finish for a supervisor that was killed: the program is never started again."""
        self._kill_rest(grace=0)
        unwiped = sum(_wipe(Path(path)) for path in spec.get("wipe", []))
        self._end("supervisor_lost", unwiped=unwiped)
        return CLEANED

    def run(self, spec: dict[str, Any]) -> int:
        """Run the program to its end and see that nothing stays behind."""
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._order)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._write(port=spec.get("port"))
        try:
            self._program = self._start(spec, libc)
        except OSError as error:
            self._finish("start_failed", spec, detail=f"{error.filename}: {error.strerror}")
            return 1
        self._write(phase="running", program_pid=self._program.pid, started_at=time.time())
        reason = self._wait(spec.get("deadline"))
        self._kill_rest(grace=0 if reason == "exited" else float(spec.get("grace", 10)))
        status = self._program.poll()
        ended = {
            "exit_code": status if status is not None and status >= 0 else None,
            "signal": -status if status is not None and status < 0 else None,
        }
        self._finish(reason, spec, **ended)
        return 0

    def _finish(self, reason: str, spec: dict[str, Any], **news: object) -> None:
        unwiped = sum(_wipe(Path(path)) for path in spec.get("wipe", []))
        self._end(reason, unwiped=unwiped, **news)

    def _start(self, spec: dict[str, Any], libc: ctypes.CDLL) -> subprocess.Popen[bytes]:
        user = spec.get("user") or {}
        umask = spec.get("umask")
        log = os.open(
            spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )

        def before_exec() -> None:
            # Runs after the change of user, which would clear it.
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        try:
            return subprocess.Popen(
                spec["argv"],
                env=spec["env"],
                cwd=spec.get("cwd"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user.get("uid"),
                group=user.get("gid"),
                extra_groups=user.get("groups"),
                umask=-1 if umask is None else umask,
                preexec_fn=before_exec,  # noqa: PLW1509 - the supervisor has one thread
            )
        finally:
            os.close(log)

    def _wait(self, deadline: float | None) -> str:
        assert self._program is not None  # noqa: S101 - set by the only caller
        while self._program.poll() is None:
            if self._orders:
                return "stopped"
            if deadline is not None and time.time() >= deadline:
                return "deadline"
            self._reap()
            time.sleep(_LOOK_EVERY)
        return "exited"

    def _reap(self) -> None:
        """Bury orphans that were given to this process; the program itself is Popen's."""
        for child in _children(os.getpid()):
            if self._program is None or child != self._program.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child, os.WNOHANG)
        if self._program is not None:
            self._program.poll()

    def _rest(self) -> set[int]:
        alive = _descendants(os.getpid()) | _marked(self.launch.name)
        return {pid for pid in alive if not _is_zombie(pid)}

    def _kill_rest(self, *, grace: float) -> None:
        """End every process of the launch: by request first, then without asking."""
        until = time.monotonic() + grace
        orders = self._orders
        if grace:
            # Each once: a program that saves its state at the first must not get a second.
            _send(self._rest(), signal.SIGTERM)
        while (rest := self._rest()) and time.monotonic() < until + _UNKILLABLE:
            if time.monotonic() >= until or self._orders > orders:
                _send(rest, signal.SIGKILL)
            self._reap()
            time.sleep(_LOOK_EVERY)
        self._reap()


def _is_zombie(pid: int) -> bool:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True


def main(argv: list[str]) -> int:
    """Supervise the launch in the directory that is the only argument."""
    if len(argv) != 1:
        sys.stderr.write("usage: canfar-run <launch directory>\n")
        return BROKEN
    launch = Path(argv[0]).resolve()
    lock = os.open(launch / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return TAKEN
    if os.getsid(0) != os.getpid():
        with contextlib.suppress(PermissionError):
            os.setsid()
    supervisor = Supervisor(launch, lock)
    before = read_state(launch)
    if before is not None and before.phase == "ended":
        return HAS_RUN
    try:
        spec = json.loads((launch / "spec.json").read_text())
        if not isinstance(spec, dict) or not spec.get("argv"):
            raise ValueError("no argv")
    except (OSError, ValueError) as error:
        supervisor._end("start_failed", detail=f"spec.json: {type(error).__name__}")  # noqa: SLF001
        return BROKEN
    return supervisor.clean_up_after(spec) if before is not None else supervisor.run(spec)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
