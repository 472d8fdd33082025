"""What tests of the real hub as a process share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, Visitor, running_hub
from tests.support.v1 import V1


@pytest.fixture(scope="session")
def lasting_hub(probe_catalogue: Path) -> Iterator[Hub]:
    """Run one hub for all modules that say so: what they do to it is over with each test."""
    with tempfile.TemporaryDirectory(prefix="canfar-hub-", ignore_cleanup_errors=True) as base:
        Path(base).chmod(0o755)
        environ = {"CANFAR_HUB_CATALOGUE": str(probe_catalogue)}
        with running_hub(Path(base) / "data", environ=environ) as found:
            yield found


@pytest.fixture(scope="module")
def hub(request: pytest.FixtureRequest, data_directory: Path, catalogue: Path) -> Iterator[Hub]:
    """Run a real hub for the tests of a module, or give the one of all that have ``LASTING = True``."""
    if getattr(request.module, "LASTING", False):
        yield request.getfixturevalue("lasting_hub")
        return
    with running_hub(data_directory, environ={"CANFAR_HUB_CATALOGUE": str(catalogue)}) as found:
        yield found


@pytest.fixture
def v1(ada: Visitor) -> V1:
    """Call the session manager as ada."""
    return V1.of(ada)
