"""One hub for the contract: on this machine, or in the test cluster's network on the cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, running_hub

ON_CLUSTER = bool(os.environ.get("CANFAR_CLUSTER"))


@pytest.fixture(scope="session")
def hub(probe_catalogue: Path) -> Iterator[Hub]:
    """Run the hub whose spawner is to keep the contract."""
    with tempfile.TemporaryDirectory(prefix="canfar-hub-", ignore_cleanup_errors=True) as base:
        Path(base).chmod(0o755)
        data = Path(base) / "data"
        if ON_CLUSTER:
            from tests.support.cluster_hub import running_cluster_hub

            with running_cluster_hub(data) as found:
                yield found
            return
        environ = {"CANFAR_HUB_CATALOGUE": str(probe_catalogue)}
        with running_hub(data, environ=environ) as local:
            yield local
