"""What tests of the cluster share; they run in its network, see docs/developer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import chromium, context, page
from tests.conftest import Need
from tests.support.cluster import site
from tests.support.cluster.cluster import Cluster
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import ROOT

__all__ = ["chromium", "context", "page"]

_HOW = "run them with: make test-cluster (needs root)"
_ANYWHERE = frozenset({"test_admission.py", "test_rbac.py"})
"""Need an API server and nothing else of a cluster: no images, no network, no node of ours."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with one line, where there is no cluster."""
    here = Path(__file__).parent
    if os.environ.get("CANFAR_TEST_KUBECONFIG"):
        reason = "a foreign cluster is asked for admission and rights only, never for faults"
        for item in items:
            if item.path.is_relative_to(here) and item.path.name not in _ANYWHERE:
                item.add_marker(pytest.mark.skip(reason=reason))
        return
    if os.environ.get("CANFAR_CLUSTER"):
        return
    if "cluster" in os.environ.get("CANFAR_REQUIRE", "").split(","):
        return
    for item in items:
        if item.path.is_relative_to(here) and not item.get_closest_marker("outside"):
            item.add_marker(pytest.mark.skip(reason=f"the test cluster is not entered; {_HOW}"))


@pytest.fixture(scope="session")
def cluster(need: Need) -> Cluster:
    """Give the cluster, with everything that a site applies to it."""
    need("cluster", bool(os.environ.get("CANFAR_CLUSTER")), _HOW)
    found = Cluster.load()
    site.prepare(found)
    return found


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster) -> Iterator[ClusterHub]:
    """Run a hub with the rights of its own account for the tests of a module."""
    with running_cluster_hub(data_directory, cluster=cluster) as found:
        yield found


@pytest.fixture(scope="session")
def fresh() -> Callable[[], str]:
    """Give session ids that no test has used."""
    numbers = itertools.count(os.getpid() % 1000 * 1000)
    return lambda: f"t{next(numbers):07d}"


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of pages go."""
    keep = os.environ.get("CANFAR_KEEP_SCREENSHOTS") == "1"
    path = ROOT / ("docs/images" if keep else "build/screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path
