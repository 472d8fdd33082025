"""Launches for the tests of the supervisor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from canfar_spawner.local.isolation import Isolation, probe
from tests.local.world import World
from tests.support.launch import NOBODY, Launch, public_python


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a directory that every user may pass through."""
    path = Path(tempfile.mkdtemp(prefix="canfar-run-"))
    path.chmod(0o755)
    yield path
    # Deeper than Python's own recursion goes.
    subprocess.run(["/bin/rm", "-rf", str(path)], check=True)


@pytest.fixture
def new_launch(base: Path) -> Iterator[Callable[..., Launch]]:
    """Make launches, and end what is left of them."""
    made: list[Launch] = []

    def new(**how: object) -> Launch:
        made.append(Launch(base / "launches", **how))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for launch in made:
        launch.clear()


@pytest.fixture(params=["itself", "dropping", "plain"])
def launch(
    request: pytest.FixtureRequest,
    new_launch: Callable[..., Launch],
    need: Callable[[str, bool, str], None],
) -> Launch:
    """Give a launch of each kind: same user throughout, root that drops to one, a plain user."""
    if request.param == "itself":
        return new_launch()
    need("isolation", os.geteuid() == 0, "run these tests as root to cover other users")
    if request.param == "dropping":
        return new_launch(program_user=NOBODY)
    need("isolation", public_python() is not None, "install a Python that every user may run")
    return new_launch(supervisor_user=NOBODY)


@pytest.fixture(scope="module")
def isolation() -> Isolation:
    return probe()


@pytest.fixture
async def world(base: Path, isolation: Isolation) -> AsyncIterator[World]:
    made = World(base / "data", isolation)
    yield made
    await asyncio.to_thread(made.clear)
