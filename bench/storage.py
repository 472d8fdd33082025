"""Folders of any size: the storage API beside jupyter_server's own contents API, on one server.

``make -s bench-storage`` or ``python bench/storage.py [--files N …] [--rounds N] [--without-contents]``. One real
Jupyter server with the platform's part; both are asked over HTTP, for the same folder, in turns. *Cold* is
a folder that has changed since it was read, *warm* one that has not. The bare work beside it is `scandir` and
the same natural order in one process, with nothing sent.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.hub import ROOT
from tests.support.lab_load import Stall, connected, fill, memory
from tests.support.lab_server import LabServer, Storage, running_lab_server

_PAGE = 500
_JUMP = 0.6
_BARE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from canfar_lab.storage.order import natural_key
for _ in range(int(sys.argv[3])):
    began = time.perf_counter()
    with os.scandir(sys.argv[2]) as entries:
        names = [(not entry.is_dir(follow_symlinks=False), entry.name) for entry in entries]
    names.sort(key=lambda each: (each[0], natural_key(each[1]), each[1]))
    print(time.perf_counter() - began)
"""


@dataclass
class Measured:
    """What one way of listing took, in seconds, bytes and MiB."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    jump: list[float] = field(default_factory=list)
    body: int = 0
    memory: float = 0.0
    stall: float = 0.0


def timed(work: Callable[[], httpx.Response]) -> tuple[float, httpx.Response]:
    """Say how long an answer took."""
    began = time.perf_counter()
    answer = work()
    took = time.perf_counter() - began
    answer.raise_for_status()
    return took, answer


def measure_ours(server: LabServer, client: httpx.Client, folder: Path, rounds: int) -> Measured:
    """Ask the storage API."""
    found = Measured()
    asked = {"area": "home", "path": folder.name, "limit": _PAGE}
    before = memory(server)

    def ask(**more: object) -> tuple[float, httpx.Response]:
        address = f"{server.url}/canfar/storage/list"
        return timed(lambda: client.get(address, params={**asked, **more}))

    client.get(f"{server.url}/canfar/storage/areas").raise_for_status()
    client.get(f"{server.url}/canfar/storage/list?area=scratch").raise_for_status()
    for _ in range(rounds):
        (folder / "zz_changed").touch()
        took, answer = ask()
        found.cold.append(took)
        (folder / "zz_changed").unlink()
    found.body = int(answer.headers["Content-Length"])
    # Until the clock of the file system has gone on, a change could hide behind the same time.
    time.sleep(1.2)
    ask()
    for _ in range(rounds * 4):
        found.warm.append(ask()[0])
        found.jump.append(ask(offset=int(answer.json()["total"] * _JUMP))[0])
    found.memory = memory(server) - before
    with Stall(server) as stall:
        for _ in range(rounds):
            (folder / "zz_changed").touch()
            ask()
            (folder / "zz_changed").unlink()
    found.stall = stall.longest
    return found


def measure_contents(
    server: LabServer, client: httpx.Client, folder: Path, rounds: int
) -> Measured:
    """Ask jupyter_server."""
    found = Measured()
    before = memory(server)
    with Stall(server) as stall:
        for _ in range(rounds):
            took, answer = timed(
                lambda: client.get(f"{server.url}/api/contents/home/{folder.name}?content=1")
            )
            found.cold.append(took)
    found.warm = found.cold
    found.body = len(answer.content)
    found.memory = memory(server) - before
    found.stall = stall.longest
    return found


def measure_bare(folder: Path, rounds: int) -> list[float]:
    """Read and sort in a process of its own."""
    words = [sys.executable, "-c", _BARE, str(ROOT / "labextension"), str(folder), str(rounds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def row(name: str, found: Measured) -> str:
    """Write a line of the table."""

    def ms(times: list[float]) -> str:
        return f"{statistics.median(times) * 1000:9.1f}" if times else "        -"

    return (
        f"  {name:<22} {ms(found.cold)} {ms(found.warm)} {ms(found.jump)}"
        f" {found.body / 1000:10.1f} {found.memory:8.1f} {found.stall * 1000:9.1f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, nargs="+", default=[10, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-contents", action="store_true")
    chosen = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="canfar-bench-"))
    try:
        for files in chosen.files:
            storage = Storage(base / str(files))
            folder = storage.home / "cal"
            fill(folder, files)
            # A server for each: what another folder left in memory must not count.
            with running_lab_server(storage) as server, connected(server) as client:
                ours = measure_ours(server, client, folder, chosen.rounds)
                bare = measure_bare(folder, chosen.rounds)
                print(f"\n{files:,} files, page of {_PAGE}; medians of {chosen.rounds} rounds")
                print(
                    "                            cold ms   warm ms   jump ms    body kB  +mem MB"
                    "  stall ms"
                )
                print(row("storage API", ours))
                print(row("scandir, same order", Measured(cold=bare)))
                ratio = statistics.median(ours.cold) / statistics.median(bare)
                if not chosen.without_contents:
                    rounds = 1 if files > 20_000 else 2
                    theirs = measure_contents(server, client, folder, rounds)
                    print(row("contents API", theirs))
                    cold = statistics.median(theirs.cold) / statistics.median(ours.cold)
                    warm = statistics.median(theirs.warm) / statistics.median(ours.warm)
                    print(
                        f"  contents API takes {cold:,.0f} times a cold page, {warm:,.0f} times a warm one"
                    )
                print(
                    f"  a cold page takes {ratio:.2f} times scandir and the same order", flush=True
                )
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
