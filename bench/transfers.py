"""Copies, uploads and downloads beside ``cp`` and a plain tornado handler; headers beside astropy.

``make -s bench-transfers`` or ``python bench/transfers.py [--size MIB] [--rounds N]``. One real Jupyter server with
the platform's part; a process of the same Python with tornado's own file handler, and one that writes what it gets,
stands beside it. Both are asked for the same file, in turns, by the same client over loopback. The memory is what
the server had more at its highest than before.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from canfar_spawner.local import environments
from tests.support import fits as make
from tests.support.hub import wait_for
from tests.support.lab_server import LabServer, Storage, running_lab_server

_MIB = 1 << 20
_MARKED = 5000
"""What the panel marks at most."""
_PLAIN = """
import asyncio, os, sys
from tornado import web

@web.stream_request_body
class Upload(web.RequestHandler):
    def prepare(self):
        self.request.connection.set_max_body_size(1 << 50)
        self.file = open(os.path.join(sys.argv[2], "plain"), "wb")

    def data_received(self, chunk):
        self.file.write(chunk)

    def put(self):
        self.file.close()
        self.finish("{}")

class Files(web.StaticFileHandler):
    @classmethod
    def get_content_version(cls, path):
        # Its own reads the whole file before it sends any of it.
        return str(os.stat(path).st_mtime_ns)

async def main():
    app = web.Application([
        ("/files/(.*)", Files, {"path": sys.argv[2]}), ("/upload", Upload)])
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
"""
_HEADERS = """
import os, statistics, sys, time, warnings
sys.path.insert(0, sys.argv[1])
from canfar_lab.fits.cards import cards
from canfar_lab.fits.sources import source
from canfar_lab.fits.units import Units, header_at
from astropy.io import fits
warnings.simplefilter("ignore")

def ours():
    file = os.open(sys.argv[2], os.O_RDONLY)
    at, units = source(file), Units()
    units.find(at, 100)
    found = [list(cards(header_at(at, u.at, u.index).decode("latin-1"))) for u in units.found]
    os.close(file)
    return sum(map(len, found))

def theirs():
    with fits.open(sys.argv[2]) as units:
        return sum(len([(c.keyword, c.value, c.comment) for c in u.header.cards]) for u in units)

for read in (ours, theirs):
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        count = read()
        times.append(time.perf_counter() - begun)
    print(count, statistics.median(times) * 1000)
"""


def _must(found: bool, evidence: object) -> None:  # noqa: FBT001 - read as "must be so, else this"
    if not found:
        sys.exit(f"This is not as it must be: {evidence}")


def _python() -> str:
    return str(environments.location("notebook") / "bin" / "python")


@contextmanager
def _plain(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([_python(), "-c", _PLAIN, str(port), str(folder)]) as process:
        try:
            wait_for(lambda: _listens(port), "the plain handler to listen")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _get(url: str, headers: dict[str, str]) -> int:
    """Read all of an answer, as quick as one process can."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port)
    connection.request("GET", f"{at.path}?{at.query}", headers=headers)
    answer = connection.getresponse()
    _must(answer.status == 200, answer.status)
    buffer, count = bytearray(4 * _MIB), 0
    while got := answer.readinto(buffer):
        count += got
    connection.close()
    return count


def _put(url: str, file: Path, headers: dict[str, str]) -> None:
    """Send a file, as quick as the kernel does."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port)
    connection.putrequest("PUT", at.path)
    for name, value in {**headers, "Content-Length": str(file.stat().st_size)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    with file.open("rb") as content:
        connection.sock.sendfile(content)
    answer = connection.getresponse()
    _must(answer.status == 200, answer.status)
    answer.read()
    connection.close()


class Memory:
    """What a process has in memory, and the most that it had."""

    def __init__(self, pid: int) -> None:
        self._at = Path(f"/proc/{pid}")
        (self._at / "clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def _read(self, name: str) -> float:
        (line,) = (
            line
            for line in (self._at / "status").read_text().splitlines()
            if line.startswith(f"{name}:")
        )
        return int(line.split()[1]) / 1024

    @property
    def grown(self) -> float:
        """MiB at the highest more than before."""
        return self._read("VmHWM") - self._before


def _timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class Page:
    """Asks as a page does, over a connection that stays open."""

    def __init__(self, server: LabServer) -> None:
        at = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(at.hostname or "", at.port)
        self._headers = {"Authorization": f"token {server.token}"}
        self._base = f"{at.path}/canfar/"

    def ask(self, method: str, path: str, told: object = None) -> Any:
        """Give the JSON of an answer."""
        body = None if told is None else json.dumps(told)
        self._connection.request(method, self._base + path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        _must(answer.status < 300, content)
        return json.loads(content)


def _copied(page: Page, *names: str, kind: str = "copy") -> None:
    source = {"area": "home", "paths": names}
    target = {"area": "home", "path": "copies"}
    job = page.ask("POST", "transfers", {"kind": kind, "from": source, "to": target})
    version = 0
    while job["state"] != "done":
        _must(job["state"] in {"queued", "counting", "running"}, job)
        answer = page.ask("GET", f"transfers?after={version}&wait=10")
        version = answer["version"]
        (job,) = (each for each in answer["transfers"] if each["id"] == job["id"])


def _uploaded(server: LabServer, page: Page, file: Path) -> None:
    told = {"kind": "upload", "to": {"area": "home", "path": ""}, "name": "uploaded"}
    job = page.ask("POST", "transfers", {**told, "size": file.stat().st_size})
    headers = {"Authorization": f"token {server.token}", "Upload-Offset": "0"}
    _put(f"{server.url}/canfar/transfers/{job['id']}/content", file, headers)


def _row(
    what: str, size: int, ours: list[float], theirs: list[float], memory: float | None
) -> None:
    mine, other = statistics.median(ours), statistics.median(theirs)
    grown = "" if memory is None else f"{memory:.0f}"
    print(
        f"| {what} | {size / mine / 1e6:.0f} | {size / other / 1e6:.0f} | {other / mine:.2f} | {grown} |"
    )


def _turns(
    rounds: int, ours: Callable[[], Any], theirs: Callable[[], Any], tidy: Callable[[], None]
) -> tuple[list[float], list[float]]:
    """Do both in turns; the first turn warms the caches and does not count."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        pair = list(zip(found, (ours, theirs), strict=True))
        # Whoever is second finds what the first has left to be written out.
        for times, work in pair if number % 2 else reversed(pair):
            tidy()
            os.sync()
            took = _timed(work)
            if number:
                times.append(took)
    return found


def _files(server: LabServer, folder: Path, rounds: int, mib: int) -> None:
    home = server.storage.home
    big, cube = home / "big", home / "cube.fits"
    with big.open("wb") as file:
        block = os.urandom(4 * _MIB)
        for _ in range(mib // 4):
            file.write(block)
    head = make.header(make.structure(-32, (1024, 1024, 512)))
    with cube.open("wb") as file:
        file.write(head + block)
        file.truncate(len(head) + (2 << 30))
    copies = home / "copies"
    copies.mkdir()
    token = {"Authorization": f"token {server.token}"}
    page = Page(server)

    def tidy() -> None:
        for path in (*copies.iterdir(), home / "uploaded", folder / "plain"):
            path.unlink(missing_ok=True)

    print("| What | MB/s | beside it | ratio | memory + (MiB) |\n|---|---|---|---|---|")
    for title, source in (
        (f"copy of {mib} MiB, cp", big),
        ("copy of a sparse cube of 2 GiB, cp", cube),
    ):
        memory = Memory(server.process.pid)
        argv = ["cp", str(source), str(copies / "by cp")]
        found = _turns(
            rounds,
            lambda name=source.name: _copied(page, name),
            lambda argv=argv: subprocess.run(argv, check=True),
            tidy,
        )
        _row(title, source.stat().st_size, *found, memory.grown)
    os.link(big, folder / "big")
    with _plain(folder) as plain:
        for source in (big, cube) if mib >= 4096 else (big,):
            if source is cube:
                os.link(cube, folder / "cube.fits")
            memory = Memory(server.process.pid)
            address = f"{server.url}/canfar/files?area=home&path={source.name}"
            found = _turns(
                rounds,
                lambda address=address: _get(address, token),
                lambda name=source.name: _get(f"{plain}/files/{name}?", {}),
                tidy,
            )
            title = f"download of {source.stat().st_size // _MIB} MiB, tornado's StaticFileHandler"
            _row(title, source.stat().st_size, *found, memory.grown)
        memory = Memory(server.process.pid)
        found = _turns(
            rounds,
            lambda: _uploaded(server, page, big),
            lambda: _put(f"{plain}/upload", big, {}),
            tidy,
        )
        _row(
            f"upload of {mib} MiB, a handler that writes", big.stat().st_size, *found, memory.grown
        )


def _many(server: LabServer, rounds: int) -> None:
    """Copy and move thousands of small files that are marked one by one."""
    home = server.storage.home
    names = [f"observation {number}.fits" for number in range(_MARKED)]
    copies, page = home / "copies", Page(server)

    def tidy() -> None:
        for path in copies.iterdir():
            path.unlink()
        for name in names:
            (home / name).write_bytes(b"x" * 1000)

    print("\n| What | files/s | beside it | ratio |\n|---|---|---|---|")
    for kind, program in (("copy", "cp"), ("move", "mv")):
        argv = [program, *names, str(copies)]
        ours, theirs = _turns(
            rounds,
            lambda kind=kind: _copied(page, *names, kind=kind),
            lambda argv=argv: subprocess.run(argv, check=True, cwd=home),
            tidy,
        )
        mine, other = statistics.median(ours), statistics.median(theirs)
        title = f"{kind} of {_MARKED} files of 1 kB, {program}"
        print(f"| {title} | {_MARKED / mine:.0f} | {_MARKED / other:.0f} | {other / mine:.2f} |")


def _previews(server: LabServer) -> None:
    home = server.storage.home
    extra = [make.card(f"KEY{n:04d}", f"{n * 1.5}", "measured") for n in range(30)]
    extra += [make.card(f"TXT{n:04d}", make.quoted("abc def"), "said") for n in range(30)]
    three = home / "three.fits"
    data = make.image(-32, (4096, 4096), [make.card("EXTEND", "T"), *extra]) + make.image(
        16, (9, 9), extra, extension=True
    )
    three.write_bytes(data + make.table(100, extra))
    argv = [_python(), "-c", _HEADERS, str(Path("labextension").resolve()), str(three)]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    _must(told[0] == told[2], told)
    row = struct.pack(">4096f", *(float(n % 251) for n in range(4096)))
    (home / "image.fits").write_bytes(
        make.header(make.structure(-32, (4096, 4096))) + make.padded(row * 4096)
    )
    address = f"{server.url}/canfar/previews/thumbnail?area=home&path=image.fits"
    token = {"Authorization": f"token {server.token}"}

    def draw() -> None:
        _get(address, token)

    first, times = _timed(draw), [_timed(draw) for _ in range(9)]
    print("\n| What | ms | astropy, imported |\n|---|---|---|")
    print(f"| three headers, {told[0]} cards | {float(told[1]):.2f} | {float(told[3]):.1f} |")
    print(f"| thumbnail of 4096², over HTTP | {statistics.median(times) * 1000:.0f} | |")
    print(f"| the first one, which begins the helper | {first * 1000:.0f} | |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB of the file")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if not environments.is_ready("notebook"):
        sys.exit("The notebook environment is not built; run make environments.")
    base = Path(tempfile.mkdtemp(prefix="canfar-bench-"))
    try:
        folder = base / "plain"
        folder.mkdir()
        with running_lab_server(Storage(base)) as server:
            _files(server, folder, chosen.rounds, chosen.size)
            _many(server, chosen.rounds)
            _previews(server)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
