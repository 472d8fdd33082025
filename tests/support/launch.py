"""A launch of the supervisor as a real process, run by and for different users."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from canfar_spawner.local import run
from tests.support.hub import wait_for

NOBODY = 65534
SECRET = "hunter2-never-in-a-state-file"
_PARTS = ("__init__", "run", "deadline", "order", "processes", "state", "wipe")
_CODE = ("__init__.py", "replacing.py", *(f"local/{name}.py" for name in _PARTS))
PACKAGE = Path(run.__file__).parents[1]


def alive(pid: int) -> bool:
    """Say whether a process lives; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def status_of(pid: int | str) -> dict[str, str]:
    """Give the fields of a process's status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@cache
def public_python() -> str | None:
    """Find a Python that is new enough and that any user may run."""
    for candidate in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        try:
            trial = subprocess.run(
                [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
                user=NOBODY if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
                stderr=subprocess.DEVNULL,
                cwd="/",
                check=False,
            )
        except OSError:
            continue
        if trial.returncode == 0:
            return candidate
    return None


@dataclass
class Launch:
    """One launch: what the hub writes for it, and its supervisor."""

    base: Path
    supervisor_user: int | None = None
    """Whom the supervisor runs as, where not as these tests."""
    program_user: int | None = None
    """Whom the supervisor is told to become for the program."""
    wrapper: tuple[str, ...] = ()
    """What starts the supervisor, where not these tests themselves."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the directories, as the hub does."""
        self.base.mkdir(mode=0o755)
        for name in _CODE:
            copied = self.base / "code" / PACKAGE.name / name
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACKAGE / name, copied)
        for path in (self.directory, self.scratch):
            path.mkdir(mode=0o755)
        if self.supervisor_user is not None:
            for path in (self.base, self.directory):
                os.chown(path, self.supervisor_user, self.supervisor_user)
        owner = self.program_user if self.program_user is not None else self.supervisor_user
        if owner is not None:
            os.chown(self.scratch, owner, owner)

    @property
    def directory(self) -> Path:
        """The directory that the supervisor is given; no other run of the tests has its name."""
        return self.base / f"of-{self.base.parent.name}"

    @property
    def scratch(self) -> Path:
        """The directory that is wiped; the program starts there."""
        return self.base / "scratch"

    @property
    def log(self) -> str:
        """What the program wrote."""
        return (self.directory / "session.log").read_text()

    @property
    def state(self) -> run.LaunchState:
        """What the supervisor wrote down."""
        found = run.read_state(self.directory)
        assert found is not None
        return found

    def script(self, name: str, text: str) -> str:
        """Write a shell script that every user may run."""
        path = self.base / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    def told(self, name: str) -> int:
        """Wait until the program writes a number under a name into its log, and give that."""
        found: str = wait_for(
            lambda: [line for line in self.log.splitlines() if line.startswith(f"{name}=")],
            f"the program to tell {name}",
        )[-1]
        return int(found.partition("=")[2])

    def order(self, *argv: str, **changes: Any) -> None:
        """Write down what is to be run."""
        user = self.program_user
        spec = {
            "launch_id": self.directory.name,
            "session": "s1",
            "owner": "ada",
            "argv": list(argv),
            "env": {"PATH": "/usr/bin:/bin", "TOKEN": SECRET},
            "cwd": str(self.scratch),
            "log": str(self.directory / "session.log"),
            "user": None if user is None else {"uid": user, "gid": user, "groups": [4001, 4002]},
            "umask": None,
            "grace": 60.0,
            "wipe": [str(self.scratch)],
            "port": 1234,
            "deadline": None,
            **changes,
        }
        path = self.directory / "spec.json"
        path.write_text(json.dumps(spec))
        path.chmod(0o600)
        if self.supervisor_user is not None:
            os.chown(path, self.supervisor_user, self.supervisor_user)

    def begin(self) -> subprocess.Popen[bytes]:
        """Start a supervisor."""
        other = self.supervisor_user
        python = public_python() if other is not None else sys.executable
        assert python is not None
        code = self.base / "code" / PACKAGE.name / "local" / "run.py"
        process = subprocess.Popen(
            [*self.wrapper, python, "-I", "-B", str(code), str(self.directory)],
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            user=other,
            group=other,
            extra_groups=[] if other is not None else None,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self) -> int:
        """Run a supervisor to its end and give its exit status."""
        return self.begin().wait(timeout=60)

    def running(self) -> subprocess.Popen[bytes]:
        """Start a supervisor and wait until its program says that it is ready, in its log."""
        process = self.begin()
        path = self.directory / "session.log"
        wait_for(
            lambda: (path.exists() and "ready\n" in path.read_text()) or process.poll() is not None,
            "the program to be ready",
        )
        assert process.poll() is None, f"ended: {self.state}"
        wait_for(lambda: self.state.phase == "running", "the state to say so")
        return process

    def clear(self) -> None:
        """End what a failed test left."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        mark = f"{run.MARK}={self.directory.name}\0".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    ours = mark in (entry / "environ").read_bytes()
                    here = (entry / "cwd").readlink().is_relative_to(self.base)
                except OSError:
                    continue
                if ours and here:
                    os.kill(int(entry.name), signal.SIGKILL)
