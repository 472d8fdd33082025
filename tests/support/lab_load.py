"""A folder of very many files, and what listing it costs a server and everybody else on it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Self

import httpx

from tests.support.lab_server import LabServer


class Stall:
    """Asks something else of the server all the time, and notes the longest wait."""

    def __init__(self, server: LabServer) -> None:
        self._server = server
        self._over = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.longest = 0.0

    def _ask(self) -> None:
        with connected(self._server) as client:
            # The first answer has the connection to make.
            client.get(f"{self._server.url}/api/status").raise_for_status()
            self._ready.set()
            while True:
                began = time.perf_counter()
                client.get(f"{self._server.url}/api/status").raise_for_status()
                self.longest = max(self.longest, time.perf_counter() - began)
                if self._over.is_set():
                    return

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()


def connected(server: LabServer) -> httpx.Client:
    """Give a connection that stays open, as a browser's does."""
    return httpx.Client(headers={"Authorization": f"token {server.token}"}, timeout=600)


def memory(server: LabServer) -> float:
    """Give what server and helpers hold in MiB, without what they share with other processes."""
    ours = f"PPid:\t{server.process.pid}\n"
    family = [entry for entry in Path("/proc").glob("[0-9]*") if ours in _text(entry / "status")]
    family.append(Path(f"/proc/{server.process.pid}"))
    lines = [line for each in family for line in _text(each / "smaps_rollup").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def fill(folder: Path, files: int) -> None:
    """Make so many empty files."""
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    for number in range(files):
        name = f"cal_{number:06}_raw.fits"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
