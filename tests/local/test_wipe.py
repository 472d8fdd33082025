from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from canfar_spawner.local import wipe
from tests.support.launch import NOBODY, public_python

Need = Callable[[str, bool, str], None]
Wiper = Callable[[Path], int]


@pytest.fixture(params=["itself", "plain"])
def wiper(request: pytest.FixtureRequest, base: Path, need: Need) -> Wiper:
    """Give a way to wipe what lies in ``base``, as these tests' user or as a plain one."""
    if request.param == "itself":
        return lambda path: wipe.wipe(str(path))
    need("isolation", os.geteuid() == 0, "run these tests as root to cover other users")
    python = public_python()
    need("isolation", python is not None, "install a Python that every user may run")
    code = base / "wipe.py"
    code.write_text(Path(wipe.__file__).read_text())
    code.chmod(0o644)
    os.chown(base, NOBODY, NOBODY)

    def as_nobody(path: Path) -> int:
        subprocess.run(["/bin/chown", "-hR", f"{NOBODY}:{NOBODY}", str(path)], check=True)
        words = f"import sys; sys.path.insert(0, {str(base)!r}); import wipe; print(wipe.wipe({str(path)!r}))"
        done = subprocess.run(
            [python or sys.executable, "-I", "-B", "-c", words],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            check=True,
        )
        return int(done.stdout)

    return as_nobody


def test_what_is_not_there_is_wiped(base: Path) -> None:
    assert wipe.wipe(str(base / "none")) == 0


def test_links_are_removed_and_never_followed(base: Path, wiper: Wiper) -> None:
    outside, tree = base / "outside", base / "tree"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_text("kept")
    modes = outside.stat().st_mode
    (tree / "a" / "b").mkdir(parents=True)
    for number, place in enumerate((tree, tree / "a", tree / "a" / "b")):
        (place / f"directory{number}").symlink_to(outside)
        (place / f"file{number}").symlink_to(outside / "file")
        (place / f"dangling{number}").symlink_to("/no/such")
        (place / f"up{number}").symlink_to("../../..")
    assert wiper(tree) == 0
    assert not tree.exists()
    assert (outside / "file").read_text() == "kept"
    assert (outside / "deep").is_dir()
    assert outside.stat().st_mode == modes


def test_a_link_in_place_of_the_directory_is_left(base: Path) -> None:
    (base / "outside").mkdir()
    (base / "outside" / "file").write_text("kept")
    (base / "tree").symlink_to("outside")
    assert wipe.wipe(str(base / "tree")) == 1
    assert (base / "outside" / "file").exists()


def test_modes_do_not_keep_anything(base: Path, wiper: Wiper) -> None:
    tree = base / "tree"
    for name in ("none", "none/deeper", "none/deeper/still", "read", "empty"):
        (tree / name).mkdir(parents=True)
        (tree / name / "file").write_text("x")
    for name, mode in (
        ("none/deeper/still", 0),
        ("none/deeper", 0o400),
        ("none", 0),
        ("read", 0o500),
    ):
        (tree / name).chmod(mode)
    tree.chmod(0)
    assert wiper(tree) == 0
    assert not tree.exists()


def test_depth_and_odd_names_are_no_hindrance(base: Path, wiper: Wiper) -> None:
    tree = base / "tree"
    tree.mkdir()
    handle = os.open(tree, os.O_RDONLY)
    for depth in range(1500):
        os.mkdir("d", dir_fd=handle)
        os.close(os.open(f"f{depth}\n\udcff", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        deeper = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    for name in (".0.wiped", ".1.wiped"):
        (tree / name).write_text("taken")
    assert wiper(tree) == 0
    assert not tree.exists()


def test_what_cannot_be_removed_is_counted_and_the_rest_is_gone(base: Path, need: Need) -> None:
    need("isolation", os.geteuid() == 0, "run these tests as root to make what is not the user's")
    python = public_python()
    need("isolation", python is not None, "install a Python that every user may run")
    tree = base / "tree"
    (tree / "foreign" / "inner").mkdir(parents=True)
    (tree / "own" / "deep").mkdir(parents=True)
    (tree / "own" / "deep" / "file").write_text("x")
    for path in (tree, tree / "own", tree / "own" / "deep", tree / "own" / "deep" / "file"):
        os.chown(path, NOBODY, NOBODY)
    words = f"{Path(wipe.__file__).read_text()}\nprint(wipe({str(tree)!r}))"
    done = subprocess.run(
        [python or "", "-I", "-c", words],
        user=NOBODY,
        extra_groups=[],
        capture_output=True,
        check=True,
    )
    assert int(done.stdout) == 1
    assert [path.name for path in tree.iterdir()] == ["foreign"]
