"""A real Jupyter server with the platform's part, without a hub: one person, a token, three areas."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from canfar_spawner.local import environments
from tests.support.hub import ROOT, wait_for

_ANSWERS_WITHIN = 60.0


@dataclass
class Storage:
    """Directories as a session has them."""

    base: Path
    projects_mine: tuple[str, ...] = ("demo", "survey")
    told: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (self.home, self.scratch, *(self.projects / name for name in self.made)):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def made(self) -> tuple[str, ...]:
        """The projects that there are: one more than the session's."""
        return (*self.projects_mine, "foreign")

    @property
    def home(self) -> Path:
        return self.base / "arc" / "home" / "ada"

    @property
    def projects(self) -> Path:
        return self.base / "arc" / "projects"

    @property
    def scratch(self) -> Path:
        return self.base / "scratch"

    @property
    def environ(self) -> dict[str, str]:
        """Give the variables that a session is told."""
        return {
            "CANFAR_HOME": str(self.home),
            "CANFAR_PROJECTS": " ".join(self.projects_mine),
            "CANFAR_PROJECTS_DIR": str(self.projects),
            "CANFAR_SCRATCH": str(self.scratch),
            **({"CANFAR_STORAGE": json.dumps(self.told)} if self.told else {}),
        }


@dataclass
class LabServer:
    """A server that runs, and its owner's token."""

    url: str
    token: str
    storage: Storage
    process: subprocess.Popen[bytes]
    log: Path

    def call(self, method: str, route: str, /, **arguments: Any) -> httpx.Response:
        """Call a route below ``canfar/`` as its owner."""
        headers = {"Authorization": f"token {self.token}", **arguments.pop("headers", {})}
        return httpx.request(
            method,
            f"{self.url}/canfar/{route}",
            headers=headers,
            timeout=_ANSWERS_WITHIN,
            **arguments,
        )

    def ask(self, route: str, /, **parameters: Any) -> Any:
        """Get JSON from a route, which must answer 200."""
        answer = self.call("GET", route, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tell(self, route: str, /, **fields: Any) -> Any:
        """Post JSON to a route, which must answer 2xx."""
        # As browsers write it: the name of a file may be no UTF-8.
        answer = self.call("POST", route, content=json.dumps(fields))
        assert answer.is_success, answer.text
        return answer.json()

    def finish(self, task: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of a task; its hits are all of them."""
        hits: list[dict[str, Any]] = []
        deadline = time.monotonic() + _ANSWERS_WITHIN
        while True:
            assert time.monotonic() < deadline, task
            task = self.ask(f"storage/tasks/{task['id']}", after=len(hits), wait=10)
            hits += task["hits"]
            if task["state"] != "running":
                return task | {"hits": hits}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_lab_server(
    storage: Storage, *, environ: dict[str, str] | None = None, user: int | None = None
) -> Iterator[LabServer]:
    """Run a server of the notebook environment with this project's ``canfar_lab``.

    Parameters
    ----------
    storage : Storage
    environ : dict, optional
        Variables more.
    user : int, optional
        The uid (and gid) it runs with, where the tests run as root.
    """
    token, port = secrets.token_hex(16), _free_port()
    private = storage.base / "private"
    private.mkdir(exist_ok=True)
    files = private / "files"
    files.mkdir(exist_ok=True)
    for name, target in (
        ("home", storage.home),
        ("projects", storage.projects),
        ("scratch", storage.scratch),
    ):
        if not (files / name).is_symlink():
            (files / name).symlink_to(target)
    log = private / "server.log"
    told = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(private),
        # This tree's, in front of the one that the environment was built with.
        "PYTHONPATH": str(ROOT / "labextension"),
        "JUPYTER_TOKEN": token,
        **storage.environ,
        **(environ or {}),
    }
    argv = [
        str(environments.location("notebook") / "bin" / "python"),
        *("-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={files}", "--ServerApp.open_browser=False"),
        *("--ServerApp.port_retries=0", "--ServerApp.allow_root=True"),
    ]
    identity: dict[str, Any] = {}
    if user is not None:
        identity = {"user": user, "group": user, "extra_groups": []}
        for path in (private, files):
            os.chown(path, user, user)
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, env=told, cwd=private, stdout=output, stderr=subprocess.STDOUT, **identity
        )
    server = LabServer(f"http://127.0.0.1:{port}", token, storage, process, log)
    try:
        wait_for(lambda: _answers(server), "the server to answer", seconds=_ANSWERS_WITHIN)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(server: LabServer) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    try:
        return httpx.get(f"{server.url}/api", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
