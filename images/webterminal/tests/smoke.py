# ruff: noqa: INP001, S101 - a program that is run inside the image
"""The image of the terminal does its work: a command typed over the WebSocket is run.

Run inside, as any uid and without a network: ``python3 smoke.py``.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tornado.websocket import websocket_connect

_ADDRESS = "127.0.0.1:15001"
_LOOPBACK = "0100007F"
_SECONDS = 60
_PROGRAM = ("/opt/webterminal/bin/node", "/opt/webterminal/webterminal.mjs")
_TYPED = "echo $((6 * 7)) > answer.txt; cat answer.txt\n"


def _wait(server: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://{_ADDRESS}/", timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)


async def _type() -> None:
    """Speak as the page does: packets of Engine.IO, with those of Socket.IO in them."""
    channel = await websocket_connect(
        f"ws://{_ADDRESS}/socket.io/?EIO=4&transport=websocket", connect_timeout=_SECONDS
    )
    shown = ""
    while True:
        told = str(await asyncio.wait_for(channel.read_message(), _SECONDS))
        if told.startswith("0"):
            await channel.write_message("40")
        elif told == "2":
            await channel.write_message("3")
        elif told.startswith("42"):
            name, *values = json.loads(told[2:])
            if name == "login":
                await channel.write_message("42" + json.dumps(["input", _TYPED]))
            elif name == "data":
                shown += values[0]
                # On a line of its own: what was typed is shown too.
                lines = [line.strip() for line in shown.splitlines()]
                if any(line.endswith("42") and "echo" not in line for line in lines):
                    return


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
    """Serve and type."""
    with tempfile.TemporaryDirectory() as home:
        server = subprocess.Popen(
            [*_PROGRAM, _ADDRESS.rpartition(":")[2]], env=os.environ | {"HOME": home}
        )
        try:
            page = _wait(server)
            assert "./client/wetty.js" in page, page
            asyncio.run(_type())
            assert (Path(home) / "answer.txt").read_text() == "42\n"
            assert _listening() == {_LOOPBACK}
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
