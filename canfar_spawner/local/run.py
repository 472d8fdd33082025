"""``canfar-run``: the supervisor of one local session or job; standard library only.

``python -I run.py <launch directory>`` reads ``spec.json`` there, starts the program once, and
leaves nothing of it behind when it ends. A gateway before the program is started with it, and again
whenever it ends by itself. What is written down of both is read by `canfar_spawner.local.state`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

if not __package__:
    # Started by its path in isolated mode, where nothing says where the package is.
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from canfar_spawner.local import processes
from canfar_spawner.local.deadline import Deadline
from canfar_spawner.local.order import ORDER, Order, Program, read_order
from canfar_spawner.local.processes import Process
from canfar_spawner.local.state import (
    LaunchState,
    is_alive,
    read_state,
    stop,
    write_state,
)
from canfar_spawner.local.wipe import wipe

__all__ = ["MARK", "LaunchState", "Supervisor", "is_alive", "main", "read_state", "stop"]

MARK: Final = "CANFAR_LAUNCH_ID"
"""The variable by which every process of a launch is found, wherever it has gone."""

START_FAILED, BROKEN, TAKEN, HAS_ENDED, FINISHED_FOR = 1, 2, 3, 4, 5
"""Exit statuses: the program did not start; no usable spec; another supervisor has the launch;
it has ended before; an earlier supervisor was killed and this one finished for it."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_LOCK_WITHIN, _LOCK_EVERY = 1.0, 0.02
_LOOK_FIRST, _LOOK_LAST = 0.01, 0.5
_STOP_ROUNDS = 20
_AGAIN_FIRST, _AGAIN_LAST, _STEADY = 0.1, 5.0, 30.0
"""Seconds until a gateway that ended is started again, growing until it has run for the third."""
_DEFAULTS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)
_LOADER = ("LD_", "GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH")
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM}


class Supervisor:
    """Runs the program of one launch, whose lock the caller holds.

    Parameters
    ----------
    launch_dir : Path
    state : LaunchState
        How this supervisor introduces itself.
    """

    def __init__(self, launch_dir: Path, state: LaunchState) -> None:
        self._dir = launch_dir
        self._state = state
        self._mark = f"{MARK}={state.launch_id}".encode()
        self._orders = 0
        self._program: int | None = None
        self._status: int | None = None
        self._gateway: int | None = None
        self._began, self._pause = 0.0, _AGAIN_FIRST
        self._childless = self._beyond_reach = False
        self._roots = {os.getpid()}

    def write(self, **news: Any) -> None:
        """Replace the state file, so that a reader sees the old or the new one."""
        self._state = replace(self._state, **news)
        write_state(self._dir, self._state)

    def end(self, reason: str, **news: Any) -> None:
        """Write down the end and remove the order, which holds secrets."""
        self.write(phase="ended", reason=reason, ended_at=time.time(), **news)
        (self._dir / ORDER).unlink(missing_ok=True)

    def run(self, spec: Order) -> int:
        """Run the program to its end; nothing of it stays behind."""
        self.write(session=spec.session, owner=spec.owner, port=spec.port)
        deadline = Deadline(self._dir, spec.deadline)
        if not deadline.left():
            self.end("deadline", unwiped=sum(map(wipe, spec.wipe)))
            return 0
        kills_before = processes.oom_kills()
        try:
            # The gateway first: what it is told is out of sight when the program looks around.
            self._start_gateway(spec)
            self._program = self._start(spec, spec.program)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._end_all(0.0)
            words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
            self.end("start_failed", detail=str(words), unwiped=sum(map(wipe, spec.wipe)))
            return START_FAILED
        try:
            self.write(
                phase="running", program=processes.identify(self._program), started_at=time.time()
            )
            reason = self._wait(spec, deadline)
        finally:
            own_end = self._status
            self._end_all(spec.grace)
        status = self._status or 0
        killed = own_end in (-signal.SIGKILL, 128 + signal.SIGKILL)
        self.end(
            reason,
            exit_code=status if status >= 0 else None,
            signal=-status if status < 0 else None,
            out_of_memory=killed and processes.oom_kills() > kills_before,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
            unwiped=sum(map(wipe, spec.wipe)),
        )
        return 0

    def finish_for(self, lost: LaunchState | None, paths: Iterable[str]) -> int:
        """Do what a killed supervisor could not; the program is never started again."""
        if lost is not None:
            this = self._state
            for known in (lost.program, lost.gateway):
                found = known and processes.identify(known.pid)
                if found and found == known and lost.boot_id == this.boot_id:
                    self._roots.add(found.pid)
            self._state = replace(lost, supervisor=this.supervisor, boot_id=this.boot_id)
        self._end_all(0.0)
        self.end("supervisor_lost", unwiped=sum(map(wipe, paths)))
        return FINISHED_FOR

    def _start_gateway(self, spec: Order) -> None:
        if spec.gateway is not None:
            self._began = time.monotonic()
            self._gateway = self._start(spec, spec.gateway)
            self.write(gateway=processes.identify(self._gateway))

    def _see_to_gateway(self, spec: Order) -> float:
        """Start a gateway that has ended again in due time; gives how long nothing is to be done."""
        if spec.gateway is None or self._gateway is not None:
            return float("inf")
        now = time.monotonic()
        if now - self._began > _STEADY:
            self._pause = _AGAIN_FIRST
        left = self._began + self._pause - now
        if left > 0:
            return left
        self._pause = min(2 * self._pause, _AGAIN_LAST)
        try:
            self._start_gateway(spec)
        except (OSError, subprocess.SubprocessError):
            # The program runs on, and what is missing now may be back at the next attempt.
            return self._pause
        return float("inf")

    def _start(self, spec: Order, program: Program) -> int:
        user = program.user or {}
        if os.geteuid() == 0 and not user and any(key.startswith(_LOADER) for key in program.env):
            # bubblewrap and setpriv would obey these while they are still root.
            raise ValueError("a variable of the dynamic loader cannot be set by a hub of root")
        libc = ctypes.CDLL(None)
        supervisor = os.getpid()

        def become_program() -> None:
            # Runs after the change of user, which would take the first of these back.
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if user:
                libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if os.getppid() != supervisor:
                os._exit(1)
            for number in _DEFAULTS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        log = os.open(program.log, flags, 0o600)
        try:
            owner = program.log_owner or (user and [user["uid"], user["gid"]])
            if owner:
                # Programs open /dev/stderr anew, which asks for the file's own permissions.
                os.fchown(log, *owner)
            started = subprocess.Popen(
                program.argv,
                env={**program.env, MARK: spec.launch_id},
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user.get("uid"),
                group=user.get("gid"),
                extra_groups=user.get("groups"),
                umask=program.umask,
                preexec_fn=become_program,  # noqa: PLW1509 - the supervisor has one thread
            )
        finally:
            os.close(log)
        # It is waited for together with the orphans, not by this object.
        started.returncode = 0
        return started.pid

    def _rest_until(self, seconds: float) -> None:
        """Sleep until a child ends, an order comes or the time is up; bury the dead."""
        came = signal.sigtimedwait(_SIGNALS, max(0.0, seconds))
        if came is not None and came.si_signo == signal.SIGTERM:
            self._orders += 1
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._program:
                    self._status = os.waitstatus_to_exitcode(ended[1])
                elif ended[0] == self._gateway:
                    self._gateway = None
        except ChildProcessError:
            self._childless = True

    def _wait(self, spec: Order, deadline: Deadline) -> str:
        while left := deadline.left():
            self._rest_until(min(left, self._see_to_gateway(spec)))
            if self._orders:
                return "stopped"
            if self._status is not None:
                return "exited"
        return "deadline"

    def _remaining(self) -> dict[int, processes.Seen]:
        """Find what is left of the launch: what descends from it, and what processes.carries its mark."""
        seen = processes.look_at_all()
        below: dict[int, list[int]] = {}
        for pid, look in seen.items():
            below.setdefault(look.parent, []).append(pid)
        found = {pid for pid in seen if processes.carries(pid, self._mark)} | self._roots
        waiting = list(found)
        while waiting:
            fresh = [pid for pid in below.get(waiting.pop(), ()) if pid not in found]
            found.update(fresh)
            waiting += fresh
        found = (found & seen.keys()) - {os.getpid()}
        reachable = {pid: seen[pid] for pid in found if processes.reachable(pid)}
        self._beyond_reach = len(reachable) < len(found)
        return reachable

    def _end_all(self, grace: float) -> None:
        """End every process of the launch: by request first, then without asking."""
        kill_at = float("inf") if grace else 0.0
        asked: set[Process] = set()
        pause = _LOOK_FIRST
        while True:
            remaining = self._remaining()
            if not remaining:
                self._rest_until(0)
                # What forks and exits may escape a look, but as an orphan it is this one's child.
                if self._childless or self._beyond_reach:
                    return
            elif self._orders > 1 or time.monotonic() >= kill_at:
                self._kill(remaining)
            else:
                # The sandbox's outer end would take the program along before it has tidied up.
                fresh = {
                    pid: look.process
                    for pid, look in remaining.items()
                    if look.process not in asked
                    and not (
                        pid in (self._program, self._gateway)
                        and processes.holds_namespace(pid, remaining)
                    )
                }
                processes.send(sorted(fresh, key=lambda pid: pid != self._program), signal.SIGTERM)
                asked.update(fresh.values())
                kill_at = min(kill_at, time.monotonic() + grace)
            self._rest_until(pause)
            pause = min(2 * pause, _LOOK_LAST)

    def _kill(self, remaining: dict[int, processes.Seen]) -> None:
        """Stop all first, so that none forks while the others are killed, then kill."""
        stopped, groups = set[int](), set[int]()
        for _ in range(_STOP_ROUNDS):
            fresh = remaining.keys() - stopped
            if not fresh:
                break
            processes.send(fresh, signal.SIGSTOP)
            stopped |= fresh
            groups |= {remaining[pid].group for pid in fresh}
            remaining = self._remaining()
        if self._program is not None:
            # The program began a session, so no group of a descendant reaches beyond the launch;
            # a group is signalled at once, which also meets a process that forks and exits.
            for group in groups - {os.getpgrp()}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
        processes.send(stopped | remaining.keys(), signal.SIGKILL)


def _lock(launch_dir: Path) -> int | None:
    """Take the lock for as long as this process lives; None where another has it."""
    lock = os.open(launch_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LOCK_WITHIN
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A hub that looks whether it is taken holds it for an instant.
            if time.monotonic() >= until:
                os.close(lock)
                return None
            time.sleep(_LOCK_EVERY)
        else:
            return lock


def _detach() -> None:
    """Become a session of its own that adopts orphans and hears two signals only when it asks."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # Where a parent ignored it, the kernel would bury children before their status is read.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with contextlib.suppress(PermissionError):
        os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir("/")
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _supervise(launch_dir: Path) -> int:
    """Run the launch if nobody has before, else see that it has ended; the lock is held."""
    try:
        before = read_state(launch_dir)
        begun = before is not None
    except ValueError:
        # Something has run, so the program may not be started again.
        before, begun = None, True
    if before is not None and before.phase == "ended":
        # The earlier supervisor may have been killed between its last two steps.
        (launch_dir / ORDER).unlink(missing_ok=True)
        return HAS_ENDED
    spec, problem = None, ""
    try:
        spec = read_order(launch_dir)
    except ValueError as error:
        problem = str(error)
    known = before or spec
    itself = processes.identify(os.getpid())
    assert itself is not None  # noqa: S101 - this process runs
    supervisor = Supervisor(
        launch_dir,
        LaunchState(
            phase="starting",
            launch_id=known.launch_id if known else launch_dir.name,
            supervisor=itself,
            boot_id=processes.boot_id(),
            at=time.time(),
        ),
    )
    if begun:
        return supervisor.finish_for(before, spec.wipe if spec else ())
    if spec is None:
        supervisor.end("start_failed", detail=problem)
        return BROKEN
    return supervisor.run(spec)


def main(argv: list[str]) -> int:
    """Supervise the launch in the directory that is the only argument."""
    if len(argv) != 1:
        sys.stderr.write("usage: canfar-run <launch directory>\n")
        return BROKEN
    launch_dir = Path(argv[0]).resolve()
    try:
        lock = _lock(launch_dir)
    except OSError as error:
        sys.stderr.write(f"canfar-run: {error.filename}: {error.strerror}\n")
        return BROKEN
    if lock is None:
        return TAKEN
    _detach()
    return _supervise(launch_dir)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
