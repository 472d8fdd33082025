"""A gateway as a process of its own, between a real hub and an application that misbehaves.

The session itself is a program that hands bytes on to a port on which the gateway is started by
hand, so that a test may look at it, end it and start it again: no sandbox, no supervisor.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from canfar_spawner.core.gateway import SETTINGS, GatewaySettings, Listening
from canfar_spawner.core.kinds import Transport
from tests.support.hub import ROOT, Hub, Visitor, wait_for
from tests.support.v1 import V1
from tests.support.wire import Answer, Wire

MEGABYTE = 1 << 20
ROOM = 20 * MEGABYTE
"""What a gateway may grow by whatever goes through it."""
APPLICATION = ROOT / "tests" / "support" / "misbehaving.py"
_RELAY = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    try:
        writer.write_eof()
    except OSError:
        pass

async def serve(reader, writer):
    try:
        other = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    except OSError:
        return writer.close()
    await asyncio.gather(copy(reader, other[1]), copy(other[0], writer))
    other[1].close()
    writer.close()

async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()

asyncio.run(main())
"""


def with_relays(catalogue: Path, **ports: int) -> Path:
    """Add containers that hand bytes on to a port, by name."""
    content = yaml.safe_load(catalogue.read_text())
    for name, port in ports.items():
        content["catalogue"]["containers"].append(
            {
                "name": name,
                "title": name.capitalize(),
                "description": "Hands bytes on to a gateway that a test starts.",
                "icon": "notebook",
                "kinds": ["notebook"],
                "image": f"canfar-hub/{name}",
                "versions": [{"name": "1", "recommended": True}],
                "entry": "direct",
                "local": {"command": ["python3", "-c", _RELAY, "{port}", str(port)]},
            }
        )
    catalogue.write_text(yaml.safe_dump(content, sort_keys=False))
    return catalogue


def memory(pid: int, what: str = "VmRSS") -> int:
    """Give the bytes of memory that a process has, or had at most (``VmHWM``)."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@dataclass
class Gated:
    """A session of somebody's whose application is behind a gateway."""

    owner: Visitor
    session: str
    port: int
    """Where the gateway listens."""
    directory: Path
    settings: dict[str, object] = field(default_factory=dict)
    """What of the gateway's settings differs."""
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    gateway: subprocess.Popen[bytes] | None = None
    application: subprocess.Popen[bytes] | None = None

    @property
    def hub(self) -> Hub:
        """The hub."""
        return self.owner.hub

    @property
    def prefix(self) -> str:
        """The session's address without host."""
        return f"/user/{self.owner.name}/{self.session}/"

    @property
    def host(self) -> str:
        """The name and port at which browsers find the session."""
        own = "" if self.hub.host == "127.0.0.1" else f"{self.owner.name}."
        return f"{own}{self.hub.host}:{self.hub.port}"

    @property
    def origin(self) -> str:
        """What a browser calls the place that the session's pages come from."""
        return f"http://{self.host}"

    @property
    def socket(self) -> Path:
        """Where the application listens."""
        return self.directory / "app.sock"

    @property
    def log(self) -> Path:
        """What the gateway wrote."""
        return self.directory / "gateway.log"

    def start_application(self, *words: str) -> None:
        """Start it and wait until it listens."""
        self.socket.unlink(missing_ok=True)
        argv = [sys.executable, "-I", *(words or (str(APPLICATION),)), str(self.socket)]
        with (self.directory / "application.log").open("ab") as log:
            self.application = subprocess.Popen(
                argv, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
            )
        wait_for(self.socket.exists, "the application to listen")

    def end_application(self) -> None:
        """End it without notice."""
        if self.application is not None:
            self.application.kill()
            self.application.wait()
            self.application = None
        self.socket.unlink(missing_ok=True)

    def start_gateway(self, **changes: object) -> None:
        """Start the gateway and wait until it listens."""
        self.settings |= changes
        told = {
            "session": self.session,
            "owner": self.owner.name,
            "title": "Misbehaving",
            "kind_title": "Contributed",
            "listening": Listening(socket=str(self.socket)),
            "keeps_prefix": False,
            "ready_path": "/",
            "start": "/",
            "secret_header": None,
            "transport": Transport.HTTP,
            "pages": "",
            "rewrites": (),
            **self.settings,
        }
        environ = {
            **self.environ,
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}",
            SETTINGS: GatewaySettings.model_validate(told).model_dump_json(),
        }
        command = [sys.executable, "-I", "-m", "canfar_spawner.gateway"]
        with self.log.open("ab") as log:
            self.gateway = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        wait_for(self._listens, "the gateway to listen")

    def _listens(self) -> bool:
        assert self.gateway is not None
        assert self.gateway.poll() is None, self.log.read_text()[-4000:]
        try:
            Wire(self.port).close()
        except OSError:
            return False
        return True

    def end_gateway(self) -> None:
        """End it."""
        if self.gateway is not None:
            process, self.gateway = self.gateway, None
            process.terminate()
            try:
                process.wait(timeout=30)
            finally:
                process.kill()

    def wait_ready(self) -> None:
        """Wait until the hub finds the session ready."""
        self.owner.wait_ready(self.session)

    # Through the hub's proxy, as everybody comes.

    @contextlib.contextmanager
    def wire(self, *, receive: int = 0) -> Iterator[Wire]:
        """Open a connection to the hub's proxy, for the session's own host."""
        opened = Wire(self.hub.port, self.host, receive=receive)
        try:
            yield opened
        finally:
            opened.close()

    @contextlib.contextmanager
    def direct(self, *, receive: int = 0) -> Iterator[Wire]:
        """Open a connection to the gateway itself, past the proxy."""
        opened = Wire(self.port, self.host, receive=receive)
        try:
            yield opened
        finally:
            opened.close()

    def ask(
        self,
        method: str = "GET",
        path: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        direct: bool = False,
    ) -> Answer:
        """Send one request on a connection of its own."""
        with self.direct() if direct else self.wire() as opened:
            given = {**(headers or {}), "Connection": "close"}
            opened.ask(method, f"{self.prefix}{path}", given, body)
            return opened.answer(bodiless=method == "HEAD")

    @property
    def token(self) -> dict[str, str]:
        """The owner's header for scripts."""
        return {"Authorization": f"Bearer {self.owner.token}"}


def hubs_variables(hub: Hub, session: str) -> dict[str, str]:
    """Give what the hub told a session of itself."""
    launch = wait_for(lambda: hub.launches().get(session), f"{session} to begin")
    spec = json.loads((launch / "spec.json").read_text())
    return {
        name: value
        for name, value in spec["env"].items()
        if name.startswith(("JUPYTERHUB_", "JPY_")) or name == "CANFAR_SESSIONS_URL"
    }


@contextlib.contextmanager
def gated(
    owner: Visitor, container: str, port: int, directory: Path, **settings: object
) -> Iterator[Gated]:
    """Have a session behind a gateway for the length of a block.

    ``container`` is one of `with_relays`, and ``port`` what it hands on to.
    """
    image = f"registry.example.org/canfar-hub/{container}:1"
    session = V1.of(owner, direct=True).created(type="notebook", name=container, image=image)
    found = Gated(owner, session, port, directory, settings)
    try:
        found.environ = {
            "PATH": os.environ["PATH"],
            "CANFAR_GATEWAY_SECRET": "never-in-a-log-gate",
            **hubs_variables(owner.hub, session),
        }
        found.start_application()
        found.start_gateway()
        found.wait_ready()
        yield found
    finally:
        found.end_gateway()
        found.end_application()
        owner.stop(session)


def say(answer: bytes) -> str:
    """Give the path at which the application answers just that."""
    return f"say?{base64.urlsafe_b64encode(answer).decode()}"


def ok(*headers: str, body: bytes = b"body") -> bytes:
    """Give an answer with these headers."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask(behind: Gated, path: str, method: str = "GET") -> Answer:
    """Ask the gateway itself, as the owner."""
    return behind.ask(method, path, behind.token, direct=True)


def targets(behind: Gated) -> list[str]:
    """Give what the application was asked for of late."""
    return list(json.loads(ask(behind, "seen").body)["targets"])


@contextlib.contextmanager
def grows_little(behind: Gated) -> Iterator[None]:
    """See that the gateway's memory stays about what it is, at its most too."""
    assert behind.gateway is not None
    pid = behind.gateway.pid
    idle = memory(pid)
    # The highest is counted from here on.
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    yield
    grown = memory(pid, "VmHWM") - idle
    assert grown <= ROOM, f"{grown / MEGABYTE:.0f} MB"
