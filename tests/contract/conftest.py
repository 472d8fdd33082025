"""One hub for the contract: on this machine, or in the test cluster's network on the cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, running_hub

ON_CLUSTER = bool(os.environ.get("CANFAR_CLUSTER"))


@pytest.fixture(scope="module")
def hub(data_directory: Path, probe_catalogue: Path) -> Iterator[Hub]:
    """Run the hub whose spawner is to keep the contract."""
    if ON_CLUSTER:
        from tests.support.cluster_hub import running_cluster_hub

        with running_cluster_hub(data_directory) as found:
            yield found
        return
    environ = {"CANFAR_HUB_CATALOGUE": str(probe_catalogue)}
    with running_hub(data_directory, environ=environ) as local:
        yield local
