"""The outbox: what happened to sessions, kept until the session manager has taken it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from canfar_spawner.core.events import SessionEvent
from canfar_spawner.replacing import replacing

_MOST_AT_ONCE: Final = 200
_BYTES_AT_ONCE: Final = 400_000
"""The session manager takes requests of up to a megabyte."""


class Outbox:
    """Events as JSON lines in a file of the hub's data directory.

    An event is written before the hub forgets what it is about, so that killing the hub loses
    none. It may be delivered twice; the receiver tells by launch, kind and time. However much
    waits, no more than a batch of it is in memory.

    Parameters
    ----------
    path : Path
        Made with mode 0600 where it is missing.
    log : logging.Logger
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.path = path
        self.appended: Callable[[], None] | None = None
        """Called when there is something to deliver."""
        self._log = log
        self._delivering = False
        self._taken = 0
        """Bytes at the beginning of the file that have been taken.

        Known to this process only: after a restart of the hub they are delivered again.
        """

    def append(self, event: SessionEvent) -> None:
        """Keep an event; a full disk is logged and does not stop a session."""
        line = event.model_dump_json() + "\n"
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                # What a full disk has cut short before must not spoil this line too.
                end = os.lseek(descriptor, 0, os.SEEK_END)
                torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
                content = ("\n" + line if torn else line).encode()
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._log.error("The event %s could not be kept: %s", line.strip(), error)
        if self.appended is not None:
            self.appended()

    def _read(self, start: int, *, events: int, length: int) -> tuple[list[SessionEvent], int]:
        """Give the events from a position on, and where the next line begins."""
        found: list[SessionEvent] = []
        position = start
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return [], start
        with file:
            file.seek(start)
            for line in file:
                if found and (len(found) >= events or position + len(line) - start > length):
                    break
                position += len(line)
                try:
                    found.append(SessionEvent.model_validate_json(line))
                except ValueError:
                    # A line cut short by a full disk; what follows it is still good.
                    self._log.warning("A broken line of %s is passed over", self.path)
        return found, position

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def waiting(self) -> tuple[SessionEvent, ...]:
        """Give all events that nobody has taken yet, oldest first."""
        size = self._size()
        return tuple(self._read(self._taken, events=size, length=size)[0])

    async def deliver(self, post: Callable[[Sequence[SessionEvent]], Awaitable[bool]]) -> int:
        """Hand the waiting events over, in batches, until one is not taken.

        Parameters
        ----------
        post : callable
            Says whether it took the events.

        Returns
        -------
        int
            How many were taken.
        """
        if self._delivering:
            return 0
        self._delivering = True
        taken = 0
        try:
            while True:
                if self._taken > self._size():
                    # Somebody else has emptied the file.
                    self._taken = 0
                batch, end = self._read(self._taken, events=_MOST_AT_ONCE, length=_BYTES_AT_ONCE)
                if batch and not await post(batch):
                    return taken
                self._cross_out(end)
                if not batch:
                    return taken
                taken += len(batch)
        finally:
            self._delivering = False

    def _cross_out(self, end: int) -> None:
        """Note how much has been taken, and shorten the file where that is worth while."""
        self._taken = end
        size = self._size()
        # Of a long file the rest is copied only when it is the smaller part.
        if end == 0 or (end < size and end * 2 < size):
            return
        with replacing(self.path) as new, self.path.open("rb") as old:
            # Events appended while the batch was on its way stay: only a prefix is removed.
            old.seek(end)
            shutil.copyfileobj(old, new)
        self._taken = 0
