"""Which launches are known to have ended: what is left of them may be removed, no id comes again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from canfar_spawner.core.names import LaunchId, SessionId, launch_id, session_of
from canfar_spawner.replacing import replace_file

_KEPT: Final = timedelta(days=30)


class EndedLaunches:
    """Launch ids and when they ended, a line each, in a file of the hub's data directory.

    An object in the cluster whose launch is neither among the hub's sessions nor here belongs to
    somebody whose record was lost; it is not touched.

    Parameters
    ----------
    path : Path
    clock : callable
        Gives the time in UTC.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._ended = self._read()
        self._sessions = set(map(session_of, self._ended))

    def _read(self) -> set[LaunchId]:
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return set()
        kept: dict[LaunchId, str] = {}
        oldest = self._clock() - _KEPT
        for line in lines:
            try:
                name, _, at = line.partition(" ")
                if datetime.fromisoformat(at) > oldest:
                    kept[launch_id(name)] = line
            except (ValueError, TypeError):
                continue  # cut short by a full disk
        if len(kept) < len(lines):
            text = "".join(f"{line}\n" for line in kept.values())
            replace_file(self._path, text, lasting=False)
        return set(kept)

    def add(self, launch: LaunchId) -> None:
        """Note that a launch has ended; a full disk only lets what is left of it stay longer."""
        if launch in self._ended:
            return
        self._ended.add(launch)
        self._sessions.add(session_of(launch))
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, f"{launch} {self._clock().isoformat()}\n".encode())
            finally:
                os.close(descriptor)

    def __contains__(self, launch: object) -> bool:
        return launch in self._ended

    def has_session(self, session: SessionId) -> bool:
        """Say whether a launch of a session is known to have ended."""
        return session in self._sessions
