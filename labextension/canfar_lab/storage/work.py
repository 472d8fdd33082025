"""The process of one task that takes as long as there are files: search, measure, delete.

It reads what to do from its input, writes what it has found, line by line, and is ended by whoever
cancels it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from canfar_lab.storage.areas import Areas, Place, from_environment
from canfar_lab.storage.errors import Refused, from_os_error, shown
from canfar_lab.storage.folders import unfinished
from canfar_lab.storage.pages import letter_of
from canfar_lab.storage.tree import Closed, Count, Entered, count, delete, walk_tree

_TELL_EVERY = 0.2
_MEASURE_FOR = 10.0
_MOST_HITS = 5000
_WILD = frozenset("*?[")


class Work:
    """One task, and what it tells.

    Parameters
    ----------
    areas : Areas
    write : callable
        Takes a line for the server.
    """

    def __init__(self, areas: Areas, write: Callable[[str], object]) -> None:
        self._areas = areas
        self._write = write
        self._counted = Count()
        self._hits: list[dict[str, Any]] = []
        self._found = 0
        self._more = False
        self._told = time.monotonic()

    def run(self, asked: dict[str, Any]) -> None:
        """Do what was asked for, and tell how it ended."""
        error = None
        try:
            for _ in self._steps(asked):
                if time.monotonic() - self._told > _TELL_EVERY:
                    self._tell()
        except Refused as refused:
            error = {"code": refused.code, "message": refused.message}
        except OSError as refused:
            told = from_os_error(refused, refused.filename or "The folder")
            error = {"code": told.code, "message": told.message}
        self._tell(state="failed" if error else "done", error=error)

    def _tell(self, **more: object) -> None:
        counted = self._counted
        told = {
            "files": counted.files,
            "folders": counted.folders,
            "bytes": counted.bytes,
            "complete": counted.complete,
            "hits": self._hits,
            "more": self._more,
        }
        self._write(json.dumps(told | more, separators=(",", ":")))
        self._hits = []
        self._told = time.monotonic()

    def _steps(self, asked: dict[str, Any]) -> Iterator[None]:
        match asked["what"]:
            case "search":
                place = self._areas.locate(asked["area"], asked["path"])
                return self._search(place, asked["text"], hidden=bool(asked.get("hidden")))
            case "measure":
                return self._measure(self._places(asked))
            case _:
                return self._delete([place.to_change() for place in self._places(asked)])

    def _places(self, asked: dict[str, Any]) -> list[Place]:
        return [self._areas.locate(asked["area"], path, follow=False) for path in asked["paths"]]

    def _search(self, place: Place, text: str, *, hidden: bool) -> Iterator[None]:
        matches = _matcher(text)
        tops = place.area.tops if not place.parts else None
        folder = place.open_folder()
        try:
            for step in walk_tree(folder):
                match step:
                    case Entered():
                        if tops is not None and not step.way:
                            step.folders[:] = sorted(tops.intersection(step.folders), reverse=True)
                        yield from self._look(place, step, matches, hidden=hidden)
                    case Closed():
                        self._counted.complete = False
                if self._more:
                    return
        finally:
            os.close(folder)

    def _look(
        self, place: Place, step: Entered, matches: Callable[[str], bool], *, hidden: bool
    ) -> Iterator[None]:
        if not hidden:
            step.folders[:] = [name for name in step.folders if name[0] != "."]
        self._counted.folders += len(step.folders)
        # Taken from its end.
        for name in [*reversed(step.folders), *(entry.name for entry in step.others)]:
            if name[0] == "." and (not hidden or unfinished(name)):
                continue
            if matches(name):
                self._hit(place, step, name)
                if self._more:
                    return
        self._counted.files += len(step.others)
        yield

    def _hit(self, place: Place, step: Entered, name: str) -> None:
        if self._found >= _MOST_HITS:
            self._more = True
            return
        try:
            found = os.stat(name, dir_fd=step.folder, follow_symlinks=False)
        except OSError:
            return
        self._found += 1
        self._hits.append(
            {
                "path": "/".join((*place.parts, *step.way, name)),
                "type": letter_of(found.st_mode),
                "size": found.st_size,
                "modified": int(found.st_mtime),
            }
        )

    def _measure(self, places: list[Place]) -> Iterator[None]:
        until = time.monotonic() + _MEASURE_FOR
        for place in places:
            folder = self._folder(place)
            if folder is None:
                with place.parent() as (at, name):
                    self._counted.add(os.stat(name, dir_fd=at, follow_symlinks=False).st_size)
                continue
            try:
                self._counted.folders += 1
                yield from count(folder, self._counted, until=until)
            finally:
                os.close(folder)

    def _delete(self, places: list[Place]) -> Iterator[None]:
        failures: list[tuple[str, OSError]] = []
        for place in places:
            try:
                yield from self._delete_one(place, failures)
            except OSError as error:
                failures.append((place.name, error))
        if failures:
            name, cause = failures[0]
            first = from_os_error(cause, name)
            others = len(failures) - 1
            if others:
                raise Refused(
                    first.code,
                    f"{shown(name)} and {others} more could not be deleted. {first.message}",
                    first.status,
                )
            raise first

    def _delete_one(self, place: Place, failures: list[tuple[str, OSError]]) -> Iterator[None]:
        folder = self._folder(place)
        if folder is not None:
            try:
                yield from delete(folder, self._counted, failures)
            finally:
                os.close(folder)
            if failures:
                return
        with place.parent() as (at, name):
            if folder is not None:
                os.rmdir(name, dir_fd=at)
                self._counted.folders += 1
                return
            size = os.stat(name, dir_fd=at, follow_symlinks=False).st_size
            os.unlink(name, dir_fd=at)
            self._counted.add(size)

    def _folder(self, place: Place) -> int | None:
        """Open what is a folder; None for a link, also to a folder, and for everything else."""
        with place.parent() as (at, name):
            if letter_of(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode) != "d":
                return None
        return place.open_folder()


def _matcher(text: str) -> Callable[[str], bool]:
    """Give what says whether a name is looked for: a part of it, or a pattern with ``*``."""
    wanted = text.casefold()
    if _WILD & set(wanted):
        return lambda name: fnmatch.fnmatchcase(name.casefold(), wanted)
    return lambda name: wanted in name.casefold()


def main() -> None:
    """Do the task that the process which started this one has written."""

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    Work(from_environment(os.environ), write).run(json.loads(sys.stdin.readline()))
