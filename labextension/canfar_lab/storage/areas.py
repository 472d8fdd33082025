"""The areas of a session's storage: where each is, and what becomes of it."""

from __future__ import annotations

import errno
import json
import os
import posixpath
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from canfar_lab.storage import paths
from canfar_lab.storage.errors import Refused, from_os_error, shown

_MOST_LINKS = 40
"""As many as the kernel follows."""
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PERSISTENCE = {
    "kept and backed up": "backed up",
    "kept, no backup": "kept",
    "wiped when the session ends": "wiped",
}
"""The words of the platform, and those of the API."""


@dataclass(frozen=True)
class Area:
    """One kind of storage, below one directory."""

    id: str
    title: str
    at: str
    """Where it is in this session."""
    arc: str | None = None
    """Where the other sessions of its owner find it; None where they do not."""
    persistence: str = "unknown"
    writable: bool = True
    tops: frozenset[str] | None = None
    """What its first level has, which is nobody's to change; None where that is like any other."""

    def check_top(self, name: str, *, first: bool) -> None:
        """Accept a name of the first level.

        Raises
        ------
        Refused
            It is none of those that this session has.
        """
        if first and self.tops is not None and name not in self.tops:
            raise Refused(
                "not-found", f"{shown(name)} is not one of the projects of this session.", 404
            )

    @contextmanager
    def open_root(self) -> Iterator[int]:
        """Open the area's own directory, for looking up names in it.

        Raises
        ------
        Refused
            It is not there, or may not be entered.
        """
        try:
            root = os.open(self.at, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise from_os_error(error, self.title) from None
        try:
            yield root
        finally:
            os.close(root)


@dataclass(frozen=True)
class Place:
    """A file or folder, found without a link on the way."""

    area: Area
    parts: tuple[str, ...]

    @property
    def path(self) -> str:
        """Its path within the area."""
        return "/".join(self.parts)

    @property
    def name(self) -> str:
        """What it is called; an area has its title."""
        return self.parts[-1] if self.parts else self.area.title

    @property
    def absolute(self) -> str:
        """Where it is in this session: to be shown, never to be opened."""
        return posixpath.join(self.area.at, *self.parts)

    @property
    def arc(self) -> str | None:
        """Where the other sessions of its owner find it."""
        return None if self.area.arc is None else posixpath.join(self.area.arc, *self.parts)

    @property
    def fixed(self) -> bool:
        """Whether it is an area or a project, which is not made, renamed or deleted here."""
        return not self.parts or (self.area.tops is not None and len(self.parts) == 1)

    @contextmanager
    def parent(self) -> Iterator[tuple[int, str]]:
        """Open the folder that it is in; gives that and its name there."""
        with self.area.open_root() as root, paths.parent_beneath(root, self.parts) as found:
            yield found

    def open_folder(self) -> int:
        """Open it for listing; the caller closes it."""
        with self.area.open_root() as root:
            return paths.open_folder(root, self.parts)

    def open_file(self, flags: int, mode: int = 0o666) -> int:
        """Open it, if it is a regular file; the caller closes it."""
        with self.area.open_root() as root:
            return paths.open_beneath(root, self.parts, flags, mode)

    def to_change(self) -> Place:
        """Accept it as something that may be changed.

        Raises
        ------
        Refused
        """
        if not self.area.writable:
            raise Refused("read-only", f"{self.area.title} can only be read.", 403)
        if self.fixed:
            raise Refused(
                "not-allowed",
                f"{shown(self.name)} belongs to the platform and stays as it is; change what is in it.",
                403,
            )
        return self


@dataclass(frozen=True)
class Areas:
    """All areas of a session, in the order in which they are shown."""

    areas: tuple[Area, ...]
    _roots: tuple[tuple[tuple[str, ...], Area], ...] = field(init=False, repr=False)
    """Under which paths each is known, the longest first."""

    def __post_init__(self) -> None:
        """Note where links into an area lead."""
        roots = {
            PurePosixPath(root).parts: area
            for area in self.areas
            for root in (area.arc, os.path.realpath(area.at), area.at)
            if root
        }
        ordered = sorted(roots.items(), key=lambda root: len(root[0]), reverse=True)
        object.__setattr__(self, "_roots", tuple(ordered))

    def find(self, name: str) -> Area:
        """Give an area by its id.

        Raises
        ------
        Refused
        """
        for area in self.areas:
            if area.id == name:
                return area
        known = ", ".join(area.id for area in self.areas)
        raise Refused(
            "not-found", f"There is no area {shown(name)}; this session has {known}.", 404
        )

    def at(self, path: str) -> tuple[Area, tuple[str, ...]]:
        """Say in which area an absolute path lies; nothing is opened.

        Raises
        ------
        Refused
            It lies in none.
        """
        parts = PurePosixPath(posixpath.normpath("/" + path.lstrip("/"))).parts
        for root, area in self._roots:
            if parts[: len(root)] == root:
                return area, paths.split("/".join(parts[len(root) :]))
        raise Refused(
            "not-found",
            f"{shown(path)} is not in your storage; this session has {self._listing()}.",
            404,
        )

    def _listing(self) -> str:
        return ", ".join(area.at for area in self.areas)

    def locate(self, area: str, path: str, *, follow: bool = True) -> Place:
        """Find the place that a path means, with links resolved.

        Parameters
        ----------
        area : str
            Its id.
        path : str
            Within the area.
        follow : bool
            Whether a link at the end stands for what it leads to.

        Raises
        ------
        Refused
            A part is not there, or a link leads out of the areas.
        """
        return self._resolve(self.find(area), paths.split(path), follow=follow)

    def locate_absolute(self, path: str) -> Place:
        """Find the place that an absolute path means, with links resolved."""
        area, parts = self.at(path)
        return self._resolve(area, parts, follow=True)

    def _resolve(self, area: Area, parts: tuple[str, ...], *, follow: bool) -> Place:
        pending = deque(parts)
        for _ in range(_MOST_LINKS):
            found: list[str] = []
            link = _advance(area, found, pending, follow=follow)
            if link is None:
                return Place(area, tuple(found))
            area, way = self._leads(area, found, link)
            pending.extendleft(reversed(way))
        raise Refused("failed", f"{shown('/'.join(parts))} has links that lead in a circle.", 409)

    def _leads(self, area: Area, found: list[str], link: _Link) -> tuple[Area, tuple[str, ...]]:
        """Say where a link leads: an area, and the way there from its root."""
        if not link.text.startswith("/"):
            way = [part for part in link.text.split("/") if part not in {"", "."}]
            if link.name or found:
                return area, (*found, *way)
        try:
            # Above the area's own root; from there on the way is taken as it is written.
            return self.at(posixpath.join(area.at, link.text))
        except Refused:
            what = f"{shown(link.name)} is a link" if link.name else "A link on the way leads"
            raise Refused(
                "not-allowed",
                f"{what} to {shown(link.text)}, which is not in"
                f" {', '.join(each.title for each in self.areas)}.",
                403,
            ) from None


@dataclass(frozen=True)
class _Link:
    """A link that was met, or with an empty name the way up from an area's root."""

    name: str
    text: str


def _advance(area: Area, found: list[str], pending: deque[str], *, follow: bool) -> _Link | None:
    """Walk until a link is met; None once there is nothing left to look up."""
    with area.open_root() as root:
        at = os.open(".", _FOLDER, dir_fd=root)
        try:
            while pending:
                part = pending.popleft()
                if part == "..":
                    # Only links have such parts, and only what is no link was found until here.
                    if not found:
                        text = posixpath.join("..", *pending)
                        pending.clear()
                        return _Link("", text)
                    found.pop()
                    above = paths.walk(root, found)
                    os.close(at)
                    at = above
                    continue
                area.check_top(part, first=not found)
                below = None if not (pending or follow) else _step(at, part, last=not pending)
                if isinstance(below, _Link):
                    return below
                found.append(part)
                if below is not None:
                    os.close(at)
                    at = below
        finally:
            os.close(at)
    return None


def _step(at: int, part: str, *, last: bool) -> int | _Link | None:
    """Enter a folder, or read a link; None where it is neither, at the end of the way."""
    try:
        return os.open(part, _FOLDER, dir_fd=at)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise from_os_error(error, part) from None
        text = _text_of_link(part, at)
        if text is not None:
            return _Link(part, text)
        if last:
            return None
        raise from_os_error(error, part) from None


def _text_of_link(name: str, directory: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise from_os_error(error, name) from None


def from_environment(environ: Mapping[str, str]) -> Areas:
    """Read a session's areas from its variables.

    What an older platform does not tell is not known, and said to be so.
    """
    told = _told(environ.get("CANFAR_STORAGE", ""))
    found = []
    for name, title, at in (
        ("home", "Home", environ.get("CANFAR_HOME", "")),
        ("projects", "Projects", environ.get("CANFAR_PROJECTS_DIR", "")),
        ("scratch", "Scratch", environ.get("CANFAR_SCRATCH", "")),
    ):
        if not at:
            continue
        tops = frozenset(environ.get("CANFAR_PROJECTS", "").split())
        found.append(_area(name, title, at, told.pop(name, {}), tops=tops))
    for name, about in told.items():
        if about.get("path"):
            found.append(_area(name, about.get("title") or name, about["path"], about))
    return Areas(tuple(found))


def _area(
    name: str,
    title: str,
    at: str,
    about: Mapping[str, str],
    *,
    tops: frozenset[str] = frozenset(),
) -> Area:
    wiped = "wiped" if name == "scratch" else "unknown"
    return Area(
        id=name,
        title=title,
        at=at,
        arc=about.get("arc") or None,
        persistence=_PERSISTENCE.get(about.get("persistence", ""), wiped),
        writable=not about.get("read_only"),
        tops=tops if name == "projects" else None,
    )


def _told(text: str) -> dict[str, dict[str, str]]:
    try:
        told = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    return {str(name): about for name, about in told.items() if isinstance(about, dict)}
