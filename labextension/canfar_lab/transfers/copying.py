"""Copies and moves: files, links and whole folders, complete or not there at all.

What is not complete has a name of its own beside the final one. A server that starts again finds there
how far it is, and goes on from that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from canfar_lab.storage import paths
from canfar_lab.storage.areas import Areas, Place
from canfar_lab.storage.errors import Refused, from_os_error, shown
from canfar_lab.storage.tree import Closed, Entered, Left, delete, walk_tree
from canfar_lab.storage.tree import Count as Deleted
from canfar_lab.transfers import content, moving, naming
from canfar_lab.transfers.jobs import Job, Spot, Work

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_WORTH_GOING_ON = 32 << 20
"""Bytes of a file that is not simply copied anew by a server that starts again."""
_MOST_NOTES = 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot() -> str:
    """Say which start of the machine this is; empty where it does not tell."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@contextmanager
def folder(place: Place) -> Iterator[int]:
    """Open a folder for putting something into it."""
    with place.area.open_root() as root:
        descriptor = paths.walk(root, place.parts)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def target_of(areas: Areas, spot: Spot) -> Place:
    """Find the folder that something goes to.

    Raises
    ------
    Refused
    """
    place = areas.locate(spot.area, spot.path)
    try:
        with folder(place):
            pass
    except OSError as error:
        raise from_os_error(error, place.name) from None
    # Whatever is new there must be something that may be changed.
    Place(place.area, (*place.parts, "new")).to_change()
    return place


def sources_of(areas: Areas, spot: Spot, *, change: bool) -> Iterator[Place]:
    """Find what is to be taken, in its order.

    Raises
    ------
    Refused
    """
    for path in spot.paths:
        place = areas.locate(spot.area, path, follow=False)
        if change:
            place.to_change()
        elif not place.parts:
            raise Refused("not-allowed", "A whole area is not copied; copy what is in it.", 403)
        yield place


def check(job: Job, areas: Areas) -> None:
    """Refuse a copy or move that cannot be made, before it is begun.

    Raises
    ------
    Refused
    OSError
    """
    source, target = _spots(job)
    place = target_of(areas, target)
    there_already: list[str] = []
    with folder(place) as directory:
        for taken in sources_of(areas, source, change=job.kind == "move"):
            with taken.parent() as (above, name):
                found = os.stat(name, dir_fd=above, follow_symlinks=False)
                is_folder = stat.S_ISDIR(found.st_mode)
                if is_folder:
                    _check_not_within(directory, found, name)
                _check_kind(found.st_mode, name)
                wanted = job.name or name
                there = naming.exists(directory, wanted)
                if there is not None and os.path.samestat(found, there) and job.kind == "move":
                    raise Refused("exists", f"{shown(name)} is in this folder already.", 409)
                if (
                    there is not None
                    and os.path.samestat(found, there)
                    and job.conflict == "replace"
                ):
                    raise Refused("exists", f"{shown(name)} would replace itself.", 409)
                if there is not None and job.conflict == "refuse":
                    there_already.append(wanted)
                else:
                    naming.check(directory, wanted, job.conflict, folder=is_folder)
    if there_already:
        raise naming.taken(there_already)


def _spots(job: Job) -> tuple[Spot, Spot]:
    assert job.source is not None and job.target is not None  # noqa: S101, PT018 - every copy has both
    return job.source, job.target


def _check_kind(mode: int, name: str) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        raise Refused(
            "not-a-file",
            f"{shown(name)} is a pipe, socket or device; files, folders and links are copied.",
            409,
        )


def _check_not_within(directory: int, source: os.stat_result, name: str) -> None:
    """Refuse to copy a folder into itself: it would never be complete."""
    at = os.dup(directory)
    try:
        while True:
            found = os.fstat(at)
            if os.path.samestat(found, source):
                raise Refused(
                    "invalid", f"{shown(name)} cannot go into itself; choose another folder."
                )
            above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = above
            if os.path.samestat(os.fstat(at), found):
                return
    finally:
        os.close(at)


class Copying:
    """One copy or move, from its beginning or from where an earlier server was.

    Parameters
    ----------
    work : Work
    areas : Areas
    save : callable
        Called when something has changed that must be known to a later server.
    """

    def __init__(self, work: Work, areas: Areas, save: Callable[[], object]) -> None:
        self._work = work
        self._job = work.job
        self._areas = areas
        self._save = save
        self._source, self._target = _spots(work.job)
        self._place = target_of(areas, self._target)

    def run(self) -> None:
        """Do it.

        Raises
        ------
        Stopped
        Refused
        OSError
        """
        job = self._job
        now = boot()
        with folder(self._place) as directory:
            if job.boot != now:
                # What was written before may have holes that only look like data.
                discard(directory, job.part)
                job.boot, job.current = now, []
            job.bytes_done, job.files_done = job.bytes_placed, job.files_placed
            paths_left = self._source.paths[len(job.placed) :]
            if paths_left and self._finished_before(directory, paths_left[0]):
                job.files_total = max(job.files_total or 0, job.files_done)
            for taken in self._left():
                if job.kind == "move" and self._renamed(directory, taken):
                    continue
                self._check_room(directory)
                self._one(directory, taken)

    def _left(self) -> Iterator[Place]:
        """Give what is not in its place yet."""
        source = Spot(self._source.area, self._source.paths[len(self._job.placed) :])
        yield from sources_of(self._areas, source, change=self._job.kind == "move")

    def _put(self, above: int, name: str, directory: int, wanted: str, *, is_folder: bool) -> str:
        """Give something its final name, so that a later server knows if it was done."""
        job = self._job
        job.placing = content.identity(os.stat(name, dir_fd=above, follow_symlinks=False))
        self._save()
        return naming.put(above, name, directory, wanted, job.conflict, folder=is_folder)

    def _done(self, name: str) -> None:
        job = self._job
        job.placed.append(name)
        job.current, job.placing = [], []
        job.bytes_placed, job.files_placed = job.bytes_done, job.files_done
        self._save()

    def _finished_before(self, directory: int, path: str) -> bool:
        """Complete what an earlier server had put in its place but not written down."""
        job = self._job
        wanted = job.name or path.rpartition("/")[2]
        final = naming.find(directory, wanted, job.placing)
        if final is None:
            return False
        if job.kind == "move":
            with suppress(FileNotFoundError, Refused):
                taken = self._areas.locate(self._source.area, path, follow=False)
                with taken.parent() as (above, name):
                    is_folder = stat.S_ISDIR(
                        os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
                    )
                    self._take_away(above, name, directory, final, is_folder=is_folder)
        self._done(final)
        return True

    def _take_away(
        self, above: int, name: str, directory: int, final: str, *, is_folder: bool
    ) -> None:
        moving.written_out(directory)
        for note in moving.remove(above, name, directory, final, folder=is_folder):
            self._note(note)

    def _renamed(self, directory: int, taken: Place) -> bool:
        """Move within a file system, where that is all it takes."""
        job = self._job
        with taken.parent() as (above, name):
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
            if found.st_dev != os.fstat(directory).st_dev:
                return False
            is_folder = stat.S_ISDIR(found.st_mode)
            try:
                final = self._put(above, name, directory, job.name or name, is_folder=is_folder)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    return False
                raise
        job.files_done += 1
        job.files_total = max(job.files_total or 0, job.files_done)
        self._done(final)
        return True

    def _check_room(self, directory: int) -> None:
        """Count once how much there is, and refuse what does not fit."""
        job = self._job
        if not job.counted:
            job.state = "counting"
            files = size = 0
            for taken in self._left():
                more = _measure(taken, self._work)
                files, size = files + more[0], size + more[1]
            job.bytes_total = job.bytes_placed + size
            job.files_total = job.files_placed + files
            job.counted = True
            naming.check_room(self._place, directory, size)
            self._save()
        job.state = "running"

    def _one(self, directory: int, taken: Place) -> None:
        """Copy one file, link or folder under a name of its own, then give it the final one."""
        job = self._job
        with taken.parent() as (above, name):
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
            is_folder = stat.S_ISDIR(found.st_mode)
            if is_folder:
                _check_not_within(directory, found, name)
            naming.check(directory, job.name or name, job.conflict, folder=is_folder)
            if is_folder:
                self._tree(taken, directory)
            elif stat.S_ISLNK(found.st_mode):
                discard(directory, job.part)
                os.symlink(os.readlink(name, dir_fd=above), job.part, dir_fd=directory)
                job.files_done += 1
            else:
                _check_kind(found.st_mode, name)
                self._file(above, name, directory, job.part, "")
            self._verify(above, name, directory)
            final = self._put(directory, job.part, directory, job.name or name, is_folder=is_folder)
            if job.kind == "move":
                self._take_away(above, name, directory, final, is_folder=is_folder)
        self._done(final)

    def _verify(self, above: int, name: str, directory: int) -> None:
        """Compare what arrived with what it was made from, where somebody wants to know."""
        job = self._job
        found = os.stat(job.part, dir_fd=directory, follow_symlinks=False)
        if not (job.verify and stat.S_ISREG(found.st_mode)):
            return
        job.state = "checking"
        sums = []
        for at, file in ((above, name), (directory, job.part)):
            descriptor = os.open(file, _READ, dir_fd=at)
            try:
                sums.append(content.digest(descriptor, lambda _: self._work.moved(0)))
            finally:
                os.close(descriptor)
        if sums[0] != sums[1]:
            raise Refused(
                "failed",
                f"The copy of {shown(name)} differs from what it was made from, and was not kept;"
                " try again.",
                500,
            )
        job.checksum = sums[0]

    def _tree(self, taken: Place, directory: int) -> None:
        """Copy a folder with everything below it; what cannot be copied is noted."""
        root = taken.open_folder()
        try:
            for step in walk_tree(root):
                match step:
                    case Entered():
                        into = self._made(directory, step)
                        try:
                            for entry in step.others:
                                self._entry(step, entry, into)
                        finally:
                            os.close(into)
                    case Closed():
                        self._could_not(step.way[-1] if step.way else taken.name, step.error)
                    case Left():
                        continue
        finally:
            os.close(root)

    def _made(self, directory: int, step: Entered) -> int:
        """Make the folder that one of the source goes to, or find it made."""
        mode = stat.S_IMODE(os.fstat(step.folder).st_mode) & 0o777 | 0o700
        way = [self._job.part, *step.way]
        above = paths.walk(directory, way[:-1])
        try:
            with suppress(FileExistsError):
                os.mkdir(way[-1], mode, dir_fd=above)
            return paths.walk(above, way[-1:])
        finally:
            os.close(above)

    def _entry(self, step: Entered, entry: os.DirEntry[str], into: int) -> None:
        name = entry.name
        try:
            mode = os.stat(name, dir_fd=step.folder, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                discard(into, name)
                os.symlink(os.readlink(name, dir_fd=step.folder), name, dir_fd=into)
                self._job.files_done += 1
                self._work.moved(0)
                return
            _check_kind(mode, name)
            self._file(step.folder, name, into, name, "/".join([*step.way, name]))
        except FileNotFoundError:
            # It was removed meanwhile: whoever did so does not want it copied.
            return
        except PermissionError as error:
            self._could_not(name, error)
        except Refused as refused:
            if refused.code != "not-a-file":
                raise
            self._note(refused.message)

    def _could_not(self, name: str, error: OSError) -> None:
        self._note(f"Not copied: {from_os_error(error, name).message}")

    def _note(self, text: str) -> None:
        notes = self._job.notes
        if len(notes) < _MOST_NOTES:
            notes.append(text)
        elif len(notes) == _MOST_NOTES:
            notes.append("There is more like this, which is not listed.")

    def _file(self, above: int, name: str, into: int, new: str, key: str) -> None:
        source = os.open(name, _READ, dir_fd=above)
        try:
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                raise content.changed(name)
            begin = self._kept(into, new, key, found)
            if begin is not None:
                self._content(source, found, into, new, begin, name)
        finally:
            os.close(source)
        self._job.files_done += 1

    def _kept(self, into: int, new: str, key: str, found: os.stat_result) -> int | None:
        """Say how much of a file is there already; None where that is all of it."""
        job = self._job
        there = naming.exists(into, new)
        is_same = job.current == [key, content.identity(found)]
        if there is not None and stat.S_ISREG(there.st_mode):
            if (
                there.st_size == found.st_size
                and there.st_mtime_ns == found.st_mtime_ns
                and (key or is_same)
            ):
                self._work.moved(found.st_size)
                return None
            if is_same and there.st_size <= found.st_size:
                self._work.moved(there.st_size)
                return there.st_size
        elif there is not None:
            discard(into, new)
        if found.st_size >= _WORTH_GOING_ON or not key:
            job.current = [key, content.identity(found)]
            self._save()
        return 0

    def _content(
        self, source: int, found: os.stat_result, into: int, new: str, begin: int, name: str
    ) -> None:
        mode = stat.S_IMODE(found.st_mode) & 0o777
        flags = _WRITE | (0 if begin else os.O_TRUNC)
        target = os.open(new, flags, mode | 0o600, dir_fd=into)
        try:
            if not stat.S_ISREG(os.fstat(target).st_mode):
                raise content.changed(name)
            content.copy(source, target, found.st_size, begin, self._work.moved, name)
            if content.identity(os.fstat(source)) != content.identity(found):
                raise content.changed(name)
            if mode & 0o600 != 0o600:
                # Only now, as it may have to be opened again by a server that goes on.
                os.fchmod(target, os.fstat(target).st_mode & ~0o600 | mode & 0o600)
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(target)


def _measure(taken: Place, work: Work) -> tuple[int, int]:
    """Count files and bytes of something."""
    with taken.parent() as (above, name):
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        return 1, found.st_size if stat.S_ISREG(found.st_mode) else 0
    files = size = 0
    root = taken.open_folder()
    try:
        for step in walk_tree(root):
            if isinstance(step, Entered):
                for entry in step.others:
                    found = os.stat(entry.name, dir_fd=step.folder, follow_symlinks=False)
                    files += 1
                    size += found.st_size if stat.S_ISREG(found.st_mode) else 0
                work.moved(0)
    finally:
        os.close(root)
    return files, size


def discard(directory: int, name: str) -> None:
    """Remove what is not complete, or has to make way; what cannot be removed stays."""
    found = naming.exists(directory, name)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=directory)
        return
    root = paths.open_folder(directory, [name])
    try:
        for _ in delete(root, Deleted(), []):
            pass
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=directory)
