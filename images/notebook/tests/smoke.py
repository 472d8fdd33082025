# ruff: noqa: INP001, S101, S607 - a program that is run inside the image
"""A notebook image does its work: JupyterLab is served, and a kernel computes.

Run inside, as any uid: ``python3 smoke.py``.
"""

import asyncio
import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from tornado.websocket import websocket_connect

_TOKEN = uuid.uuid4().hex
_SECONDS = 60
_CODE = "import numpy, scipy.linalg; print(round(scipy.linalg.det(numpy.diag([2.0, 3.0, 7.0]))))"


def _ask(address: str, body: dict[str, str] | None = None) -> bytes:
    request = urllib.request.Request(  # noqa: S310 - our own server
        address,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {_TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
        return bytes(answer.read())


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            _ask(f"http://{address}/api/status")
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        else:
            return


async def _compute(address: str, kernel: str) -> str:
    """Run code in a kernel, as a notebook in the browser does, and give what it prints."""
    session = uuid.uuid4().hex
    channel = await websocket_connect(
        f"ws://{address}/api/kernels/{kernel}/channels?session_id={session}&token={_TOKEN}"
    )
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": session}
    header |= {"username": "smoke", "version": "5.3", "date": ""}
    content = {"code": _CODE, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    await channel.write_message(json.dumps(message | {"channel": "shell", "buffers": []}))
    while True:
        told = json.loads(await asyncio.wait_for(channel.read_message(), _SECONDS))
        if told["msg_type"] == "stream" and told["parent_header"].get("msg_id") == header["msg_id"]:
            return str(told["content"]["text"])
        assert told["msg_type"] != "error", told["content"]


def main() -> None:
    """Serve, ask and compute."""
    subprocess.run(["jupyterhub-singleuser", "--version"], check=True)
    extensions = subprocess.run(
        ["jupyter", "server", "extension", "list"], check=True, capture_output=True, text=True
    )
    assert re.search(r"canfar_lab \S*\s*\S*OK", extensions.stdout + extensions.stderr)
    with tempfile.TemporaryDirectory() as home:
        command = ["jupyter", "lab", "--ip=127.0.0.1", "--port=18888", "--no-browser"]
        server = subprocess.Popen(
            [*command, f"--IdentityProvider.token={_TOKEN}", f"--ServerApp.root_dir={home}"],
            env=os.environ | {"HOME": home},
        )
        address = "127.0.0.1:18888"
        try:
            _wait(address, server)
            assert b"JupyterLab" in _ask(f"http://{address}/lab")
            plugin = "@jupyterlab/apputils-extension:notification"
            settings = json.loads(_ask(f"http://{address}/lab/api/settings/{plugin}"))
            assert settings["schema"]["properties"]["fetchNews"]["default"] == "false", settings
            kernel = json.loads(_ask(f"http://{address}/api/kernels", {"name": "python3"}))["id"]
            assert asyncio.run(_compute(address, kernel)).strip() == "42"
        finally:
            server.terminate()
            server.wait()
    setuid = [path for path in Path("/usr/bin").iterdir() if path.stat().st_mode & 0o6000]
    assert not setuid, setuid
    known = any(entry.pw_uid == os.getuid() for entry in pwd.getpwall())
    print(f"as uid {os.getuid()}{'' if known else ', unknown here'}: right", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
