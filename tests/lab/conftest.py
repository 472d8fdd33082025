"""A server with the platform's part, shared by the modules here that ask it over HTTP."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from canfar_lab.storage.areas import Areas, from_environment

from tests.lab.fence import fenced
from tests.lab.transfers import World
from tests.support.lab_server import LabServer, Storage, running_lab_server


@pytest.fixture(scope="session")
def lab_server(requires: Callable[[str], None]) -> Iterator[LabServer]:
    """Run one server for all; each test has folders of its own in it."""
    requires("notebook")
    base = Path(tempfile.mkdtemp(prefix="canfar-lab-"))
    try:
        with running_lab_server(Storage(base)) as server:
            yield server
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Give areas with a secret beside, above and below each."""
    return fenced(tmp_path)


@pytest.fixture
def areas(storage: Storage) -> Areas:
    """Give them as a session knows them."""
    return from_environment(storage.environ)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give areas on two file systems: a copy between the two cannot be a rename."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        yield World(tmp_path / "arc", Path(other))
