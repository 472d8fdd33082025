"""The outbox: what happened to sessions, kept until the session manager has taken it."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from canfar_spawner.core.events import SessionEvent

_MOST_AT_ONCE = 200


class Outbox:
    """Events as JSON lines in a file of the hub's data directory.

    An event is written before the hub forgets what it is about, so that killing the hub loses
    none. It may be delivered twice; the receiver tells by launch, kind and time.

    Parameters
    ----------
    path : Path
        Made with mode 0600 where it is missing.
    log : logging.Logger
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.path = path
        self._log = log
        self._delivering = False

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

    def _read(self) -> tuple[list[SessionEvent], list[int]]:
        """Give the waiting events and, for each, where the next line begins."""
        events, ends, position = [], [], 0
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return [], []
        for line in content.splitlines(keepends=True):
            position += len(line)
            try:
                events.append(SessionEvent.model_validate_json(line))
            except ValueError:
                # A line cut short by a full disk; what follows it is still good.
                self._log.warning("A broken line of %s is passed over", self.path)
                continue
            ends.append(position)
        return events, ends

    def waiting(self) -> tuple[SessionEvent, ...]:
        """Give the events that nobody has taken yet, oldest first."""
        return tuple(self._read()[0])

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
                events, ends = self._read()
                batch = events[:_MOST_AT_ONCE]
                if not batch or not await post(batch):
                    return taken
                self._drop(ends[len(batch) - 1])
                taken += len(batch)
        finally:
            self._delivering = False

    def _drop(self, length: int) -> None:
        # Events appended while the batch was on its way stay: only a prefix is removed.
        rest = self.path.read_bytes()[length:]
        partial = self.path.with_suffix(".new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, rest)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(self.path)
