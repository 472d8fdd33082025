"""A real hub as a process of its own, with its proxy, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import html
import json
import os
import random
import re
import secrets
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from canfar_spawner.local import run as supervisor

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0
SESSION_TOKENS = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
_MAY_HOLD = ("password", "sessions_token", "spec.json", "spec.new")
"""Names of files that secrets are in by design; nobody but the hub's user may read them."""
_LOOK_EVERY = 0.1
_PORTS = (20_000, 32_000)
"""Below those that Linux gives to connections: beside each other, tests open many."""
ONE_USE = httpx.Limits(max_connections=None, max_keepalive_connections=0)
"""Connections that are kept: none. A pool that threads share may close one that another of them has
just taken up (seen: *Bad file descriptor* while an answer was read)."""


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = DEADLINE) -> Any:
    """Wait until a condition gives something true, and give that."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(_LOOK_EVERY)


def free_port() -> int:
    """Give a port that nobody listens on, and that no connection is given until it is used."""
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311 - no secret
        with contextlib.closing(socket.socket()) as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


class _ThisMachine(httpx.HTTPTransport):
    """Finds every name on this machine: browsers resolve ``*.localhost``, Python does not."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the loopback address, with the name it was for."""
        # A request of its own: cookies go by the address of the one that was made.
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1"),
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return super().handle_request(sent)


@dataclass
class Hub:
    """One hub: its data directory, its address, its process."""

    data: Path
    environ: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    process: subprocess.Popen[bytes] | None = None
    sample: bool = False
    """Make the sample of the project demo first, which takes seconds."""

    @property
    def url(self) -> str:
        """Where scripts reach it; browsers take `public`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def public(self) -> str:
        """Where a browser reaches it."""
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """What hub and proxy wrote."""
        return self.data.parent / f"{self.data.name}.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        environ = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith("CANFAR_HUB_") or name == "CANFAR_HUB_CACHE"
            },
            "CANFAR_HUB_DATA": str(self.data),
            "CANFAR_HUB_PORT": str(self.port),
            "CANFAR_HUB_HOST": self.host,
            "CANFAR_HUB_PASSWORD": self.password,
            "CANFAR_HUB_PREPARE": "none",
            **self.environ,
        }
        if not self.sample:
            # Its last file says that it is there.
            demo = self.data / "arc" / "projects" / "demo"
            demo.mkdir(parents=True, exist_ok=True)
            (demo / "README.md").touch()
        command = [str(Path(sys.executable).parent / "canfar-hub"), "run"]
        self.begin(command, environ, cwd=ROOT)

    def begin(self, command: list[str], environ: dict[str, str], *, cwd: Path) -> None:
        """Start its process and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=cwd, env=environ, stdout=log, stderr=log, start_new_session=True
            )

        def answers() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the hub ended at its start:\n{self.log.read_text()[-4000:]}")
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/hub/health", timeout=5).status_code == 200
            return False

        wait_for(answers, "the hub to answer")
        wait_for(self.manager_answers, "the session manager to answer")

    def pid(self) -> int:
        """Give the process id of JupyterHub itself."""
        return int((self.data / "hub" / "hub.pid").read_text())

    def sessions_url(self) -> str:
        """Give the address at which the session manager itself listens."""
        port = json.loads((self.data / "hub" / "ports.json").read_text())[2]
        return f"http://127.0.0.1:{port}/services/sessions"

    def manager_answers(self) -> bool:
        """Say whether the session manager answers; it need not be without problems."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.sessions_url()}/health", timeout=5).status_code in (200, 503)
        return False

    def manager_pid(self) -> int | None:
        """Give the process id of the session manager, None where none runs."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.data / "hub" / "sessions.pid").read_text())
            if b"sessions" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
        return None

    def end_manager(self) -> None:
        """End the session manager that a killed hub has left."""
        pid = self.manager_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: self.manager_pid() is None, "the session manager to end")

    def kill(self) -> None:
        """Kill JupyterHub without notice; the session manager goes on."""
        os.kill(self.pid(), signal.SIGKILL)
        assert self.process is not None
        self.process.wait(timeout=60)

    def end(self) -> None:
        """End hub and proxy as Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    def launches(self) -> dict[str, Path]:
        """Give the directories of living launches by session id."""
        runs = self.data / "run"
        found = [path for path in runs.iterdir() if supervisor.is_alive(path)]
        return {path.name.partition("-")[0]: path for path in found}

    def destroy(self, session: str) -> None:
        """End a session behind the hub's back."""
        os.kill(supervisor.read_state(self.launches()[session]).supervisor_pid, signal.SIGKILL)

    def clear(self) -> None:
        """End everything."""
        self.end()
        self.end_manager()

        def over() -> bool:
            # One that is just about to begin is asked at the next look.
            living = self.launches().values()
            for path in living:
                supervisor.stop(path)
            return not living

        wait_for(over, "all sessions to end")

    # For the canary.

    def tokens(self) -> set[str]:
        """Give the tokens that sessions were given."""
        found = set()
        for spec in self.data.glob("run/*/spec.json"):
            with contextlib.suppress(FileNotFoundError, ValueError):
                env = json.loads(spec.read_text())["env"]
                found |= {env[name] for name in SESSION_TOKENS if env.get(name)}
        with contextlib.suppress(FileNotFoundError):
            found.add((self.data / "hub" / "sessions_token").read_text().strip())
        return found

    def evidence(self) -> Iterator[tuple[str, bytes]]:
        """Give everything that may hold no secret, by where it is."""
        yield str(self.log), self.log.read_bytes()
        for path in self._files():
            if path.name not in _MAY_HOLD and path.is_file():
                with contextlib.suppress(FileNotFoundError):
                    yield str(path), path.read_bytes()

    def _files(self) -> Iterator[Path]:
        yield from (self.data / "hub").rglob("*")
        for launch in self.data.glob("run/*"):
            # What is below session/ is the user's own; the rest is the hub's.
            yield from launch.iterdir()

    def left_open(self) -> Iterator[str]:
        """Give the files with secrets that others may read."""
        ours = [self.data / "hub" / name for name in ("password", "sessions_token")]
        for path in [*ours, *self.data.glob("run/*/spec.json")]:
            with contextlib.suppress(FileNotFoundError):
                mode = stat.S_IMODE(path.stat().st_mode)
                if mode != 0o600:
                    yield f"{path} has mode {mode:o}"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read the hub's database."""
        with contextlib.closing(sqlite3.connect(self.data / "hub" / "jupyterhub.sqlite")) as db:
            return db.execute(query).fetchall()

    def sign_in(self, name: str) -> Visitor:
        """Sign in as a person does, by the login form."""
        client = httpx.Client(
            base_url=self.public,
            follow_redirects=True,
            timeout=60,
            transport=_ThisMachine(limits=ONE_USE),
        )
        page = client.get("/hub/login")
        xsrf = re.search(r'name="_xsrf"\s+value="([^"]+)"', page.text)
        assert xsrf, page.text
        answer = client.post(
            "/hub/login",
            data={"username": name, "password": self.password, "_xsrf": xsrf[1]},
        )
        assert answer.status_code == 200, answer.text
        assert answer.url.path == "/hub/home", answer.url
        return Visitor(self, name, client)


@dataclass
class Visitor:
    """Somebody signed in, with cookies for pages and a token for the API."""

    hub: Hub
    name: str
    client: httpx.Client
    token: str = ""

    def __post_init__(self) -> None:
        answer = self.client.post(
            f"/hub/api/users/{self.name}/tokens",
            params={"_xsrf": self.xsrf()},
            headers={"Referer": f"{self.hub.public}/hub/token"},
        )
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["token"]

    def xsrf(self) -> str:
        """Give the token that forms carry against forgery."""
        for cookie in self.client.cookies.jar:
            if cookie.name == "_xsrf" and cookie.path == "/hub/":
                return str(cookie.value)
        raise AssertionError("no _xsrf cookie")

    def api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Call the hub's API as a script does."""
        return httpx.request(
            method,
            f"{self.hub.url}/hub/api{path}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
            **arguments,
        )

    def launch(self, session: str, **options: object) -> httpx.Response:
        """Launch a session by the API."""
        return self.api(
            "POST", f"/users/{self.name}/servers/{session}", json={"user_options": options}
        )

    def home(self) -> str:
        """Give her home page, as it reads."""
        return html.unescape(self.client.get("/hub/home").text)

    def launch_by_form(self, session: str, fields: dict[str, Any]) -> httpx.Response:
        """Launch a session by the form."""
        return self.client.post(
            f"/hub/spawn/{self.name}/{session}", data={**fields, "_xsrf": self.xsrf()}
        )

    def server(self, session: str) -> dict[str, Any] | None:
        """Give what the hub says of a session, None where it does not know it."""
        answer = self.api("GET", f"/users/{self.name}/servers/{session}")
        return None if answer.status_code == 404 else dict(answer.json())

    def wait_ready(self, session: str) -> None:
        """Wait until a session answers."""

        def ready() -> bool:
            server = self.server(session)
            if server is None or (server["pending"] is None and not server["ready"]):
                log = self.hub.log.read_text()[-4000:]
                raise AssertionError(f"{session} is not starting: {server}\n{log}")
            return bool(server["ready"])

        wait_for(ready, f"{session} to be ready")

    def stop(self, session: str) -> None:
        """Stop a session and wait until nothing of it runs."""
        answer = self.api("DELETE", f"/users/{self.name}/servers/{session}")
        assert answer.status_code in (202, 204), answer.text
        wait_for(lambda: session not in self.hub.launches(), f"{session} to end")


@contextlib.contextmanager
def running_hub(data: Path, **settings: Any) -> Iterator[Hub]:
    """Run a hub for the length of a block; nothing of it stays."""
    hub = Hub(data, **settings)
    try:
        hub.start()
        yield hub
    finally:
        hub.clear()
