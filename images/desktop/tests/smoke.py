# ruff: noqa: INP001, S101, S607 - a program that is run inside the image
"""A desktop image does its work: what DS9 and TOPCAT show of a file arrives at the socket.

Run inside, as any uid: ``python3 smoke.py``.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_SECONDS = 240
_SIZE = 64
_STAR = (40, 24)
"""Column and row of the only bright pixel, counted from one as FITS does."""

_BRIGHTEST = (0, 254, 0)
"""The last of DS9's colours from black to green."""

_IMTOOL = ":1411"
"""The port at which DS9 would take images from anybody."""


def wait_for(what: str, look: Callable[[], object]) -> object:
    """Wait until something is so, and give it."""
    deadline = time.monotonic() + _SECONDS
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.2)


def write_image(path: Path) -> None:
    """Write an image with one bright pixel."""
    cards = [
        f"{'SIMPLE':8}= {'T':>20}",
        f"{'BITPIX':8}= {-32:>20}",
        f"{'NAXIS':8}= {2:>20}",
        f"{'NAXIS1':8}= {_SIZE:>20}",
        f"{'NAXIS2':8}= {_SIZE:>20}",
        "END",
    ]
    header = "".join(card.ljust(80) for card in cards)
    values = [0.0] * (_SIZE * _SIZE)
    values[(_STAR[1] - 1) * _SIZE + _STAR[0] - 1] = 100.0
    data = struct.pack(f">{len(values)}f", *values)
    path.write_bytes(header.ljust(2880).encode() + data.ljust(-(-len(data) // 2880) * 2880, b"\0"))


class Viewer:
    """The least of a VNC viewer: it takes whole pictures."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._socket.settimeout(_SECONDS)
        assert self._take(12).startswith(b"RFB 003.")
        self._socket.sendall(b"RFB 003.008\n")
        assert 1 in self._take(self._take(1)[0])
        self._socket.sendall(b"\1")
        assert self._take(4) == bytes(4)
        self._socket.sendall(b"\1")
        self.width, self.height = struct.unpack(">HH", self._take(4))
        self._take(16)
        self._take(struct.unpack(">I", self._take(4))[0])
        # Four bytes a pixel, blue first; nothing but raw pictures.
        depth = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
        self._socket.sendall(b"\0\0\0\0" + depth + struct.pack(">BxHi", 2, 1, 0))

    def _take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            piece = self._socket.recv(min(1 << 20, count - len(taken)))
            assert piece, "the server went away"
            taken += piece
        return taken

    def pixels(self, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
        """Take a picture, and give where it has a colour."""
        self._socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        wanted = bytes(reversed(colour))
        found = []
        while self._take(1) != b"\0":
            # A bell is one byte; what was copied has its length.
            self._skip()
        for _ in range(struct.unpack(">xH", self._take(3))[0]):
            left, top, width, height, kind = struct.unpack(">HHHHi", self._take(12))
            assert kind == 0
            picture = self._take(4 * width * height)
            at = picture.find(wanted)
            while at >= 0:
                if at % 4 == 0:
                    found.append((left + at // 4 % width, top + at // 4 // width))
                at = picture.find(wanted, at + 1)
        return found

    def _skip(self) -> None:
        raise AssertionError("the server sent something else than a picture")


def middle(points: list[tuple[int, int]]) -> tuple[float, float]:
    """Give the centre of some pixels."""
    return tuple(sum(values) / len(values) for values in zip(*points, strict=True))  # type: ignore[return-value]


def look(work: Path, viewer: Viewer, env: dict[str, str]) -> None:
    """Let both programs show a file, and look for it on the screen."""
    write_image(work / "star.fits")
    words = ["-title", "smoke", str(work / "star.fits"), "-scale", "minmax", "-cmap", "green"]
    # The image alone, four pixels of the screen to one of its own.
    alone = [*("-colorbar", "no"), *("-view", "panner", "no"), *("-view", "magnifier", "no")]
    subprocess.Popen(["ds9", *words, *alone, "-zoom", "4"], env=env)
    star = wait_for("star in DS9", lambda: viewer.pixels(_BRIGHTEST))
    assert isinstance(star, list)
    assert len(star) == 16, star
    assert not any(address.endswith(_IMTOOL) for address in listening())
    answer = subprocess.run(
        ["xpaget", "smoke", "frame", "active"], env=env, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "1", answer
    (work / "table.csv").write_text("x,y\n1,1\n2,4\n3,9\n")
    subprocess.Popen(["topcat", "-f", "csv", str(work / "table.csv")], env=env)

    def windows() -> str:
        command = ["xwininfo", "-root", "-tree"]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    wait_for("window of TOPCAT", lambda: '"TOPCAT' in windows())
    drawing = ["topcat", "-stilts", "plot2plane", "layer1=mark", f"in1={work / 'table.csv'}"]
    drawing += ["ifmt1=csv", "x1=x", "y1=y", "color1=ff00ff", "size1=5", "omode=swing"]
    subprocess.Popen(drawing, env=env)
    wait_for("points in TOPCAT's plot", lambda: viewer.pixels((255, 0, 255)))
    print(f"DS9's star is at {middle(star)} of the screen", file=sys.stderr)  # noqa: T201


def listening() -> list[str]:
    """Give the TCP ports of this network that can be reached from elsewhere, as the kernel has them."""
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            address, _, state = line.split()[1:4]
            if state == "0A":
                found.append(address)
    return found


def main() -> None:
    """Start a desktop, and use it."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        before = listening()
        env = os.environ | {"HOME": place, "JUPYTER_RUNTIME_DIR": place}
        path = f"{place}/app.sock"
        desktop = subprocess.Popen(["canfar-desktop", path], env=env)
        try:
            wait_for("socket", lambda: Path(path).is_socket())
            assert Path(path).stat().st_mode & 0o077 == 0
            panel = wait_for("panel", lambda: list(work.glob("desktop-*/tint2rc")))
            assert isinstance(panel, list)
            run = panel[0].parent
            assert not set(listening()) - set(before), listening()
            menu = (run / "menu.csv").read_text()
            for title in ("SAOImage DS9", "TOPCAT", "Terminal", "Web browser", "Home"):
                assert f"{title}," in menu, menu
            display = {"DISPLAY": ":0", "XAUTHORITY": str(run / "Xauthority")}
            display["PATH"] = f"{run / 'bin'}:{os.environ['PATH']}"
            xpa = {"XPA_METHOD": "local", "XPA_TMPDIR": str(run / "xpa")}
            look(work, Viewer(path), env | display | xpa)
        finally:
            desktop.terminate()
            assert desktop.wait() == 0
    setuid = [path for path in Path("/usr/bin").iterdir() if path.stat().st_mode & 0o6000]
    assert not setuid, setuid
    print(f"as uid {os.getuid()}: right", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
