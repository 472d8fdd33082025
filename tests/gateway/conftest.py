"""Sessions behind a gateway, on a hub with one origin and on one with an origin for each user."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import write_probe_catalogue
from tests.support.callers import users_with_a_third
from tests.support.gateway import Gated, gated, with_relays
from tests.support.hub import Hub, free_port, running_hub

PORTS = {"gated": free_port(), "other": free_port()}
"""Containers that hand bytes on, and to where."""


@pytest.fixture(scope="session")
def gateway_site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the variables of a hub with such containers, and with a user who is nobody's guest."""
    place = tmp_path_factory.mktemp("gateway")
    catalogue = with_relays(write_probe_catalogue(place / "catalogue.yaml"), **PORTS)
    return {
        "CANFAR_HUB_CATALOGUE": str(catalogue),
        "CANFAR_HUB_USERS": str(users_with_a_third(place / "users.yaml")),
    }


@pytest.fixture(
    scope="package",
    params=["127.0.0.1", "hub.localhost"],
    ids=["one-origin", "own-origins"],
)
def gateway_hub(
    request: pytest.FixtureRequest,
    gateway_site: dict[str, str],
    requires: Callable[[str], None],
) -> Iterator[Hub]:
    """Run a real hub, once in each origin model."""
    requires("proxy")
    base = Path(tempfile.mkdtemp(prefix="canfar-hub-"))
    base.chmod(0o755)
    try:
        with running_hub(base / "data", host=request.param, environ=gateway_site) as hub:
            yield hub
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="package")
def behind(gateway_hub: Hub) -> Iterator[Gated]:
    """Have ada's session, whose application does as it is asked, behind a gateway."""
    with tempfile.TemporaryDirectory() as place:
        ada = gateway_hub.sign_in("ada")
        with gated(ada, "gated", PORTS["gated"], Path(place)) as found:
            yield found


@pytest.fixture
def unharmed(behind: Gated) -> Iterator[None]:
    """See that the same gateway goes on, and that neither hub nor log have anything to tell."""
    assert behind.gateway is not None
    before, begun = behind.gateway.pid, behind.log.stat().st_size
    yield
    assert behind.gateway.pid == before
    assert behind.gateway.poll() is None
    assert behind.ask("GET", "echo", behind.token).status == 200
    assert httpx.get(f"{behind.hub.url}/hub/health", timeout=60).status_code == 200
    log = behind.log.read_bytes()[begun:].decode()
    assert "Traceback" not in log, log
