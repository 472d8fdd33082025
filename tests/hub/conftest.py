"""A hub in this process, configured as the real one is, for tests that look inside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyterhub import orm
from jupyterhub.tests.mocking import MockHub
from jupyterhub.tests.utils import add_user
from traitlets.config import Config

from canfar_spawner.hub.platform import Platform
from canfar_spawner.local import environments, run
from canfar_spawner.local.settings import LocalSettings, make_platform, sessions_service
from canfar_spawner.portal.setup import configure
from tests.support.hub import ROOT, free_port

DEADLINE = 60.0


@dataclass
class World:
    """The hub, its platform and how to talk to it."""

    app: Any
    platform: Platform
    data: Path
    client: httpx.AsyncClient

    def user(self, name: str) -> Any:
        """Give the hub's own object of a user, made where there is none."""
        return add_user(self.app.db, self.app, name=name, admin=name == "admin")

    def token(self, name: str, **settings: Any) -> str:
        """Make a token for the API."""
        found: str = self.user(name).new_api_token(**settings)
        return found

    async def api(self, method: str, path: str, token: str, **arguments: Any) -> httpx.Response:
        """Call the API."""
        headers = {"Authorization": f"token {token}"}
        return await self.client.request(method, f"/hub/api{path}", headers=headers, **arguments)

    def rows(self) -> dict[str, orm.Spawner]:
        """Give the rows of named servers."""
        return {
            row.name: row for row in self.app.db.query(orm.Spawner).filter(orm.Spawner.name != "")
        }

    def launches(self) -> list[Path]:
        """Give the directories of living launches."""
        runs = self.data / "run"
        return [path for path in runs.iterdir() if run.is_alive(path)]

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for something that the hub or a session does."""
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0.05)
        assert condition(), what


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a data directory, and keep what the hub writes beside it out of the checkout."""
    base = Path(tempfile.mkdtemp(prefix="canfar-mock-"))
    base.chmod(0o755)
    monkeypatch.chdir(base)
    yield base / "data"
    shutil.rmtree(base, ignore_errors=True)


@contextlib.asynccontextmanager
async def _nobody(address: str) -> AsyncIterator[None]:
    """Answer in the place of a service that a starting hub would wait half a minute for."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    port = int(address.rpartition(":")[2])
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


@pytest.fixture
async def world(
    hub_app: Callable[..., Awaitable[MockHub]], data: Path, probe_catalogue: Path
) -> AsyncIterator[World]:
    """Run the hub; nothing of it stays."""
    if not environments.is_ready("proxy"):
        pytest.skip("proxy is missing; get it with: make run")
    port = free_port()
    settings = LocalSettings(data=data, port=port, host="127.0.0.1", password="", prepare=False)
    platform, _ = make_platform(
        settings,
        catalogue=probe_catalogue,
        users=ROOT / "hub_config" / "users.yaml",
        log=logging.getLogger("JupyterHub"),
    )
    config = Config()
    sessions = sessions_service(settings)
    configure(config, platform, sessions=sessions)
    config.JupyterHub.spawner_class = "canfar-local"
    config.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
    config.Authenticator.admin_users = {"admin"}
    async with _nobody(sessions.address):
        app = await hub_app(config)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        found = World(app, platform, data, client)
        yield found
    for task in platform.tasks:
        task.cancel()
    for path in (data / "run").iterdir():
        run.stop(path)
    await found.until(lambda: not found.launches(), "the sessions to end")
    with contextlib.suppress(ProcessLookupError):
        app.proxy.stop()
