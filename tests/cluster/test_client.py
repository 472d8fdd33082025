"""The public client against the real hub on a real cluster: the same output as on one machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.contract.client import Commands, MoreCommands, storage
from tests.support.client import Client
from tests.support.cluster.site import MANIFESTS
from tests.support.cluster_hub import ClusterHub
from tests.support.hub import Visitor
from tests.support.v1 import PROBE, V1

__all__ = ["storage"]

pytestmark = [pytest.mark.cluster, pytest.mark.environment("client")]


@pytest.fixture
def client(ada: Visitor, tmp_path: Path) -> Client:
    """Give ada's client, with a home of its own."""
    return Client.of(ada, tmp_path / "home")


@pytest.fixture
def v1(ada: Visitor) -> V1:
    """Give ada's way past the client."""
    return V1.of(ada)


@pytest.fixture
def pending() -> tuple[str, ...]:
    """Give words of a session that no machine of this cluster has room for."""
    return ("-c", "64", "-m", "1", "notebook", PROBE)


@pytest.fixture
def cores(hub: ClusterHub) -> Iterator[int]:
    """Give how many cores the cluster has for sessions, on a site that lets that be told."""
    optional = str(MANIFESTS / "optional" / "nodes.yaml")
    hub.cluster.kubectl("apply", "--filename", optional)
    nodes = json.loads(hub.cluster.kubectl("get", "nodes", "--output", "json"))["items"]
    yield sum(int(node["status"]["allocatable"]["cpu"]) for node in nodes)
    hub.cluster.kubectl("delete", "--filename", optional)


class TestClient(Commands):
    """What becomes of sessions on the cluster."""


@pytest.mark.long
class TestEverything(MoreCommands):
    """Every other command: the same code as on one machine, where each is run each time."""

    # The site's board has the image of the probe.
    probe_types: ClassVar = ["notebook", "headless", "contributed"]
