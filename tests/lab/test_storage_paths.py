"""Attempts to get out of the areas: names, links, kinds of files, races, and somebody else's uid."""

from __future__ import annotations

import ast
import functools
import itertools
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from canfar_lab.storage import entries, paths
from canfar_lab.storage.areas import Areas, from_environment
from canfar_lab.storage.errors import Refused
from canfar_lab.storage.folders import Folders
from canfar_lab.storage.pages import page
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.fence import SECRET, delete, read, untouched
from tests.support.lab_server import Storage


def attempts(storage: Storage) -> Iterator[tuple[str, str]]:
    """Give every way to write a path out of an area that is known, and their combinations."""
    ups = ["..", "../..", "mine/..", "mine/../..", "./..", ".//..", "mine/./../..", "...", "..."]
    ups += [
        "..\\",
        "..\\..",
        "%2e%2e",
        "%2E%2e",
        "..%2f",
        "%252e%252e",
        "..;",
        ".. ",
        " ..",
        "..\0",
    ]
    ups += [
        "\uff0e\uff0e",
        "\u2024\u2024",
        "..\u2215",
        "\u2025",
        "%c0%ae%c0%ae",
        "..%c0%af",
        "~",
        "~ben",
    ]
    ends = [
        "secret",
        "ben/secret",
        "ada-other/secret",
        "home/ben/secret",
        "projects/foreign/secret",
    ]
    ends += [
        "etc/passwd",
        "foreign/secret",
        "../secret",
        "scratch-other/secret",
        "proc/self/environ",
    ]
    joints = ["/", "//", "/./", "\\", "%2f", "/\0/"]
    for up, joint, end in itertools.product(ups, joints, ends):
        yield "home", f"{up}{joint}{end}"
    absolute = [str(storage.base), str(storage.base / "arc" / "home"), "", "/", "//", "file://"]
    for root, end in itertools.product(absolute, ends):
        yield "home", f"{root}/{end}"
    for area in ("projects", "scratch", "home/..", "", "..", "/", "home\0", "HOME", "root"):
        for end in ends:
            yield area, end
            yield area, f"../{end}"


def test_no_written_path_gets_out(storage: Storage, areas: Areas) -> None:
    written = {
        (area, text)
        for area, path in attempts(storage)
        for text in (path, os.fsdecode(unquote_to_bytes(path)))
    }
    assert len(written) >= 1000
    for area, path in sorted(written):
        with pytest.raises(Refused) as refused:
            read(areas, area, path)
        assert refused.value.status in {400, 403, 404, 409}
    for area, path in sorted(written):
        changes: tuple[Callable[[], object], ...] = (
            functools.partial(entries.make_folder, areas, area, f"{path}x"),
            functools.partial(entries.rename, areas, area, path, "stolen"),
            functools.partial(entries.rename, areas, "home", "mine/file", path),
        )
        for change in changes:
            with suppress(Refused):
                change()
    untouched(storage)


LINKS = [
    "/etc",
    "/etc/passwd",
    "/proc/self/root",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "/",
    "..",
    "../..",
    "../ben",
    "../ben/secret",
    "../ada-other/secret",
    "../../projects/foreign",
    "../../projects/foreign/secret",
    "../../../scratch-other/secret",
    "mine/../../ben/secret",
    "self",
    "",
]


def linked(storage: Storage) -> Iterator[Path]:
    """Make links that lead out: straight, by way of each other, in folders and beside them."""
    targets = [target for target in LINKS if target]
    targets += [
        str(storage.base / "arc" / "home" / "ben"),
        str(storage.base),
        f"{storage.home}-other",
    ]
    targets += [f"{storage.home}/../ben/secret", f"{storage.projects}/foreign/secret"]
    targets += [f"{storage.scratch}-other/secret", "/dev/null", "/dev/zero", "/dev/stdin"]
    for number, target in enumerate(targets):
        link = storage.home / f"link{number}"
        link.symlink_to(link.name if target == "self" else target)
        yield link
        second = storage.scratch / f"by{number}"
        second.symlink_to(link)
        yield second
        third = storage.home / "mine" / f"again{number}"
        third.symlink_to(f"../link{number}")
        yield third


def test_no_link_leads_out(storage: Storage, areas: Areas) -> None:
    for link in linked(storage):
        area, at = areas.at(str(link))
        for end in ("", "/secret", "/etc/passwd", "/ben/secret", "/home/ben/secret", "/../secret"):
            path = "/".join(at) + end
            with pytest.raises(Refused):
                read(areas, area.id, path)
            with pytest.raises(Refused):
                page(Folders(), areas, {"area": area.id, "path": path})
            with suppress(Refused):
                entries.make_folder(areas, area.id, f"{path}/new")
        # A link may be renamed and deleted: it is the link that goes.
        entries.rename(areas, area.id, "/".join(at), f"{link.name}.old")
        entries.rename(areas, area.id, "/".join((*at[:-1], f"{link.name}.old")), link.name)
        assert link.is_symlink()
    for link in list(storage.home.glob("link*")):
        delete(areas, "home", link.name)
    assert not list(storage.home.glob("link*"))
    untouched(storage)


def test_what_is_no_regular_file_is_never_opened(storage: Storage, areas: Areas) -> None:
    os.mkfifo(storage.home / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(storage.home / "socket"))
        names = ["pipe", "socket"]
        if os.geteuid() == 0:
            with suppress(OSError):
                os.mknod(storage.home / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
                names.append("device")
        for name in names:
            began = time.monotonic()
            with pytest.raises(Refused) as refused:
                read(areas, "home", name)
            assert refused.value.code == "not-a-file"
            assert time.monotonic() - began < 5
        listed = page(Folders(), areas, {"area": "home"})
        types = dict(zip(listed["names"], listed["types"], strict=True))
        assert {types[name] for name in names} == {"o"}
    with pytest.raises(Refused):
        read(areas, "home", "mine")


@given(st.text(max_size=40) | st.text(alphabet="./\\\0%2ef", max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_path_is_names_or_refused(path: str) -> None:
    try:
        parts = paths.split(path)
    except Refused:
        return
    assert "/".join(parts) == path
    assert not {"", ".", ".."} & set(parts)
    assert not any("\0" in part or len(os.fsencode(part)) > 255 for part in parts)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_without_the_kernels_help_nothing_is_replaced_either(
    storage: Storage, areas: Areas, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CephFS and NFS have no rename that refuses to replace."""
    monkeypatch.setattr(paths, "_renameat2", lambda: None)
    source = storage.home / "source"
    {
        "file": source.touch,
        "folder": source.mkdir,
        "link": lambda: source.symlink_to("../ben"),
    }[kind]()
    for name, make in {"taken": Path.touch, "full": Path.mkdir}.items():
        make(storage.home / name)
        with pytest.raises(Refused) as refused:
            entries.rename(areas, "home", "source", name)
        assert refused.value.code == "exists"
    entries.rename(areas, "home", "source", "target")
    assert not os.path.lexists(source)
    assert (storage.home / "target").is_symlink() == (kind == "link")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Give a directory that every account may pass through."""
    base = Path(tempfile.mkdtemp(prefix="canfar-lab-"))
    base.chmod(0o711)
    yield base
    shutil.rmtree(base)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two other people")
def test_the_kernel_decides_what_a_second_uid_may(open_directory: Path) -> None:
    """What belongs to somebody else is refused, with a sentence, also by way of a hard link."""
    ada, ben = 20_001, 20_002
    storage = Storage(open_directory / "world")
    (storage.home / "mine").mkdir()
    (storage.home / "mine" / "file").write_text("of the platform")
    (storage.home / "mine" / "file").chmod(0o600)
    for path in (storage.home, storage.home / "mine", storage.scratch):
        os.chown(path, ada, ada)
    hidden = storage.home / "of-ben"
    hidden.mkdir()
    (hidden / "secret").write_text(SECRET)
    os.chown(hidden / "secret", ben, ben)
    os.chown(hidden, ben, ben)
    hidden.chmod(0o700)
    (hidden / "secret").chmod(0o600)
    os.link(hidden / "secret", storage.home / "hard")
    answer = as_user(ada, lambda: tried(from_environment(storage.environ)))
    assert answer == {
        "read of-ben/secret": "not-allowed",
        "read hard": "not-allowed",
        "list of-ben": "not-allowed",
        "delete of-ben": "not-allowed",
        "make of-ben/x": "not-allowed",
        "make mine/x": "done",
        "read mine/file": "not-allowed",
    }
    assert (hidden / "secret").read_text() == SECRET


def tried(areas: Areas) -> dict[str, str]:
    def outcome(work: Callable[[], object]) -> str:
        try:
            work()
        except Refused as refused:
            return refused.code
        return "done"

    def removed() -> None:
        told = delete(areas, "home", "of-ben")
        if '"not-allowed"' in told[-1]:
            raise Refused("not-allowed", "")

    return {
        "read of-ben/secret": outcome(lambda: read(areas, "home", "of-ben/secret")),
        "read hard": outcome(lambda: read(areas, "home", "hard")),
        "list of-ben": outcome(lambda: page(Folders(), areas, {"area": "home", "path": "of-ben"})),
        "delete of-ben": outcome(removed),
        "make of-ben/x": outcome(lambda: entries.make_folder(areas, "home", "of-ben/x")),
        "make mine/x": outcome(lambda: entries.make_folder(areas, "home", "mine/x")),
        "read mine/file": outcome(lambda: read(areas, "home", "mine/file")),
    }


def as_user(uid: int, work: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Do something in a process of that uid, which has no other rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(writing, repr(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found: dict[str, str] = ast.literal_eval(text)
    return found
