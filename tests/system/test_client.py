"""The public client against the real hub of one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.contract.client import Commands, MoreCommands, storage
from tests.support.client import Client
from tests.support.hub import Hub, Visitor, running_hub
from tests.support.v1 import V1

__all__ = ["storage"]

pytestmark = [pytest.mark.environment("client"), pytest.mark.environment("proxy")]


@pytest.fixture(scope="module")
def hub(
    data_directory: Path, probe_catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    """Run a hub that also has a container which never answers."""
    content = yaml.safe_load(probe_catalogue.read_text())
    containers = content["catalogue"]["containers"]
    (probe,) = [each for each in containers if each["name"] == "probe"]
    silent = {"command": ["sleep", "1000"]}
    containers.append(
        {
            **probe,
            "name": "silent",
            "title": "Silent",
            "image": "canfar-hub/silent",
            "aliases": [],
            "local": silent,
        }
    )
    path = tmp_path_factory.mktemp("site") / "catalogue.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with running_hub(data_directory, environ={"CANFAR_HUB_CATALOGUE": str(path)}) as found:
        yield found


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
    """Give words of a session that stays pending."""
    return ("notebook", "registry.example.org/canfar-hub/silent:1")


@pytest.fixture
def cores() -> int:
    """Give how many cores the machine has."""
    return os.cpu_count() or 1


class TestClient(Commands, MoreCommands):
    """Every command, locally."""
