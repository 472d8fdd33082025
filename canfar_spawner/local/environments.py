"""The local environments: the software of hub, proxy, pages and containers.

Standard library only, as `canfar_spawner.local.build` runs before anything is installed.
Everything is kept outside the data directory, under a digest of what it is made from.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FORMAT = "1"
"""Changed when the way of building changes, so that what was built before is not used."""
_OLDEST_NODE = 20


@dataclass(frozen=True)
class Environment:
    """One environment and what is known about building it."""

    name: str
    title: str
    size_mb: int
    """On disk, measured."""
    seconds: int
    """With an empty cache on two cores, measured."""
    sources: tuple[str, ...]
    """Files and directories of the project that it is made from."""
    requirements: tuple[str, ...] = ()
    """What is installed: requirement files of the project, or its own extras."""
    in_place: bool = False
    """Belongs to this checkout, as the project is installed editable."""


@dataclass(frozen=True)
class Status:
    """How far an environment is."""

    state: str
    """``ready``, ``building``, ``waiting``, ``failed`` or ``absent``."""
    text: str = ""
    step: int = 0
    steps: int = 0
    seconds_left: int | None = None
    size_mb: int = 0
    error: str = ""
    started_at: float = 0.0


PINS = "constraints.txt"
_NOTEBOOK = "images/notebook/requirements.txt"

ENVIRONMENTS = {
    each.name: each
    for each in (
        Environment("tools", "tools to build with", 170, 12, ()),
        Environment(
            "hub", "the hub", 180, 20, ("pyproject.toml", PINS), (".[hub,local]",), in_place=True
        ),
        Environment(
            "test",
            "the hub with its tests' tools",
            420,
            35,
            ("pyproject.toml", PINS),
            (".[hub,local,test]",),
            in_place=True,
        ),
        Environment("proxy", "the proxy", 12, 8, ("images/proxy",)),
        Environment(
            "portal",
            "the pages",
            170,
            25,
            ("package.json", "yarn.lock", ".yarnrc.yml", "canfar_spawner/portal/src"),
            in_place=True,
        ),
        Environment("notebook", "Notebook", 560, 40, (PINS, _NOTEBOOK), (_NOTEBOOK,)),
        Environment(
            "astroml",
            "AstroML",
            900,
            70,
            (PINS, _NOTEBOOK, "images/astroml/requirements.txt"),
            ("images/astroml/requirements.txt",),
        ),
        Environment(
            "casa",
            "CASA",
            2300,
            150,
            (PINS, _NOTEBOOK, "images/casa/requirements.txt"),
            ("images/casa/requirements.txt",),
        ),
    )
}


def cache() -> Path:
    """Give the directory that holds everything built."""
    chosen = os.environ.get("CANFAR_HUB_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "canfar-hub"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for entry in sorted(path.rglob("*")):
            if entry.is_file() and "node_modules" not in entry.parts:
                yield entry


def digest(name: str) -> str:
    """Give twelve hexadecimal digits of everything an environment is made from."""
    environment = ENVIRONMENTS[name]
    # Virtual environments point to their interpreter: another one needs another environment.
    base = getattr(sys, "_base_executable", sys.executable)
    parts = [_FORMAT, name, platform.python_version(), os.path.realpath(base)]
    if environment.in_place:
        parts.append(str(ROOT))
    total = hashlib.sha256("\0".join(parts).encode())
    for source in environment.sources:
        for file in _files(ROOT / source):
            total.update(f"\0{file.relative_to(ROOT)}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()[:12]


def location(name: str) -> Path:
    """Give the directory of an environment, built or not."""
    return cache() / "envs" / f"{name}-{digest(name)}"


def is_ready(name: str) -> bool:
    """Say whether an environment is built."""
    return (location(name) / ".complete").exists()


def status_file(name: str) -> Path:
    """Give the file in which a builder says how far it is."""
    return cache() / "status" / f"{name}.json"


def lock_file(name: str) -> Path:
    """Give the file whose lock a builder holds."""
    return cache() / "locks" / f"{name}.lock"


def _is_locked(name: str) -> bool:
    try:
        descriptor = os.open(lock_file(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def status(name: str) -> Status:
    """Say how far an environment is; a builder that was killed counts as failed."""
    environment = ENVIRONMENTS[name]
    if is_ready(name):
        return Status(state="ready", size_mb=environment.size_mb)
    try:
        found = Status(**json.loads(status_file(name).read_text()))
    except (OSError, ValueError, TypeError):
        return Status(state="absent", size_mb=environment.size_mb)
    if found.state == "building":
        if not _is_locked(name):
            return Status(
                state="failed",
                text="Interrupted",
                size_mb=environment.size_mb,
                error="The building was interrupted. Run `make environments` to go on.",
            )
        left = environment.seconds - (time.time() - found.started_at)
        return Status(**{**asdict(found), "seconds_left": max(5, int(left))})
    return found if found.state in ("waiting", "failed") else Status(state="absent")


def node_directory() -> Path:
    """Give the directory of a Node.js that is new enough: the machine's, else the tools' own."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        major = told.stdout.strip().lstrip("v").partition(".")[0]
        if major.isdigit() and int(major) >= _OLDEST_NODE:
            return Path(found).parent
    return location("tools") / "bin"


def node() -> str:
    """Give the Node.js to run."""
    return str(node_directory() / "node")


def proxy_command() -> list[str]:
    """Give the command that starts the proxy."""
    script = location("proxy") / "node_modules" / "configurable-http-proxy"
    return [node(), str(script / "bin" / "configurable-http-proxy")]
