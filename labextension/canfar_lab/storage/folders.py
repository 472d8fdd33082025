"""Folders of any size, as they were at one moment: their names, in the orders they are looked at."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from canfar_lab.storage.errors import Refused
from canfar_lab.storage.order import Ordered

SORTS = ("name", "size", "modified", "type")
_MOST_NAMES = 300_000
"""Names that are remembered; the folder that was looked at last is kept however many it has."""
_MOST_FOLDERS = 64
_MOST_VIEWS = 4
_FRESH = 10.0
"""Seconds for which sizes and times are taken for those of now, where they decide an order."""
_TICK = 1_000_000_000
"""Nanoseconds: what changed so shortly before it was read may change again at the same time."""
_UNFINISHED = re.compile(r"\.canfar-.+\.part")
"""What a transfer writes until it is complete."""


class Look(NamedTuple):
    """How a folder is looked at."""

    sort: str = "name"
    descending: bool = False
    filter: str = ""
    hidden: bool = False


class Stamp(NamedTuple):
    """What a folder has of its own that changes with what is in it."""

    device: int
    inode: int
    modified: int
    changed: int

    @classmethod
    def of(cls, folder: int) -> Stamp:
        """Read it from an open folder."""
        found = os.fstat(folder)
        return cls(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


@dataclass
class Names:
    """The names in a folder, as they were read."""

    folders: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    hidden_folders: list[str] = field(default_factory=list)
    hidden_others: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.folders) + len(self.others)

    @property
    def weight(self) -> int:
        """How many there are to remember."""
        return len(self) + len(self.hidden_folders) + len(self.hidden_others)


def unfinished(name: str) -> bool:
    """Say whether it is what a transfer has not completed, which nobody is to see."""
    return _UNFINISHED.fullmatch(name) is not None


def read(folder: int) -> Names:
    """Read the names in an open folder, without a look at each of them."""
    found = Names()
    folders, others = found.folders, found.others
    hidden_folders, hidden_others = found.hidden_folders, found.hidden_others
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if name[0] != ".":
                (folders if is_folder else others).append(name)
            elif not unfinished(name):
                (hidden_folders if is_folder else hidden_others).append(name)
    return found


class View:
    """The names of a folder in one order: its folders, then the rest.

    Parameters
    ----------
    folders, others : Ordered or list of str
    """

    def __init__(self, folders: Ordered | list[str], others: Ordered | list[str]) -> None:
        self._folders = _complete(folders)
        self._others = others
        self.total = len(folders) + len(others)

    def rows(self, offset: int, limit: int) -> list[str]:
        """Give some of them."""
        end = offset + limit
        split = len(self._folders)
        rows = self._folders[offset:end]
        if end > split:
            until = end - split
            others = self._others
            known = others.first(until) if isinstance(others, Ordered) else others
            rows = rows + known[max(0, offset - split) : until]
        return rows

    def find(self, name: str) -> int | None:
        """Say where a name is."""
        for names, before in ((self._folders, 0), (_complete(self._others), len(self._folders))):
            try:
                return before + names.index(name)
            except ValueError:
                continue
        return None

    def advance(self) -> bool:
        """Sort some more, for those who look further down; false once all are."""
        if isinstance(self._others, Ordered) and not self._others.complete:
            self._others.advance()
            return True
        return False


def _complete(names: Ordered | list[str]) -> list[str]:
    return names.all() if isinstance(names, Ordered) else names


class Listing:
    """A folder as it was when it was read.

    Parameters
    ----------
    names : Names
    generation : str
        What this state is called.
    where : tuple
        Which folder it is: its device and number.
    """

    def __init__(self, names: Names, generation: str, where: tuple[int, int]) -> None:
        self.names = names
        self.where = where
        self.generation = generation
        self._views: OrderedDict[Look, View] = OrderedDict()
        self._stats: dict[str, tuple[int, int]] = {}
        self._looked = float("-inf")

    def view(self, look: Look, folder: int) -> View:
        """Give the names in an order; what decides it is read from the open folder."""
        if look in self._views:
            self._views.move_to_end(look)
            return self._views[look]
        view = self._views[look] = self._arranged(look, folder)
        while len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)
        return view

    def aged(self, look: Look) -> bool:
        """Say whether its order was decided by sizes and times that may be others by now."""
        decided = look.sort in {"size", "modified"} and bool(self._stats)
        return decided and time.monotonic() - self._looked > _FRESH

    def advance(self) -> bool:
        """Sort some more of what was looked at last; false once nothing is left to do."""
        return bool(self._views) and next(reversed(self._views.values())).advance()

    def count(self, *, hidden: bool) -> int:
        """Say how many names there are."""
        return self.names.weight if hidden else len(self.names)

    def _chosen(self, look: Look) -> tuple[list[str], list[str]]:
        names = self.names
        folders, others = names.folders, names.others
        if look.hidden:
            folders, others = folders + names.hidden_folders, others + names.hidden_others
        if not look.filter:
            return folders, others
        return _matching(folders, look.filter), _matching(others, look.filter)

    def _arranged(self, look: Look, folder: int) -> View:
        folders, others = self._chosen(look)
        if look.sort == "name" and not look.descending:
            return View(Ordered(folders), Ordered(others))
        folders, others = list(Ordered(folders).all()), list(Ordered(others).all())
        if look.sort == "name":
            folders.reverse()
            others.reverse()
        elif look.sort == "type":
            others.sort(key=_suffix, reverse=look.descending)
        else:
            stats = self._measured(folder, [*folders, *others])
            column = SORTS.index(look.sort) - 1

            def key(name: str) -> int:
                return stats[name][column]

            others.sort(key=key, reverse=look.descending)
            if look.sort == "modified":
                folders.sort(key=key, reverse=look.descending)
        return View(folders, others)

    def _measured(self, folder: int, names: Iterable[str]) -> dict[str, tuple[int, int]]:
        if not self._stats:
            self._looked = time.monotonic()
        for name in names:
            if name not in self._stats:
                self._stats[name] = _size_and_time(name, folder)
        return self._stats


def _matching(names: list[str], text: str) -> list[str]:
    wanted = text.casefold()
    return [name for name in names if wanted in name.casefold()]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].casefold()  # noqa: PTH122 - of a hundred thousand names


def _size_and_time(name: str, folder: int) -> tuple[int, int]:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


@dataclass
class _Known:
    stamp: Stamp
    listing: Listing
    sure: bool
    """Whether a change after it was read is certain to show in the stamp."""


class Folders:
    """The folders that were looked at last.

    A folder whose times have not changed has the names that it had. Its state has a name of its own,
    so that the pages of one state fit together while files come and go.
    """

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)
        self._count = 0
        self._known: OrderedDict[tuple[int, int], _Known] = OrderedDict()
        self._states: OrderedDict[str, Listing] = OrderedDict()

    def listing(self, folder: int, look: Look, source: Callable[[int], Names] = read) -> Listing:
        """Give the state of an open folder, which is read where it is not known.

        Parameters
        ----------
        folder : int
        look : Look
            How it is going to be looked at.
        source : callable
            Reads its names.
        """
        stamp = Stamp.of(folder)
        where = stamp.device, stamp.inode
        known = self._known.get(where)
        if known is not None and known.sure and known.stamp == stamp and source is read:
            self._known.move_to_end(where)
            if known.listing.aged(look):
                known.listing = self._state(known.listing.names, where)
            return self._used(known.listing)
        began = time.time_ns()
        names = source(folder)
        same = known is not None and known.listing.names == names
        if known is not None and same and not known.listing.aged(look):
            listing = known.listing
        else:
            listing = self._state(names, where)
        # Read before the names, so that a change meanwhile makes it differ the next time.
        sure = max(stamp.modified, stamp.changed) < began - _TICK
        self._known[where] = _Known(stamp, listing, sure)
        self._known.move_to_end(where)
        return self._used(listing)

    def state(self, folder: int, generation: str) -> Listing | None:
        """Give a state of an open folder by its name, as long as it is remembered."""
        found = self._states.get(generation)
        if found is None or found.where != Stamp.of(folder)[:2]:
            return None
        return self._used(found)

    def has_changed(self, folder: int, state: Listing) -> bool:
        """Say whether an open folder is in another state by now."""
        stamp = Stamp.of(folder)
        known = self._known.get(stamp[:2])
        return known is None or known.listing is not state or known.stamp != stamp

    def advance(self) -> bool:
        """Do what will be asked for soon; false once there is nothing."""
        return bool(self._states) and next(reversed(self._states.values())).advance()

    def _state(self, names: Names, where: tuple[int, int]) -> Listing:
        self._count += 1
        return Listing(names, f"{self._start}.{self._count}", where)

    def _used(self, listing: Listing) -> Listing:
        self._states[listing.generation] = listing
        self._states.move_to_end(listing.generation)
        weight = sum(each.names.weight for each in self._states.values())
        while len(self._states) > 1 and (weight > _MOST_NAMES or len(self._states) > _MOST_FOLDERS):
            generation, oldest = self._states.popitem(last=False)
            weight -= oldest.names.weight
            for where, known in list(self._known.items()):
                if known.listing.generation == generation:
                    del self._known[where]
        return listing


def checked_look(sort: str, order: str, text: str, hidden: str) -> Look:
    """Read how a folder is to be looked at.

    Raises
    ------
    Refused
        Of a word that there is not.
    """
    if sort not in SORTS:
        raise Refused("invalid", f"sort must be {', '.join(SORTS[:-1])} or {SORTS[-1]}.")
    if order not in {"asc", "desc"}:
        raise Refused("invalid", "order must be asc or desc.")
    if hidden not in {"0", "1"}:
        raise Refused("invalid", "hidden must be 0 or 1.")
    return Look(sort, order == "desc", text.casefold(), hidden == "1")
