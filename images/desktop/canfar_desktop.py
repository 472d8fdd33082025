#!/usr/bin/env python3
"""``canfar-desktop SOCKET``: a desktop that is spoken to by VNC over a unix socket.

Starts TigerVNC's X server, a window manager, a panel and a menu of what this machine has. There is
no port: neither for VNC nor for X. Works as any uid and writes only into the session's own runtime
directory, so that a full home still starts. It ends when its X server does, and whatever was
started in it ends with it. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

import canfar_desktop_menu as menu

SHARE = Path(__file__).resolve().parent / "share"
"""Where the looks are."""
_SOCKETS = Path("/tmp/.X11-unix")  # noqa: S108 - where X has its sockets
_BACKGROUND = "#22364f"
_GEOMETRY = "1280x800"
_SERVER_WITHIN = 60.0
_GRACE = 3.0
_WRITES = 65_536
"""Bytes for which a home must have room, to keep settings there."""
_TOO_SOON = 2.0
_AGAIN = 5
"""How often a part of the desktop that ends at once is started again."""
_SUBREAPER = 36
_ANY_ADDRESS = 0xFFFF


def _say(line: str) -> None:
    sys.stderr.write(f"desktop: {line}\n")
    sys.stderr.flush()


def _fail(line: str) -> NoReturn:
    _say(line)
    sys.exit(1)


@dataclass
class Part:
    """A program that belongs to the desktop and is started again when it ends."""

    argv: list[str]
    started: float = 0.0
    early: int = 0
    """How often in a row it ended too soon."""


@dataclass
class Desktop:
    """One running desktop.

    Parameters
    ----------
    run : Path
        Its own directory, which nobody else may enter.
    """

    run: Path
    server: subprocess.Popen[bytes] | None = None
    parts: dict[int, Part] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    asked_to_end: bool = False

    def start_server(self, socket: str) -> str:
        """Start the X server and give the display's number."""
        program = shutil.which("Xtigervnc") or shutil.which("Xvnc")
        if program is None:
            _fail("TigerVNC's X server is not installed (tigervnc-standalone-server)")
        with contextlib.suppress(OSError):
            # The server makes it for root alone.
            _SOCKETS.mkdir(mode=0o1777)
            _SOCKETS.chmod(0o1777)
        authority = self.run / "Xauthority"
        authority.write_bytes(_cookie())
        authority.chmod(0o600)
        Path(socket).unlink(missing_ok=True)
        reading, writing = os.pipe()
        self.server = subprocess.Popen(
            [
                program,
                *("-displayfd", str(writing)),
                *("-auth", str(authority)),
                *("-nolisten", "tcp"),
                # The abstract socket belongs to the machine's network, which others may share.
                *("-nolisten", "local"),
                *("-rfbunixpath", socket),
                *("-rfbunixmode", "0600"),
                *("-rfbport", "-1"),
                *("-SecurityTypes", "None"),
                *("-geometry", _GEOMETRY),
                *("-depth", "24"),
                *("-dpi", "96"),
                "-AlwaysShared",
                *("-desktop", os.environ.get("CANFAR_SESSION_NAME") or "Desktop"),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(writing,),
        )
        os.close(writing)
        try:
            number = self._told(reading)
        finally:
            os.close(reading)
        self.env |= {"DISPLAY": f":{number}", "XAUTHORITY": str(authority)}
        return number

    def _told(self, reading: int) -> str:
        """Read which display the server has, which it says once it answers."""
        deadline = time.monotonic() + _SERVER_WITHIN
        told = b""
        while not told.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reading], [], [], left)[0]:
                _fail("the X server does not answer")
            read = os.read(reading, 16)
            if not read:
                _fail("the X server ended at once")
            told += read
        return told.decode().strip()

    def keep(self, *argv: str) -> None:
        """Start a part of the desktop, if it is installed."""
        found = shutil.which(argv[0])
        if found is not None:
            self._begin(Part([found, *argv[1:]]))

    def _begin(self, part: Part) -> None:
        part.started = time.monotonic()
        process = subprocess.Popen(
            part.argv,
            env=self.env,
            cwd=_start_directory(),
            stdin=subprocess.DEVNULL,
            # Toolkits have much to say that is nobody's concern; the log is the session's.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.parts[process.pid] = part

    def once(self, *argv: str) -> None:
        """Run something short, if it is installed."""
        found = shutil.which(argv[0])
        if found is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [found, *argv[1:]], env=self.env, check=False, timeout=10, capture_output=True
                )

    def wait(self) -> int:
        """Bury whatever ends, until the X server has; gives its exit status."""
        server = self.server
        assert server is not None  # noqa: S101 - for the type checker
        while True:
            try:
                pid, status = os.wait()
            except InterruptedError:
                continue
            code = os.waitstatus_to_exitcode(status)
            if pid == server.pid:
                server.returncode = code
                return code
            part = self.parts.pop(pid, None)
            if part is not None and not self.asked_to_end:
                self._again(part, code)

    def _again(self, part: Part, code: int) -> None:
        lived = time.monotonic() - part.started
        part.early = part.early + 1 if lived < _TOO_SOON else 0
        name = Path(part.argv[0]).name
        if part.early >= _AGAIN:
            _say(f"{name} ended with status {code} again and again; going on without it")
            return
        _say(f"{name} ended with status {code}; starting it again")
        self._begin(part)

    def end(self, _number: int, _frame: FrameType | None) -> None:
        """End the X server, and with it everything."""
        self.asked_to_end = True
        if self.server is not None and self.server.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.server.pid, signal.SIGTERM)


def _cookie() -> bytes:
    """Give an authority file by which only who reads it may speak to the X server."""
    name, secret = b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16)
    fields = (b"", b"", name, secret)
    return struct.pack(">H", _ANY_ADDRESS) + b"".join(
        struct.pack(">H", len(each)) + each for each in fields
    )


def _start_directory() -> str:
    home = os.environ.get("HOME", "/")
    return home if os.access(home, os.X_OK) else "/"


def _has_room(directory: Path) -> bool:
    """Say whether settings can be kept somewhere."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(_WRITES))
    except OSError:
        return False
    return True


def environment(run: Path) -> dict[str, str]:
    """Give what the desktop's programs are told beside what this one is."""
    found = {
        "XDG_RUNTIME_DIR": str(run),
        "XDG_CURRENT_DESKTOP": "openbox",
        "XENVIRONMENT": str(SHARE / "Xresources"),
        "XDG_CONFIG_DIRS": f"{run / 'xdg'}:/etc/xdg",
        # DS9's remote control would open a port otherwise.
        "XPA_METHOD": "local",
        "XPA_TMPDIR": str(run / "xpa"),
        "NO_AT_BRIDGE": "1",
        "GSETTINGS_BACKEND": os.environ.get("GSETTINGS_BACKEND", "memory"),
    }
    home = Path(os.environ.get("HOME", "/"))
    for name, place in (
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_STATE_HOME", ".local/state"),
    ):
        if name not in os.environ and not _has_room(home / place):
            instead = run / name.lower()
            instead.mkdir(mode=0o700)
            found[name] = str(instead)
    cache = os.environ.get("XDG_CACHE_HOME")
    if not cache or not _has_room(Path(cache)):
        (run / "cache").mkdir(mode=0o700)
        found["XDG_CACHE_HOME"] = str(run / "cache")
    return found


def closed_programs(run: Path) -> str:
    """Put programs that would open a port in front of themselves; gives where all are looked for."""
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which("ds9")
    if found is None:
        return path
    place = run / "bin"
    place.mkdir()
    # It takes images that programs such as IRAF send, from anybody at a port of every network.
    (place / "ds9").write_text(f'#!/bin/sh\nexec {shlex.quote(found)} -unix_only "$@"\n')
    (place / "ds9").chmod(0o755)
    return f"{place}:{path}"


def runtime_directory() -> Path:
    """Make the desktop's own directory, which is no part of the home."""
    for base in (os.environ.get("JUPYTER_RUNTIME_DIR"), os.environ.get("XDG_RUNTIME_DIR")):
        if base and os.access(base, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="desktop-", dir=base))
    return Path(tempfile.mkdtemp(prefix="desktop-"))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == pid and stat[0] != "Z":
                found.append(int(entry.name))
    return [*found, *(below for child in found for below in _children(child))]


def end_all() -> None:
    """End every program of the desktop; orphans come to this process, so none is missed."""
    deadline = time.monotonic() + _GRACE
    while children := _children(os.getpid()):
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)


def _run(run: Path, socket: str) -> int:
    desktop = Desktop(run)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, desktop.end)
    desktop.start_server(socket)
    desktop.env |= environment(run) | {"PATH": closed_programs(run)}
    (run / "xpa").mkdir(mode=0o700)
    look = menu.write(SHARE, run, desktop.env)
    desktop.once("xsetroot", "-solid", _BACKGROUND, "-cursor_name", "left_ptr")
    if shutil.which("dbus-daemon"):
        address = f"unix:path={run / 'bus'}"
        desktop.keep("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}")
        desktop.env["DBUS_SESSION_BUS_ADDRESS"] = address
    desktop.keep("openbox", "--sm-disable", "--config-file", str(look.window_manager))
    desktop.keep("tint2", "-c", str(look.panel))
    code = desktop.wait()
    return 0 if desktop.asked_to_end else code if code > 0 else 128 - code if code else 0


def main() -> int:
    """Run a desktop to its end and give the exit status."""
    if len(sys.argv) != 2 or not sys.argv[1].startswith("/"):
        _fail("give the path of the socket: canfar-desktop /run/canfar/gateway/app.sock")
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    run = runtime_directory()
    try:
        return _run(run, sys.argv[1])
    finally:
        end_all()
        Path(sys.argv[1]).unlink(missing_ok=True)
        shutil.rmtree(run, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
