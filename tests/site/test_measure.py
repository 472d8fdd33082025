"""Measuring real directories, and what CephFS would say of them."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from canfar_spawner.core.filling import Measured
from canfar_spawner.site.measure import Attribute, attribute, count, measure
from tests.core.world import NOW

LONG = 60.0


def now() -> datetime:
    return NOW


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def ceph(said: Mapping[str, int], top: Path) -> Attribute:
    """Answer as CephFS does: ``<path below top>:<attribute>``."""
    return lambda path, name: said.get(f"{path.relative_to(top)}:{name}")


def test_files_bytes_and_holes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"x" * 10_000)
    (tmp_path / "a" / "b" / "two").write_bytes(b"y" * 5)
    with (tmp_path / "cube.fits").open("wb") as file:
        file.truncate(2 * 2**30)
    found = count(tmp_path, seconds=LONG)
    assert (found.files, found.size, found.complete) == (3, 2 * 2**30 + 10_005, True)
    assert found.taken < 2**20, "holes take nothing"


def test_a_file_with_two_names_takes_its_room_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(os.urandom(100_000))
    alone = count(tmp_path, seconds=LONG).taken
    os.link(tmp_path / "one", tmp_path / "two")
    found = count(tmp_path, seconds=LONG)
    assert (found.files, found.taken) == (2, alone)


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "large").write_bytes(b"x" * 100_000)
    home = tmp_path / "home"
    home.mkdir()
    (home / "away").symlink_to(outside)
    (home / "file").symlink_to(outside / "large")
    found = count(home, seconds=LONG)
    assert found.size < 1000
    assert found.complete
    with pytest.raises(NotADirectoryError):
        count(home / "away", seconds=LONG)


def test_counting_ends_when_its_time_is_over(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "file").write_bytes(b"x")
    found = count(tmp_path, seconds=0)
    assert not found.complete
    assert found.files < 40


def test_a_very_deep_tree_is_the_least_there_is(tmp_path: Path) -> None:
    before = open_files()
    subprocess.run(
        ["sh", "-c", "for i in $(seq 400); do mkdir d && cd d; done; echo x > end"],
        cwd=tmp_path,
        check=True,
    )
    found = count(tmp_path, seconds=LONG)
    assert not found.complete
    assert open_files() == before, "nothing is left open"
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_what_changes_while_it_is_counted_breaks_nothing(tmp_path: Path) -> None:
    over = threading.Event()

    def change() -> None:
        place = tmp_path / "comes and goes"
        while not over.is_set():
            place.mkdir(exist_ok=True)
            (place / "file").write_bytes(b"x")
            (place / "file").unlink()
            place.rmdir()
            place.symlink_to("/")
            place.unlink()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert count(tmp_path, seconds=LONG).files <= 1, "never what a link leads to"
    finally:
        over.set()
        thread.join()


def test_cephfs_says_it_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "home" / "ada"
    home.mkdir(parents=True)
    read = ceph({"home/ada:ceph.dir.rbytes": 6, "home/ada:ceph.quota.max_bytes": 10}, tmp_path)
    found = measure(home, top=tmp_path, seconds=LONG, now=now, read=read)
    assert found == Measured(at=NOW, used=6, quota=10)


def test_a_quota_above_that_is_nearly_used_up_is_told_of(tmp_path: Path) -> None:
    home = tmp_path / "home" / "ada"
    home.mkdir(parents=True)
    said = {
        "home/ada:ceph.dir.rbytes": 6,
        "home:ceph.dir.rbytes": 970,
        "home:ceph.quota.max_bytes": 1000,
        ".:ceph.dir.rbytes": 2000,
        ".:ceph.quota.max_bytes": 9000,
    }
    found = measure(home, top=tmp_path, seconds=LONG, now=now, read=ceph(said, tmp_path))
    assert found == Measured(at=NOW, used=6, disk=1000, free=30)


def test_elsewhere_it_is_counted_and_the_disk_asked(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    (home / "file").write_bytes(os.urandom(200_000))
    found = measure(home, top=tmp_path, seconds=LONG, now=now)
    assert found.used is not None
    assert 200_000 <= found.used < 300_000
    assert found.complete
    assert found.quota is None
    assert found.disk
    assert found.free is not None
    assert found.free < found.disk


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to mount a file system")
def test_a_file_system_of_its_own_is_its_quota(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(home)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        (home / "file").write_bytes(b"x" * 2**20)
        found = measure(home, top=tmp_path, seconds=LONG, now=now)
        assert (found.used, found.quota) == (2**20, 8 * 2**20)
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be somebody else")
def test_a_home_that_may_not_be_read_is_not_guessed(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    (home / "file").write_bytes(b"x" * 1000)
    home.chmod(0o700)
    tmp_path.chmod(0o755)
    for above in tmp_path.parents[:2]:
        above.chmod(0o755)
    child = os.fork()
    if child == 0:
        ended = 2
        try:
            os.setuid(65534)
            found = measure(home, top=tmp_path, seconds=LONG, now=now)
            ended = 0 if found.used is None and found.disk else 1
        finally:
            os._exit(ended)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure(tmp_path / "no", top=tmp_path, seconds=LONG, now=now)
    assert attribute(tmp_path, "user.nothing") is None
