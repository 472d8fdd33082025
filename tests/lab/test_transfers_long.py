"""Files of gigabytes: copied, uploaded and downloaded with the server killed in the middle of each."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import fits as make
from tests.support.hub import wait_for
from tests.support.lab_server import LabServer, Storage, running_lab_server

pytestmark = pytest.mark.long
_MB = 1 << 20
SIZE = int(os.environ.get("CANFAR_TRANSFER_MB", "4096")) * _MB
_PIECE = 16 * _MB
_FLAT = 48
"""MiB that the server may have more, whatever it moves."""


@pytest.fixture
def storage(requires: Callable[[str], None]) -> Iterator[Storage]:
    requires("notebook")
    base = Path(tempfile.mkdtemp(prefix="canfar-lab-"))
    try:
        yield Storage(base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


class Servers:
    """One server after the other, over the same files."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._stack = ExitStack()
        self.now = self._begin()

    def _begin(self) -> LabServer:
        return self._stack.enter_context(running_lab_server(self._storage))

    def kill(self) -> None:
        """Kill the one that runs, and begin another."""
        self.now.process.send_signal(signal.SIGKILL)
        self.now.process.wait()
        self.now = self._begin()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def servers(storage: Storage) -> Iterator[Servers]:
    servers = Servers(storage)
    yield servers
    servers.close()


def big(path: Path) -> str:
    """Write a file of which no part is like another; gives its SHA-256."""
    block, taken = os.urandom(_PIECE), hashlib.sha256()
    with path.open("wb") as file:
        for number in range(SIZE // _PIECE):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece)
            taken.update(piece)
    return taken.hexdigest()


def sum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def memory(server: LabServer) -> float:
    """Give the most that a server had in memory, in MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def done(server: LabServer, job: dict[str, Any]) -> dict[str, Any]:
    deadline, version = time.monotonic() + 600, 0
    while time.monotonic() < deadline:
        answer = server.ask("transfers", after=version, wait=10)
        version = answer["version"]
        (found,) = (each for each in answer["transfers"] if each["id"] == job["id"])
        if found["state"] in {"done", "failed"}:
            return dict(found)
    raise AssertionError(found)


def test_a_copy(storage: Storage, servers: Servers) -> None:
    expected = big(storage.home / "big")
    source = {"area": "home", "paths": ["big"]}
    before = memory(servers.now)
    job = servers.now.tell(
        "transfers", kind="copy", **{"from": source}, to={"area": "scratch", "path": ""}
    )
    wait_for(
        lambda: servers.now.ask(f"transfers/{job['id']}")["bytes"]["done"] > SIZE // 8, "a part"
    )
    assert memory(servers.now) - before < _FLAT
    servers.kill()
    found = done(servers.now, job)
    assert (found["state"], found["error"]) == ("done", None)
    assert sum_of(storage.scratch / "big") == expected


def test_a_cube_that_is_mostly_empty(storage: Storage, servers: Servers) -> None:
    head = make.header(make.structure(-32, (1024, 1024, 512)))
    cube = storage.home / "cube.fits"
    with cube.open("wb") as file:
        file.write(head + os.urandom(_PIECE))
        file.truncate(len(head) + (2 << 30))
    job = servers.now.tell(
        "transfers",
        kind="copy",
        **{"from": {"area": "home", "paths": ["cube.fits"]}},
        to={"area": "scratch", "path": ""},
    )
    assert done(servers.now, job)["state"] == "done"
    copied = storage.scratch / "cube.fits"
    assert copied.stat().st_blocks * 512 < 4 * _PIECE
    assert sum_of(copied) == sum_of(cube)
    found = servers.now.ask("previews/fits", area="scratch", path="cube.fits")
    assert found["hdus"][0]["shape"] == [1024, 1024, 512]


def test_an_upload(storage: Storage, servers: Servers) -> None:
    source = storage.base / "source"
    expected = big(source)
    job = servers.now.tell(
        "transfers",
        kind="upload",
        to={"area": "home", "path": ""},
        name="up",
        size=SIZE,
        checksum=True,
    )
    before = memory(servers.now)
    with source.open("rb") as file:
        for at in range(0, SIZE, _PIECE):
            if at == SIZE // 2:
                assert memory(servers.now) - before < _FLAT
                servers.kill()
                assert servers.now.ask(f"transfers/{job['id']}")["bytes"]["done"] == at
            answer = servers.now.call(
                "PUT",
                f"transfers/{job['id']}/content",
                content=file.read(_PIECE),
                headers={"Upload-Offset": str(at)},
            )
            assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["checksum"]) == ("done", expected)
    assert sum_of(storage.home / "up") == expected


def test_a_download(storage: Storage, servers: Servers) -> None:
    expected, taken, count, tag = big(storage.home / "big"), hashlib.sha256(), 0, ""
    before = memory(servers.now)
    killed = False
    while count < SIZE:
        headers = {"Authorization": f"token {servers.now.token}"}
        if count:
            headers |= {"Range": f"bytes={count}-", "If-Range": tag}
        url = f"{servers.now.url}/canfar/files?area=home&path=big"
        with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
            assert answer.status_code == (206 if count else 200)
            tag = answer.headers["ETag"]
            try:
                for piece in answer.iter_raw():
                    taken.update(piece)
                    count += len(piece)
                    if not killed and count > SIZE // 2:
                        killed = True
                        assert memory(servers.now) - before < _FLAT
                        servers.kill()
            except httpx.TransportError:
                assert killed
    assert (killed, taken.hexdigest()) == (True, expected)
