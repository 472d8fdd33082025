"""The routes of the storage API; what they answer is in docs/developer/lab.md."""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from typing import Any

from canfar_lab.storage import entries, paths
from canfar_lab.storage.areas import Area, Areas
from canfar_lab.storage.errors import Refused
from canfar_lab.storage.handler import StorageHandler
from canfar_lab.storage.helpers import Answer, Readers, Task, Tasks

API = 1
"""Counts up when something is taken from it; what is added needs no new number."""
_LIST = ("area", "path", "sort", "order", "filter", "hidden", "offset", "limit", "generation")
_LONGEST_WAIT = 20
_LONGEST_TEXT = 255
_MOST_PATHS = 10_000


class _Handler(StorageHandler):
    @property
    def readers(self) -> Readers:
        found: Readers = self.settings["canfar_readers"]
        return found

    @property
    def tasks(self) -> Tasks:
        found: Tasks = self.settings["canfar_tasks"]
        return found

    def pass_on(self, answer: Answer) -> None:
        """Send what a helper said as it is, compressed where the caller takes that."""
        body = answer.body
        self.set_status(answer.status)
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Vary", "Accept-Encoding")
        if answer.gzip:
            if "gzip" in self.request.headers.get("Accept-Encoding", ""):
                self.set_header("Content-Encoding", "gzip")
            else:
                body = zlib.decompress(body, wbits=31)
        self.finish(body)


class AreasHandler(_Handler):
    """The areas of the session."""

    visitors_may = frozenset({"GET"})

    async def get(self) -> None:
        """List them, and have the helper ready that will be asked next."""
        self.question()
        contents = await self.in_thread(_contents, self.areas, self.settings["server_root_dir"])
        self.readers.warm()
        areas = [_area(area, contents, reading=not self.is_owner) for area in self.areas.areas]
        self.write_json({"api": API, "areas": areas})


def _area(area: Area, contents: dict[str, str], *, reading: bool) -> dict[str, Any]:
    return {
        "id": area.id,
        "title": area.title,
        "path": area.at,
        "arc": area.arc,
        "contents": contents.get(area.id),
        "persistence": area.persistence,
        "writable": area.writable and not reading,
    }


def _contents(areas: Areas, root: str) -> dict[str, str]:
    """Say where JupyterLab's own browser has each area: below its root, or as a link in it."""
    top = Path(root).expanduser()
    try:
        links = {os.path.realpath(link): link.name for link in top.iterdir() if link.is_symlink()}
    except OSError:
        links = {}
    found = {}
    for area in areas.areas:
        real = Path(os.path.realpath(area.at))
        if str(real) in links:
            found[area.id] = links[str(real)]
        elif real.is_relative_to(os.path.realpath(top)):
            found[area.id] = str(real.relative_to(os.path.realpath(top))).strip(".")
    return found


class ListHandler(_Handler):
    """Some rows of a folder."""

    visitors_may = frozenset({"GET"})

    async def get(self) -> None:
        """List them."""
        asked = self.question(*_LIST, "around")
        if not self.is_owner:
            asked["reading"] = "1"
        self.pass_on(await self.readers.ask("list", asked))


class EntryHandler(_Handler):
    """One file or folder."""

    visitors_may = frozenset({"GET"})

    async def get(self) -> None:
        """Describe it."""
        self.pass_on(await self.readers.ask("entry", self.question("area", "path", "at")))


class UsageHandler(_Handler):
    """How full something is."""

    _track_activity = False
    visitors_may = frozenset({"GET"})

    async def get(self) -> None:
        """Say it."""
        self.pass_on(await self.readers.ask_apart("usage", self.question("area", "path")))


class FolderHandler(_Handler):
    """New folders."""

    async def post(self) -> None:
        """Make one."""
        asked = self.body(area=str, path=str)
        made = await self.in_thread(entries.make_folder, self.areas, asked["area"], asked["path"])
        self.write_json(made, 201)


class RenameHandler(_Handler):
    """New names."""

    async def post(self) -> None:
        """Give one."""
        asked = self.body(area=str, path=str, name=str)
        renamed = await self.in_thread(
            entries.rename, self.areas, asked["area"], asked["path"], asked["name"]
        )
        self.write_json(renamed)


class TasksHandler(_Handler):
    """Searches, measures and deletions."""

    visitors_may = frozenset({"POST"})

    async def post(self) -> None:
        """Begin one."""
        asked = self.body(
            what=str,
            area=str,
            path=(str, type(None)),
            paths=(list, type(None)),
            text=(str, type(None)),
            hidden=(bool, type(None)),
        )
        if asked["what"] == "delete":
            self.check_owner()
        checked = await self.in_thread(_checked, self.areas, asked)
        self.write_json(self.tasks.begin(checked).view(0), 201)


def _checked(areas: Areas, asked: dict[str, Any]) -> dict[str, Any]:
    """Accept a task; what can be said at once is said at once."""
    what = asked["what"]
    if what == "search":
        text = asked["text"] or ""
        if not text.strip() or len(text) > _LONGEST_TEXT:
            raise Refused(
                "invalid",
                f"Give a part of a name to search for, of at most {_LONGEST_TEXT} characters.",
            )
        areas.locate(asked["area"], asked["path"] or "")
        return {**asked, "path": asked["path"] or ""}
    if what not in {"measure", "delete"}:
        raise Refused("invalid", "what must be search, measure or delete.")
    wanted = asked["paths"]
    if not wanted or not all(isinstance(path, str) for path in wanted):
        raise Refused("invalid", "paths must be a list of paths, and not empty.")
    if len(wanted) > _MOST_PATHS:
        raise Refused("invalid", f"At most {_MOST_PATHS} paths are taken at once.")
    for path in wanted:
        if what == "delete":
            areas.locate(asked["area"], path, follow=False).to_change()
        elif not paths.split(path):
            areas.find(asked["area"])
            raise Refused("invalid", "Give files or folders to count; an area has its usage.")
    return asked


class TaskHandler(_Handler):
    """One task."""

    _track_activity = False
    visitors_may = frozenset({"GET", "DELETE"})

    def _task(self, name: str) -> Task:
        task = self.tasks.find(name)
        if task.what == "delete":
            self.check_owner()
        return task

    async def get(self, name: str) -> None:
        """Say how far it is, when there is something new."""
        asked = self.question("after", "wait")
        after = _whole(asked, "after", 1 << 30)
        wait = _whole(asked, "wait", _LONGEST_WAIT)
        task = self._task(name)
        if wait:
            await self.tasks.wait(task, after, wait)
        self.write_json(task.view(after))

    async def delete(self, name: str) -> None:
        """Cancel it."""
        task = self._task(name)
        self.tasks.cancel(task)
        self.write_json(task.view(len(task.hits)))


def _whole(asked: dict[str, str], name: str, most: int) -> int:
    text = asked.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= most):
        raise Refused("invalid", f"{name} must be a whole number from 0 to {most}.")
    return int(text)


def routes(base: str) -> list[tuple[str, type[StorageHandler]]]:
    """Give the routes below a server's base address.

    Parameters
    ----------
    base : str
        With a slash at its end.
    """
    found: list[tuple[str, type[StorageHandler]]] = [
        ("areas", AreasHandler),
        ("list", ListHandler),
        ("entry", EntryHandler),
        ("usage", UsageHandler),
        ("folder", FolderHandler),
        ("rename", RenameHandler),
        ("tasks", TasksHandler),
        (r"tasks/([\w-]+)", TaskHandler),
    ]
    at = f"{re.escape(base)}canfar/storage"
    return [(f"{at}/{path}", handler) for path, handler in found]
