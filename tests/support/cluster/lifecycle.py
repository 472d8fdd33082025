"""Starting a test cluster, ending it, and telling how it is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from canfar_spawner.local.environments import cache
from tests.support.cluster.cluster import (
    NODE,
    Cluster,
    default_run_directory,
    second_run_directory,
    short_name,
    tests_run_directory,
)
from tests.support.cluster.configuration import cni_directory
from tests.support.cluster.programs import CLUSTER, ClusterError, Report, locked, prepare

ROOT = Path(__file__).resolve().parents[3]
_INSIDE = "tests.support.cluster.inside"
_CGROUPS = Path("/sys/fs/cgroup")
_LOOK_EVERY = 0.05
_LONGEST_START = 150.0
_LONGEST_END = 20.0
_LONGEST_PATH = 70
"""The kernel allows 107 bytes for the path of a socket, and some lie deeper."""
_COMMANDS = {"runc": "runc", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}


def _processes(run: Path) -> list[int]:
    """Give the first processes of the cluster of a run directory: unshare, and what it runs."""
    wanted = f"\0{_INSIDE}\0{run}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def _cgroups(run: Path) -> list[Path]:
    """Give the control groups of a cluster, in every hierarchy of the machine."""
    hierarchies = [each for each in _CGROUPS.iterdir() if each.is_dir() and not each.is_symlink()]
    unified = (_CGROUPS / "cgroup.controllers").exists()
    return [each / short_name(run) for each in ([_CGROUPS] if unified else hierarchies)]


def _remove_cgroups(run: Path) -> bool:
    """Remove a cluster's control groups; tells whether all are gone."""
    for top in _cgroups(run):
        for directory, _names, _files in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
    return not any(top.exists() for top in _cgroups(run))


def _wait(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True


def _end(run: Path) -> bool:
    """End a cluster and take away what a killed one leaves; tells whether one ran."""
    found = _processes(run)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not _wait(lambda: not _processes(run), _LONGEST_END):
        raise ClusterError(f"The processes {found} of the test cluster do not end.")
    if not _wait(lambda: _remove_cgroups(run), _LONGEST_END):
        raise ClusterError(
            f"Control groups of the test cluster stay: {_cgroups(run)[0]} and others."
        )
    for name in ("ready", "failed", "pid"):
        (run / name).unlink(missing_ok=True)
    return bool(found)


def _is_healthy(run: Path) -> bool:
    """Tell whether a cluster runs and can start pods."""
    try:
        node = Cluster.load(run).kubectl(
            *("get", "node", NODE, "--request-timeout=5s"),
            *("-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"),
            seconds=10,
        )
    except (ClusterError, subprocess.TimeoutExpired):
        return False
    return node == "True"


def _check(run: Path) -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "The test cluster needs root (namespaces, mounts, control groups). Run it with sudo:"
            " sudo make cluster"
        )
    path = f"/usr/sbin:/sbin:{os.environ.get('PATH', os.defpath)}"
    lacking = {
        package for name, package in _COMMANDS.items() if shutil.which(name, path=path) is None
    }
    if lacking:
        raise ClusterError(
            f"The test cluster needs {', '.join(sorted(lacking))}. On Debian or Ubuntu:"
            " apt-get install --no-install-recommends $(cat packages-cluster.txt)"
        )
    cni_directory()
    if len(str(run)) > _LONGEST_PATH:
        raise ClusterError(
            f"{run} is too long a path for the cluster's sockets; choose a shorter one."
        )


def _launch(run: Path) -> subprocess.Popen[bytes]:
    kept = run in (
        default_run_directory(),
        tests_run_directory(),
        second_run_directory(),
    )
    # Content of the default cluster stays, so that images are not pulled again at each start.
    containerd = (cache() / "cluster" / "kept" if kept else run) / f"containerd-{run.name}"
    registry = cache() / "cluster" / "registry"
    for directory in (run / "log", run / "arc", containerd, registry):
        directory.mkdir(parents=True, exist_ok=True)
    for group in _cgroups(run):
        group.mkdir(exist_ok=True)
    command = [
        *("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"),
        *("--kill-child=SIGKILL", sys.executable, "-m", _INSIDE),
        *(str(run), str(containerd), str(registry), short_name(run)),
    ]
    with (run / "log" / "inside.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _follow(run: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a start."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def looked() -> bool:
        if not (run / "pid").exists():
            with contextlib.suppress(OSError):
                first = children.read_text().split()
                if first:
                    (run / "pid").write_text(f"{first[0]}\n")
        return (run / "ready").exists() or process.poll() is not None

    if not _wait(looked, _LONGEST_START):
        raise ClusterError(
            f"The test cluster did not start in {_LONGEST_START:.0f} s; see {run}/log."
        )
    if not (run / "ready").exists():
        failed = run / "failed"
        why = failed.read_text() if failed.exists() else f"see {run}/log/inside.log"
        raise ClusterError(f"The test cluster did not start: {why}")


def up(run: Path, report: Report) -> Cluster:
    """Start the cluster of a run directory unless it runs, and give it.

    Raises
    ------
    ClusterError
        It cannot be had; says why.
    """
    _check(run)
    prepare(CLUSTER, report)
    with locked(short_name(run), report):
        if _processes(run):
            if _is_healthy(run):
                report(f"the test cluster runs; {run}")
                return Cluster.load(run)
            report("a test cluster is there but does not answer: replacing it")
        _end(run)
        if run.exists():
            shutil.rmtree(run)
        run.mkdir(parents=True, mode=0o700)
        report("starting the test cluster")
        try:
            _follow(run, _launch(run))
        except BaseException:
            failed = run / "failed"
            why = failed.read_text() if failed.exists() else ""
            _end(run)
            if why:
                failed.write_text(why)
            raise
        seconds = (run / "ready").read_text().strip()
        report(f"the test cluster is ready after {seconds} s; {run}")
        return Cluster.load(run)


def down(run: Path, report: Report) -> None:
    """End the cluster of a run directory and take away what it left."""
    _check(run)
    with locked(short_name(run), report):
        report("the test cluster is ended" if _end(run) else "no test cluster runs")


def status(run: Path) -> str:
    """Say how the cluster of a run directory is."""
    if not _processes(run):
        failed = run / "failed"
        return f"no test cluster runs{f': {failed.read_text()}' if failed.exists() else ''}"
    if not (run / "ready").exists():
        return "the test cluster is starting"
    if not _is_healthy(run):
        return f"the test cluster does not answer; see {run}/log. `make cluster` replaces it."
    return f"the test cluster runs; {run}"
