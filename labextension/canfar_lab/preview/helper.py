"""The helper process as the server has it: begun when it is needed, ended when it is not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from canfar_lab.fits.sources import FitsError
from canfar_lab.preview.worker import HEAD

_PACKAGES = Path(__file__).resolve().parents[2]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from canfar_lab.preview.worker import main; main()"
_KEPT = ("LANG", "LC_ALL", "PATH", "TZ")
_PATIENCE = 30.0
"""Seconds that a look into a file may take."""
_IDLE = 300.0
"""Seconds after which a process that nobody asks gives its memory back."""


class Helper:
    """One process that looks into files, for one question after the other.

    Parameters
    ----------
    patience : float
        Seconds that an answer may take.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._idle: threading.Timer | None = None

    def ask(self, asked: dict[str, Any], descriptor: int) -> bytes:
        """Have a question answered; waits, so it is called in a thread.

        Parameters
        ----------
        asked : dict
            What is to be done.
        descriptor : int
            Of the file, open to be read.

        Raises
        ------
        FitsError
            The file is not what it should be, or takes too long.
        """
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                good, body = self._exchange(asked, descriptor)
            except TimeoutError:
                self._end()
                raise FitsError(
                    f"To look into this file takes longer than {self._patience:.0f} seconds."
                ) from None
            except OSError:
                # It was ended by what it read, such as for want of memory.
                self._end()
                raise FitsError(
                    "To look into this file takes more than this session has."
                ) from None
            self._idle = threading.Timer(_IDLE, self.end)
            self._idle.daemon = True
            self._idle.start()
        if not good:
            raise FitsError(body.decode())
        return body

    def end(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()

    def _exchange(self, asked: dict[str, Any], descriptor: int) -> tuple[bool, bytes]:
        channel = self._begun()
        socket.send_fds(channel, [json.dumps(asked).encode("ascii")], [descriptor])
        size, good = HEAD.unpack(_read(channel, HEAD.size))
        return good, _read(channel, size)

    def _begun(self) -> socket.socket:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # Nothing of the owner's own modules: what is asked of it must be done by ours.
                [sys.executable, "-I", "-c", _START, str(_PACKAGES)],
                stdin=theirs.fileno(),
                env={name: value for name, value in os.environ.items() if name in _KEPT},
            )
        ours.settimeout(self._patience)
        self._channel = ours
        return ours

    def _end(self) -> None:
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel is not None:
            channel.close()
        if process is not None:
            process.kill()
            process.wait()


def _read(channel: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = channel.recv(min(count, 1 << 20))
        if not part:
            raise ConnectionError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
