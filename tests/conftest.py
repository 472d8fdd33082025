"""What tests of every directory share: the canary, a real hub, what the machine must have."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from canfar_spawner.local import environments
from tests.support.canary import watch
from tests.support.hub import ROOT, Hub, Visitor, running_hub

PROBE = ROOT / "tests" / "support" / "probe.py"
Need = Callable[[str, bool, str], None]


def _need(name: str, available: bool, how: str) -> None:  # noqa: FBT001 - read as "need x, found, how"
    if available:
        return
    message = f"{name} is missing; {how}"
    if name in os.environ.get("CANFAR_REQUIRE", "").split(","):
        pytest.fail(f"{message} (CANFAR_REQUIRE asks for it)")
    pytest.skip(message)


def _require_environment(name: str) -> None:
    _need(name, environments.is_ready(name), "get it with: make environments")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """See to the marker ``environment``."""
    for marker in item.iter_markers("environment"):
        _require_environment(*marker.args)


@pytest.fixture(scope="session")
def need() -> Need:
    """``need(name, available, how)`` skips, or fails where CANFAR_REQUIRE has the name."""
    return _need


@pytest.fixture(scope="session")
def requires() -> Callable[[str], None]:
    """``requires("astroml")`` skips where that environment is not built."""
    return _require_environment


@pytest.fixture(scope="session", autouse=True)
def canary() -> Iterator[None]:
    """Plant secrets with every real hub and look for them when it ends."""
    with watch():
        yield


@pytest.fixture(scope="session", autouse=True)
def _certificates_once() -> Iterator[None]:
    """Read the machine's certificates once: reading them took 20 ms of each of many thousand calls."""
    read = functools.cache(httpx.create_ssl_context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", read)
        yield


@pytest.fixture(scope="session", autouse=True)
def _proxy_on_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let a hub in this process find its proxy by name."""
    directory = tmp_path_factory.mktemp("bin")
    script = directory / "configurable-http-proxy"
    words = " ".join(f'"{word}"' for word in environments.proxy_command())
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{directory}:{Path(sys.executable).parent}:{os.environ['PATH']}")
        yield


def write_probe_catalogue(path: Path) -> Path:
    """Write the catalogue of this project with one container that starts at once and one that fails to."""
    content = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    commands = {
        "probe": ["python3", "-c", PROBE.read_text(), "{port}"],
        "broken": ["python3", "-c", "print('no catalogue of stars'); raise SystemExit(3)"],
    }
    for name, command in commands.items():
        content["catalogue"]["containers"].append(
            {
                "name": name,
                "title": name.capitalize(),
                "description": "A program of a few lines, for tests.",
                "icon": "notebook",
                "kinds": ["notebook", "headless"],
                "image": f"canfar-hub/{name}",
                "aliases": [f"images.canfar.net/skaha/{name}"],
                "versions": [{"name": "1", "recommended": True}, {"name": "0", "deprecated": True}],
                "entry": "direct",
                "local": {"command": command},
            }
        )
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def probe_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give that catalogue's file."""
    return write_probe_catalogue(tmp_path_factory.mktemp("site") / "catalogue.yaml")


@pytest.fixture(scope="module")
def data_directory() -> Iterator[Path]:
    """Give a place for a hub's data that sessions of any user may pass through."""
    base = Path(tempfile.mkdtemp(prefix="canfar-hub-"))
    base.chmod(0o755)
    yield base / "data"
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def catalogue(
    request: pytest.FixtureRequest, probe_catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Give a module its own catalogue, with the sections that it gives as SITE in place of ours."""
    content = yaml.safe_load(probe_catalogue.read_text())
    path = tmp_path_factory.mktemp("site") / "catalogue.yaml"
    changes = getattr(request.module, "SITE", {})
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def hub(data_directory: Path, catalogue: Path) -> Iterator[Hub]:
    """Run a real hub for the tests of a module."""
    _require_environment("proxy")
    environ = {"CANFAR_HUB_CATALOGUE": str(catalogue)}
    with running_hub(data_directory, environ=environ) as found:
        yield found


@pytest.fixture(scope="module")
def ada(hub: Hub) -> Visitor:
    """Sign in as ada, of the projects demo and survey."""
    return hub.sign_in("ada")


@pytest.fixture(scope="module")
def ben(hub: Hub) -> Visitor:
    """Sign in as ben, of the project survey."""
    return hub.sign_in("ben")


@pytest.fixture(scope="module")
def admin(hub: Hub) -> Visitor:
    """Sign in as the administrator."""
    return hub.sign_in("admin")
