"""An upload: what a page sends, piece by piece, as often as it has to begin again."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from canfar_lab.storage import paths
from canfar_lab.storage.areas import Areas
from canfar_lab.storage.errors import Refused
from canfar_lab.transfers import content, naming
from canfar_lab.transfers.copying import boot, discard, folder, target_of
from canfar_lab.transfers.jobs import Job, Work

_LARGEST = 1 << 62
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_COMPARED = 64 << 20


def check(job: Job, areas: Areas) -> None:
    """Refuse an upload that could not be put in its place, before any of it comes.

    Raises
    ------
    Refused
    OSError
    """
    assert job.target is not None  # noqa: S101 - every upload has one
    paths.check_name(job.name)
    if job.bytes_total is None or not 0 <= job.bytes_total <= _LARGEST:
        raise Refused("invalid", "The field size must be the number of bytes that will come.")
    place = target_of(areas, job.target)
    with folder(place) as directory:
        naming.check(directory, job.name, job.conflict, folder=False)
        naming.check_room(place, directory, job.bytes_total)


class Upload:
    """A file that comes, and what there is of it.

    Parameters
    ----------
    work : Work
    areas : Areas
    save : callable
        Called when something has changed that must be known to a later server.
    """

    def __init__(self, work: Work, areas: Areas, save: Callable[[], object]) -> None:
        self.work = work
        self.job = work.job
        self._areas = areas
        self._save = save
        self._file: int | None = None
        self._directory = -1
        self._hash = hashlib.sha256()
        self._hashed = 0
        self.receiving = False
        # A file that is closed while it is written to would be another one by then.
        self.lock = threading.RLock()

    def open(self) -> None:
        """Find how much there is already, or begin.

        Raises
        ------
        Refused
        OSError
        """
        with self.lock:
            if self._file is None:
                self._open()

    def _open(self) -> None:
        job = self.job
        assert job.target is not None  # noqa: S101 - every upload has one
        with folder(target_of(self._areas, job.target)) as directory:
            file = os.open(job.part, _WRITE, 0o666, dir_fd=directory)
            self._directory = os.dup(directory)
        self._file = file
        now = boot()
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise Refused("changed", "What was received was replaced by something else.", 409)
        job.bytes_done = found.st_size
        if job.boot != now or found.st_size > (job.bytes_total or 0):
            # What was written before may have holes that only look like data.
            os.ftruncate(file, 0)
            job.boot, job.bytes_done = now, 0
            self._save()

    def was_placed(self) -> bool:
        """Say whether an earlier server has given it its name, but not written that down.

        Raises
        ------
        Refused
        OSError
        """
        job = self.job
        assert job.target is not None  # noqa: S101 - every upload has one
        with folder(target_of(self._areas, job.target)) as directory:
            final = naming.find(directory, job.name, job.placing)
        if final is not None:
            job.placed, job.files_done, job.bytes_done = [final], 1, job.bytes_total or 0
        return final is not None

    @property
    def file(self) -> int:
        """What is received is in this open file."""
        if self._file is None:
            raise Refused("failed", "This upload is not open; begin it anew.", 409)
        return self._file

    def close(self) -> None:
        """Let go of the file, which stays."""
        with self.lock:
            for descriptor in (self._file, self._directory):
                if descriptor is not None and descriptor >= 0:
                    os.close(descriptor)
            self._file, self._directory = None, -1

    def abandon(self) -> None:
        """Remove what was received."""
        with self.lock:
            if self._directory >= 0:
                discard(self._directory, self.job.part)
            self.close()

    def digest(self, begin: int, end: int) -> str:
        """Give the SHA-256 of a part of what was received.

        Raises
        ------
        Refused
        """
        if not 0 <= begin <= end <= self.job.bytes_done:
            raise Refused(
                "invalid",
                f"start and end must lie within the {self.job.bytes_done} bytes that were received.",
            )
        if end - begin > _MOST_COMPARED:
            raise Refused("invalid", f"At most {_MOST_COMPARED} bytes are compared at once.")
        with self.lock:
            return content.digest(self.file, lambda _: None, begin=begin, end=end)

    def complete(self) -> None:
        """Give the file its name, if all of it is there.

        Raises
        ------
        Refused
        OSError
        """
        with self.lock:
            self._complete()

    def _complete(self) -> None:
        job = self.job
        if job.bytes_done != job.bytes_total or job.is_ended:
            return
        if job.verify:
            job.state = "checking"
            job.checksum = content.digest(
                self.file, lambda _: self.work.moved(0), begin=self._hashed, known=self._hash
            )
        if job.modified is not None:
            at = job.modified * 1_000_000
            os.utime(self.file, ns=(at, at))
        job.placing = content.identity(os.fstat(self.file))
        self._save()
        final = naming.put(
            self._directory, job.part, self._directory, job.name, job.conflict, folder=False
        )
        job.placed, job.files_done = [final], 1
        self.close()

    def take(self, pieces: Sequence[bytes], at: int) -> None:
        """Write what has come."""
        content.write_pieces(self.file, pieces, at)
        if self.job.verify and at == self._hashed:
            for piece in pieces:
                self._hash.update(piece)
                self._hashed += len(piece)

    def cut(self, at: int) -> None:
        """Keep nothing of what came from there on."""
        os.ftruncate(self.file, at)
        self.job.bytes_done = at
        if self._hashed > at:
            self._hash, self._hashed = hashlib.sha256(), 0


class Body:
    """One request with bytes of an upload.

    Parameters
    ----------
    upload : Upload
        Open.
    offset : int
        Where its caller says that they begin.
    length : int or None
        How many there are, if that is said.
    digest : bytes or None
        Their SHA-256, if that is said; then they are kept only if they have it.

    Raises
    ------
    Refused
        They do not belong there.
    """

    def __init__(
        self, upload: Upload, offset: int, length: int | None, digest: bytes | None
    ) -> None:
        job = upload.job
        if job.is_ended:
            raise Refused("changed", "This upload has ended; begin a new one.", 409)
        if job.state == "paused":
            raise Refused("paused", "This upload is paused; resume it first.", 409)
        if upload.receiving:
            raise Refused("busy", "Bytes of this upload are coming already; wait for them.", 409)
        if offset != job.bytes_done:
            raise Refused("offset", f"The next byte is number {job.bytes_done}, not {offset}.", 409)
        total = job.bytes_total or 0
        if length is not None and offset + length > total:
            raise Refused("invalid", f"The upload was to have {total} bytes, and this is more.")
        upload.receiving = True
        self._upload = upload
        self._digest = digest
        self._taken = hashlib.sha256() if digest is not None else None
        self._over = False
        self._begin = self._at = offset
        self._total = total

    def write(self, pieces: Sequence[bytes]) -> None:
        """Take some of the bytes.

        Raises
        ------
        Stopped
        Refused
        OSError
        """
        with self._upload.lock:
            if not self._over:
                self._write(pieces)

    def _write(self, pieces: Sequence[bytes]) -> None:
        count = sum(map(len, pieces))
        if self._at + count > self._total:
            raise Refused(
                "invalid", f"The upload was to have {self._total} bytes, and this is more."
            )
        self._upload.take(pieces, self._at)
        self._at += count
        if self._taken is not None:
            for piece in pieces:
                self._taken.update(piece)
        self._upload.work.moved(count)

    def finish(self) -> None:
        """Keep all of it.

        Raises
        ------
        Refused
            It is not what was sent.
        """
        self._upload.receiving = False
        if self._taken is not None and self._taken.digest() != self._digest:
            self._upload.cut(self._begin)
            raise Refused(
                "digest",
                "What arrived is not what was sent; nothing of it was kept. Send it again.",
            )

    def broken(self) -> None:
        """Keep what came before the connection was lost, if it need not be compared."""
        with self._upload.lock:
            self._over, self._upload.receiving = True, False
            if self._upload.job.is_ended:
                return
            # Where that fails, whoever goes on is told what there is.
            with suppress(OSError, Refused):
                self._upload.cut(self._at if self._digest is None else self._begin)
