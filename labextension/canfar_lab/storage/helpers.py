"""The helper processes of the server: one that reads folders, and one for each task."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canfar_lab.storage.errors import Refused
from canfar_lab.storage.worker import HEADER

_PACKAGES = Path(__file__).resolve().parents[2]
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from canfar_lab.storage.{0} import main; main()"
)
_KEEP = ("CANFAR_", "HOME", "LANG", "LC_", "PATH", "TZ")
_PATIENCE = 30.0
"""Seconds that a file system has to answer."""
_LATELY = 30.0
"""Seconds for which what took long to find out is taken for true."""
_REFUSED = 400
_MOST_READERS = 2
_LONGEST_LINE = 16 << 20
_MOST_TASKS = 8
_ABANDONED = 60.0
"""Seconds after which a search that nobody asks about ends."""
_REMEMBERED = 600.0
"""Seconds for which is known how a task ended."""


async def _start(module: str) -> Process:
    """Start a process of ours that knows the areas and no secret.

    Raises
    ------
    Refused
        The session has no room for another one.
    """
    told = {name: value for name, value in os.environ.items() if name.startswith(_KEEP)}
    try:
        return await _started(module, told)
    except OSError:
        raise Refused(
            "failed",
            "No process can be started for it: the session is full. End something and try again.",
            500,
        ) from None


async def _started(module: str, told: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        # Names of files are UTF-8, whatever the owner's locale says.
        "-X",
        "utf8",
        # Nothing of the owner's own modules: what is asked of it must be done by ours.
        "-I",
        "-c",
        _START.format(module),
        str(_PACKAGES),
        stdin=PIPE,
        stdout=PIPE,
        env=told,
        limit=_LONGEST_LINE,
    )


@dataclass(frozen=True)
class Answer:
    """What a helper said, as it is sent on."""

    status: int
    body: bytes
    gzip: bool


class _Reader:
    """One helper process, which answers one request after the other."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._lock = asyncio.Lock()
        self._warming: asyncio.Task[None] | None = None
        self.waiting = 0

    def warm(self) -> None:
        self._warming = asyncio.ensure_future(self._begin())

    async def _begin(self) -> None:
        async with self._lock:
            if self._process is None:
                self._process = await _start("worker")

    async def ask(self, line: bytes) -> Answer:
        self.waiting += 1
        try:
            async with self._lock:
                return await self._ask(line)
        finally:
            self.waiting -= 1

    async def _ask(self, line: bytes) -> Answer:
        try:
            return await asyncio.wait_for(self._exchange(line), _PATIENCE)
        except TimeoutError:
            self.end()
            raise Refused(
                "away",
                f"The file system has not answered within {_PATIENCE:.0f} seconds; try again later.",
                504,
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            # It was ended, by whoever: a new one may have more luck, once.
            self.end()
            try:
                return await asyncio.wait_for(self._exchange(line), _PATIENCE)
            except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                self.end()
                raise Refused(
                    "failed",
                    "The folder could not be read: the helper that reads folders has ended;"
                    " try again.",
                    500,
                ) from None

    async def _exchange(self, line: bytes) -> Answer:
        if self._process is None or self._process.returncode is not None:
            self._process = await _start("worker")
        process = self._process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - asked for above
        process.stdin.write(line)
        await process.stdin.drain()
        size, status, gzip = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
        return Answer(status, await process.stdout.readexactly(size), gzip)

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()


def _line(what: str, asked: Mapping[str, str]) -> bytes:
    return json.dumps({**asked, "do": what}).encode("ascii") + b"\n"


class Readers:
    """The processes that read folders: a second one where the first is busy with another folder."""

    def __init__(self) -> None:
        self._readers: list[_Reader] = []
        self._asked: dict[tuple[str, str], _Reader] = {}
        self._said: dict[tuple[object, ...], tuple[float, Answer]] = {}

    async def ask(self, what: str, asked: Mapping[str, str]) -> Answer:
        """Have a request answered.

        Raises
        ------
        Refused
            The file system does not answer.
        """
        reader = self._reader(asked.get("area", ""), asked.get("path", ""))
        line = _line(what, asked)
        # Whoever does not wait any more must not take the answer from the next one.
        return await asyncio.shield(asyncio.ensure_future(reader.ask(line)))

    def warm(self) -> None:
        """Have a process ready, as the first request is about to come."""
        if not self._readers:
            self._readers.append(_Reader())
            self._readers[0].warm()

    async def ask_apart(self, what: str, asked: Mapping[str, str]) -> Answer:
        """Have a request answered that may take a second, by a process that ends with it.

        What it said of late is said again.

        Raises
        ------
        Refused
            The file system does not answer.
        """
        key = (what, *sorted(asked.items()))
        now = time.monotonic()
        self._said = {each: said for each, said in self._said.items() if said[0] > now - _LATELY}
        if key in self._said:
            return self._said[key][1]
        reader = _Reader()
        try:
            answer = await reader.ask(_line(what, asked))
        finally:
            reader.end()
        if answer.status < _REFUSED:
            self._said[key] = now, answer
        return answer

    def _reader(self, area: str, path: str) -> _Reader:
        """Give the one that knows the folder, else one that has nothing to do."""
        key = (area, path)
        known = self._asked.pop(key, None)
        if known is None:
            idle = [reader for reader in self._readers if not reader.waiting]
            if not idle and len(self._readers) < _MOST_READERS:
                idle = [_Reader()]
                self._readers += idle
            known = idle[0] if idle else min(self._readers, key=lambda reader: reader.waiting)
        self._asked[key] = known
        while len(self._asked) > 64:
            del self._asked[next(iter(self._asked))]
        return known

    def end(self) -> None:
        """End the processes."""
        for reader in self._readers:
            reader.end()


@dataclass
class Task:
    """A search, a measure or a deletion."""

    what: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    state: str = "running"
    error: dict[str, str] | None = None
    told: dict[str, Any] = field(default_factory=dict)
    hits: list[dict[str, Any]] = field(default_factory=list)
    asked: float = field(default_factory=time.monotonic)
    ended: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    process: Process | None = None

    def view(self, after: int) -> dict[str, Any]:
        """Give what is known of it, with the hits from a number on."""
        counts = {"files": 0, "folders": 0, "bytes": 0, "complete": True, "more": False}
        return {
            "id": self.id,
            "what": self.what,
            "state": self.state,
            "error": self.error,
            **counts,
            **self.told,
            "hits": self.hits[after:],
            "next": max(after, len(self.hits)),
        }


class Tasks:
    """All tasks, each a process of its own, which is how it is cancelled."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, asked: dict[str, Any]) -> Task:
        """Begin a task.

        Raises
        ------
        Refused
            There are too many.
        """
        self._forget()
        if sum(task.state == "running" for task in self._tasks.values()) >= _MOST_TASKS:
            raise Refused(
                "busy",
                f"{_MOST_TASKS} searches and deletions are at work; wait for one, or cancel it.",
                429,
            )
        task = Task(asked["what"])
        self._tasks[task.id] = task
        running = asyncio.ensure_future(self._run(task, asked))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return task

    def find(self, name: str) -> Task:
        """Give a task by its id.

        Raises
        ------
        Refused
        """
        task = self._tasks.get(name)
        if task is None:
            raise Refused("not-found", "There is no such task any more; begin it anew.", 404)
        task.asked = time.monotonic()
        return task

    async def wait(self, task: Task, after: int, seconds: float) -> None:
        """Wait until there is something new of a task, or for so long."""
        if task.state == "running" and len(task.hits) <= after:
            task.changed.clear()
            try:
                await asyncio.wait_for(task.changed.wait(), seconds)
            except TimeoutError:
                return
            finally:
                task.asked = time.monotonic()

    def cancel(self, task: Task) -> None:
        """End a task as far as it has come."""
        if task.state == "running":
            self._close(task, "cancelled")

    def end(self) -> None:
        """End all of them."""
        for task in self._tasks.values():
            self.cancel(task)

    async def _run(self, task: Task, asked: dict[str, Any]) -> None:
        if task.state != "running":
            return
        try:
            process = await _start("work")
        except Refused as refused:
            task.error = {"code": refused.code, "message": refused.message}
            self._close(task, "failed")
            return
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - asked for in _start
        if task.state != "running":
            process.kill()
            await process.wait()
            return
        task.process = process
        watch = asyncio.ensure_future(self._watch(task))
        try:
            process.stdin.write(json.dumps(asked).encode("ascii") + b"\n")
            process.stdin.close()
            async for line in process.stdout:
                self._take(task, json.loads(line))
        except (ConnectionError, ValueError):
            # What it has not told is said below.
            pass
        finally:
            watch.cancel()
            await process.wait()
        if task.state == "running":
            task.error = {
                "code": "failed",
                "message": "It was ended before it was done; try again.",
            }
            self._close(task, "failed")

    def _take(self, task: Task, told: dict[str, Any]) -> None:
        if task.state != "running":
            return
        task.hits += told.pop("hits")
        task.error = told.pop("error", None)
        state = told.pop("state", "running")
        task.told = told
        if state == "running":
            task.changed.set()
        else:
            self._close(task, state)

    def _close(self, task: Task, state: str) -> None:
        task.state = state
        task.ended = time.monotonic()
        task.changed.set()
        if task.process is not None and task.process.returncode is None:
            task.process.kill()

    async def _watch(self, task: Task) -> None:
        """End what nobody asks about any more; a deletion is done whoever looks."""
        while task.what != "delete":
            left = task.asked + _ABANDONED - time.monotonic()
            if left <= 0:
                self._close(task, "cancelled")
                return
            await asyncio.sleep(left)

    def _forget(self) -> None:
        now = time.monotonic()
        for name, task in list(self._tasks.items()):
            if task.ended is not None and now - task.ended > _REMEMBERED:
                del self._tasks[name]
