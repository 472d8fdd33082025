"""The storage provisioner's program: makes homes and projects on arc.

A Job runs ``python3 -m canfar_spawner.kubernetes.arc DOCUMENT`` with the root of the storage
at ``/arc``. The document is JSON::

    {"homes": {"path": "home", "quota": 107374182400,
               "make": [{"name": "ada", "uid": 20001, "gid": 20001}]},
     "projects": {"path": "projects", "quota": null,
                  "make": [{"name": "survey", "gid": 30001}]}}

Run again it changes nothing, and it never touches what lies within a home or a project that is
there already. Every step goes through descriptors, so that no link, also one swapped in while
it runs, leads it elsewhere. It needs no more than CHOWN, DAC_OVERRIDE and FOWNER, and the groups
of the projects: without FSETID only a member of the group may keep the set-group-id bit.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from canfar_spawner.site.directories import (
    HOME_MODE,
    PASSED_THROUGH,
    PROJECT_MODE,
    add,
    open_directory,
    settle,
)

REFUSED = 3
"""The exit code where another try would end the same way."""
_FAILED = 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_LOWEST_ID = 1000
_QUOTA = "ceph.quota.max_bytes"
_NO_QUOTAS = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL)


class Refused(Exception):
    """What was asked for is wrong, or somebody has to decide first."""


@dataclass(frozen=True)
class Wanted:
    """One directory."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Part:
    """The homes, or the projects."""

    path: tuple[str, ...]
    """The parts of their directory's path below the root."""
    quota: int | None
    make: tuple[Wanted, ...]


def _number(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < _LOWEST_ID:
        raise Refused(f"{what} has to be a number from {_LOWEST_ID} on, not {value!r}.")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Refused(f"{value!r} is no name of a directory.")
    return value


def parse(document: str) -> tuple[Part, Part]:
    """Read the document: homes and projects.

    Raises
    ------
    Refused
        It is not as it should be.
    """

    def part(value: dict[str, Any], *, homes: bool) -> Part:
        quota = value["quota"]
        if quota is not None and (isinstance(quota, bool) or not isinstance(quota, int)):
            raise Refused(f"A quota is a number of bytes, not {quota!r}.")
        return Part(
            path=tuple(_name(name) for name in value["path"].split("/") if name),
            quota=quota,
            make=tuple(
                Wanted(
                    name=_name(entry["name"]),
                    uid=_number(entry["uid"], "uid") if homes else 0,
                    gid=_number(entry["gid"], "gid"),
                )
                for entry in value["make"]
            ),
        )

    try:
        read = json.loads(document)
        return part(read["homes"], homes=True), part(read["projects"], homes=False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"The document is not as it should be: {error!r}.") from None


@contextmanager
def _opened(path: str | Path, within: int | None = None) -> Iterator[int]:
    descriptor = open_directory(path, within=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say of which directory an error is, where the system does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or name
        raise


@contextmanager
def _walked(root: int, path: tuple[str, ...]) -> Iterator[int]:
    """Open a directory below the root; parts that are missing are made for all to pass through."""
    if not path:
        yield root
        return
    new = add(path[0], within=root)
    with _opened(path[0], root) as descriptor:
        if new:
            settle(descriptor, mode=PASSED_THROUGH, owner=(0, 0))
        with _walked(descriptor, path[1:]) as found:
            yield found


def _copy(source: Path, within: int, owner: tuple[int, int]) -> None:
    """Copy files and directories of a skeleton; whatever is there already stays."""
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        kind = entry.stat(follow_symlinks=False)
        mode = stat.S_IMODE(kind.st_mode) & 0o755
        if stat.S_ISDIR(kind.st_mode):
            add(entry.name, within=within)
            with suppress(NotADirectoryError), _opened(entry.name, within) as descriptor:
                _copy(Path(entry.path), descriptor, owner)
                settle(descriptor, mode=mode, owner=owner)
        elif stat.S_ISREG(kind.st_mode):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            try:
                descriptor = os.open(entry.name, flags, 0o600, dir_fd=within)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(Path(entry.path).read_bytes())
                os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)


def _limit(descriptor: int, quota: int | None) -> str:
    """Set a directory's quota where it has none and its file system keeps quotas."""
    if quota is None:
        return ""
    try:
        with suppress(OSError):
            # One that somebody has raised, or lowered, by hand stays.
            kept = int(os.getxattr(descriptor, _QUOTA) or b"0")
            if kept > 0:
                return f", quota of {kept} bytes kept"
        os.setxattr(descriptor, _QUOTA, str(quota).encode())
    except OSError as error:
        if error.errno not in _NO_QUOTAS:
            raise
        return f", without a quota ({error.strerror})"
    return f", quota of {quota} bytes set"


def _told(kind: str, wanted: Wanted, *, new: bool, changed: bool, quota: str) -> None:
    what = "made" if new else "corrected" if changed else "as it should be"
    sys.stdout.write(f"{kind} {wanted.name}: {what}{quota}\n")
    sys.stdout.flush()


def home(within: int, wanted: Wanted, quota: int | None, skeleton: Path) -> None:
    """Make a home, with the skeleton's files in a new one."""
    add(wanted.name, within=within)
    owner = (wanted.uid, wanted.gid)
    with _opened(wanted.name, within) as descriptor:
        found = os.fstat(descriptor)
        # It is given away last: what root still owns is new, or was left unfinished.
        new = found.st_uid == 0
        if not new and found.st_uid != wanted.uid:
            raise Refused(
                f"The home {wanted.name} belongs to the user id {found.st_uid}, not to"
                f" {wanted.uid}; whoever looks after the storage has to say whose it is."
            )
        if new:
            settle(descriptor, mode=HOME_MODE, owner=(0, 0))
            if skeleton.is_dir():
                _copy(skeleton, descriptor, owner)
        limited = _limit(descriptor, quota)
        changed = settle(descriptor, mode=HOME_MODE, owner=owner)
    _told("home", wanted, new=new, changed=changed, quota=limited)


def project(within: int, wanted: Wanted, quota: int | None) -> None:
    """Make a project's directory, shared by its group."""
    new = add(wanted.name, within=within)
    with _opened(wanted.name, within) as descriptor:
        limited = _limit(descriptor, quota)
        changed = settle(descriptor, mode=PROJECT_MODE, owner=(wanted.uid, wanted.gid))
    _told("project", wanted, new=new, changed=changed, quota=limited)


def provision(document: str, *, root: Path, skeleton: Path) -> None:
    """Make everything that a document asks for.

    Raises
    ------
    Refused, OSError
    """
    homes, projects = parse(document)
    with _opened(root) as top:
        for part, make in ((homes, partial(home, skeleton=skeleton)), (projects, project)):
            if part.make:
                with _walked(top, part.path) as within:
                    for wanted in part.make:
                        with _naming(wanted.name):
                            make(within, wanted, part.quota)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; a failure is one sentence in its last line."""
    parser = argparse.ArgumentParser(prog="canfar-arc", description="Make homes and projects.")
    parser.add_argument("document", help="what to make, as JSON")
    parser.add_argument("--root", type=Path, default=Path("/arc"), help="where the storage is")
    parser.add_argument(
        "--skeleton", type=Path, default=Path("/etc/skel"), help="what a new home starts with"
    )
    given = parser.parse_args(arguments)
    os.umask(0o022)
    try:
        provision(given.document, root=given.root, skeleton=given.skeleton)
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except NotADirectoryError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}.\n")
        return REFUSED
    except OSError as error:
        sys.stderr.write(f"{error.filename or given.root}: {error.strerror}.\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
