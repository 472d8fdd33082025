"""What a desktop is made of, without a hub: sockets, processes, its menu, and a home that is full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.support.hub import ROOT, wait_for
from tests.support.launch import alive
from tests.support.processes import below, listening_tcp

PROGRAM = ROOT / "images" / "desktop" / "canfar_desktop.py"


class Started:
    """A desktop that runs."""

    def __init__(self, place: Path, **variables: str) -> None:
        self.place = place
        self.socket = place / "app.sock"
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, self.socket],
            env=os.environ | {"JUPYTER_RUNTIME_DIR": str(place)} | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(place / "log").open("w"),
        )

    def until_there(self) -> Path:
        """Wait for window manager and panel; gives the desktop's own directory."""

        def there() -> list[Path]:
            assert self.process.poll() is None, (self.place / "log").read_text()
            found = [path.parent for path in self.place.glob("desktop-*/tint2rc")]
            return found if {"openbox", "tint2"} <= set(self.programs().values()) else []

        found: list[Path] = wait_for(there, "the desktop")
        return found[0]

    def programs(self) -> dict[int, str]:
        """Give what runs in it, by process."""
        return below(self.process.pid)


@pytest.fixture
def desktop(tmp_path: Path, need: Need) -> Iterator[Callable[..., Started]]:
    """Start desktops, of which nothing stays."""
    missing = [
        name for name in ("Xtigervnc", "openbox", "tint2", "xdpyinfo") if not shutil.which(name)
    ]
    need("desktop", not missing, f"see packages.txt: {', '.join(missing)} missing")
    started: list[Started] = []

    def start(**variables: str) -> Started:
        # Paths of sockets are short.
        started.append(Started(Path(tmp_path), **variables))
        return started[-1]

    yield start
    for each in started:
        each.process.terminate()
        each.process.wait(timeout=30)


def _display(started: Started) -> str:
    """Give the display, as the desktop's programs know it."""
    panel = next(pid for pid, name in started.programs().items() if name == "tint2")
    told = Path(f"/proc/{panel}/environ").read_bytes().decode().split("\0")
    return next(line for line in told if line.startswith("DISPLAY=")).removeprefix("DISPLAY=")


def test_it_has_no_port_and_ends_with_all_that_runs_in_it(
    desktop: Callable[..., Started], tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    # As a person's own program may: a process of its own session that nobody waits for.
    (programs / "dbus-daemon").write_text("#!/bin/sh\nsetsid --fork sleep 1000\nexec sleep 1001\n")
    (programs / "dbus-daemon").chmod(0o755)
    started = desktop(HOME=str(tmp_path), PATH=f"{programs}:{os.environ['PATH']}")
    run = started.until_there()
    assert started.socket.stat().st_mode & 0o777 == 0o600
    assert run.stat().st_mode & 0o077 == 0
    wait_for(lambda: [*started.programs().values()].count("sleep") == 2, "both sleepers")
    running = started.programs()
    assert not {pid: listening_tcp(pid) for pid in running if listening_tcp(pid)}
    server = next(pid for pid, name in running.items() if name.startswith("Xtigervnc"))
    stranger = subprocess.run(
        ["xdpyinfo"],
        env=os.environ | {"DISPLAY": _display(started), "XAUTHORITY": "/dev/null"},
        capture_output=True,
        check=False,
    )
    assert stranger.returncode != 0, "nobody speaks to the X server without its secret"
    panel = next(pid for pid, name in running.items() if name == "tint2")
    os.kill(panel, 9)
    wait_for(
        lambda: any(name == "tint2" and pid != panel for pid, name in started.programs().items()),
        "the panel to be there again",
    )
    running = started.programs()
    os.kill(server, 15)
    assert started.process.wait(timeout=60) == 0
    assert not {pid: name for pid, name in running.items() if alive(pid)}
    assert not run.exists()
    assert not started.socket.exists()


def test_a_home_that_takes_nothing_is_no_reason_not_to_start(
    desktop: Callable[..., Started],
) -> None:
    started = desktop(HOME="/proc/self")
    run = started.until_there()
    panel = next(pid for pid, name in started.programs().items() if name == "tint2")
    told = Path(f"/proc/{panel}/environ").read_bytes().split(b"\0")
    assert f"XDG_CONFIG_HOME={run}/xdg_config_home".encode() in told


def test_the_menu_has_what_is_installed(desktop: Callable[..., Started], tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("topcat", "casa"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    project, scratch = tmp_path / "M 31, <deep>", tmp_path / "scratch"
    project.mkdir()
    scratch.mkdir()
    run = desktop(
        HOME=str(tmp_path),
        PATH=f"{programs}:{os.environ['PATH']}",
        CANFAR_PROJECTS_DIR=str(project),
        CANFAR_SCRATCH=str(scratch),
    ).until_there()
    lines = (run / "menu.csv").read_text().splitlines()
    titles = [line.split(",")[0] for line in lines]
    assert titles.index("^sep(Astronomy)") < titles.index("TOPCAT") < titles.index("CASA")
    assert ("SAOImage DS9" in titles) == bool(shutil.which("ds9"))
    for title in ("Terminal", "Home", "Projects", "Scratch"):
        assert title in titles
    quoted = next(line for line in lines if line.startswith("Projects,"))
    assert f"'{project}'" in quoted
    assert quoted.count('"""') == 2, "a comma does not end a field"
