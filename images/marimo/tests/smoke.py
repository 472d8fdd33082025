# ruff: noqa: INP001, S101 - a program that is run inside the image
"""The image of marimo does its work: a notebook is opened, and a cell computes over the WebSocket.

Run inside, as any uid and without a network: ``python3 smoke.py``.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

_ADDRESS = "127.0.0.1:15000"
_LOOPBACK = "0100007F"
_SECONDS = 90
_NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import numpy
    print("sum", numpy.arange(9).sum())
    return


if __name__ == "__main__":
    app.run()
"""


def _ask(path: str, body: object = None, headers: dict[str, str] | None = None) -> str:
    request = urllib.request.Request(
        f"http://{_ADDRESS}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
        return str(answer.read().decode())


def _wait(server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            _ask("health")
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        else:
            return


async def _compute(notebook: Path) -> str:
    """Open a notebook as its page does, run what is in it, and give what a cell prints."""
    page = _ask(f"?file={notebook}")
    found = re.search(r'"?serverToken"?:\s*"([^"]+)"', page)
    assert found, page[:2000]
    session = f"s_{uuid.uuid4().hex[:6]}"
    headers = {"Marimo-Session-Id": session, "Marimo-Server-Token": found[1]}
    channel = await websocket_connect(
        HTTPRequest(f"ws://{_ADDRESS}/ws?session_id={session}&file={notebook}", headers=headers)
    )
    deadline = time.monotonic() + _SECONDS
    begun = False
    while time.monotonic() < deadline:
        told = json.loads(await asyncio.wait_for(channel.read_message(), _SECONDS))
        if told["op"] == "kernel-ready" and not begun:
            begun = True
            await asyncio.to_thread(
                _ask,
                "api/kernel/instantiate",
                {"objectIds": [], "values": [], "autoRun": True},
                headers,
            )
        if told["op"] == "cell-op":
            console = told["data"].get("console") or []
            for said in console if isinstance(console, list) else [console]:
                if said.get("channel") == "stdout":
                    return str(said["data"])
    raise AssertionError("nothing was computed")


def _listening() -> set[str]:
    """Give the addresses at which this user's programs listen, as the kernel writes them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _number, here, _there, state, *rest = line.split()
            if state == "0A" and int(rest[3]) == os.getuid():
                found.add(here.partition(":")[0])
    return found


def main() -> None:
    """Serve, open and compute."""
    with tempfile.TemporaryDirectory() as home:
        notebook = Path(home) / "sum.py"
        notebook.write_text(_NOTEBOOK)
        server = subprocess.Popen(
            [sys.executable, "-m", "canfar_marimo", _ADDRESS.rpartition(":")[2], home],
            env=os.environ | {"HOME": home},
        )
        try:
            _wait(server)
            assert asyncio.run(_compute(notebook)).strip() == "sum 36"
            assert _listening() == {_LOOPBACK}
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
