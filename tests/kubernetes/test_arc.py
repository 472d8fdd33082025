"""The storage provisioner's program, run for real on a directory."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from canfar_spawner.kubernetes.arc import REFUSED
from tests.support.hub import ROOT

PROGRAM = [sys.executable, "-m", "canfar_spawner.kubernetes.arc"]
CAPABILITIES = "+chown,+dac_override,+fowner"
ADA = {"name": "ada", "uid": 20001, "gid": 20001}
SURVEY = {"name": "survey", "gid": 30001}


@pytest.fixture(autouse=True)
def _root(need: Callable[[str, bool, str], None]) -> None:
    need("root", os.geteuid() == 0, "run these tests as root to make other users' directories")


@pytest.fixture
def arc(tmp_path: Path) -> Path:
    path = tmp_path / "arc"
    path.mkdir()
    return path


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    path = tmp_path / "skeleton"
    (path / ".config").mkdir(parents=True)
    (path / ".bashrc").write_text("alias ll='ls -l'\n")
    (path / ".config" / "tool.toml").write_text("colour = true\n")
    (path / "link").symlink_to("/etc/shadow")
    os.mkfifo(path / "pipe")
    return path


def document(
    homes: list[dict[str, object]], projects: list[dict[str, object]], quota: int | None = None
) -> str:
    return json.dumps(
        {
            "homes": {"path": "home", "quota": quota, "make": homes},
            "projects": {"path": "deep/projects", "quota": None, "make": projects},
        }
    )


def run(arc: Path, text: str, skeleton: Path) -> subprocess.CompletedProcess[str]:
    """Run it as its pod does: root with three capabilities and the projects' groups."""
    command = ["setpriv", "--bounding-set", f"-all,{CAPABILITIES}", "--inh-caps=-all"]
    command += ["--groups", "30001,30002", "--no-new-privs", *PROGRAM, text]
    return subprocess.run(
        [*command, "--root", str(arc), "--skeleton", str(skeleton)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def owned(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def snapshot(arc: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in sorted(arc.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, owned(path))
    return found


def test_directories_are_made_with_owner_and_mode(arc: Path, skeleton: Path) -> None:
    done = run(arc, document([ADA], [SURVEY]), skeleton)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["home ada: made", "project survey: made"]
    assert owned(arc / "home") == (0o755, 0, 0)
    assert owned(arc / "deep") == (0o755, 0, 0)
    assert owned(arc / "home" / "ada") == (0o700, 20001, 20001)
    assert owned(arc / "deep" / "projects" / "survey") == (0o2770, 0, 30001)


def test_a_new_home_starts_with_the_skeleton(arc: Path, skeleton: Path) -> None:
    run(arc, document([ADA], []), skeleton)
    home = arc / "home" / "ada"
    assert {str(path.relative_to(home)) for path in home.rglob("*")} == {
        ".bashrc",
        ".config",
        ".config/tool.toml",
    }
    assert (home / ".bashrc").read_text() == "alias ll='ls -l'\n"
    assert owned(home / ".config") == (0o755, 20001, 20001)
    assert owned(home / ".config" / "tool.toml") == (0o644, 20001, 20001)


def test_a_second_run_changes_nothing(arc: Path, skeleton: Path) -> None:
    run(arc, document([ADA], [SURVEY]), skeleton)
    (arc / "home" / "ada" / ".bashrc").unlink()
    before = snapshot(arc)
    done = run(arc, document([ADA], [SURVEY]), skeleton)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "home ada: as it should be",
        "project survey: as it should be",
    ]
    assert snapshot(arc) == before


def test_what_lies_within_stays_as_it_is(arc: Path, skeleton: Path) -> None:
    home, project = arc / "home" / "ada", arc / "deep" / "projects" / "survey"
    for path in (home, project):
        path.mkdir(parents=True)
        (path / "file").write_text("kept")
        (path / "file").chmod(0o640)
        os.chown(path / "file", 1234, 1234)
    os.chown(home, 20001, 100)
    home.chmod(0o755)
    done = run(arc, document([ADA], [SURVEY]), skeleton)
    assert done.stdout.splitlines() == ["home ada: corrected", "project survey: corrected"]
    assert owned(home) == (0o700, 20001, 20001)
    assert owned(project) == (0o2770, 0, 30001)
    for path in (home, project):
        assert [entry.name for entry in path.iterdir()] == ["file"]
        assert owned(path / "file") == (0o640, 1234, 1234)


def test_a_home_left_unfinished_is_finished(arc: Path, skeleton: Path) -> None:
    home = arc / "home" / "ada"
    home.mkdir(parents=True, mode=0o755)
    (home / ".bashrc").write_text("half")
    done = run(arc, document([ADA], []), skeleton)
    assert done.stdout == "home ada: made\n"
    assert owned(home) == (0o700, 20001, 20001)
    assert (home / ".bashrc").read_text() == "half"
    assert (home / ".config" / "tool.toml").exists()


@pytest.mark.parametrize("where", ["home", "home/ada", "deep/projects/survey", "deep"])
@pytest.mark.parametrize("what", ["link", "dangling", "file", "pipe"])
def test_nothing_but_a_directory_is_accepted(
    arc: Path, skeleton: Path, tmp_path: Path, where: str, what: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o711)
    path = arc / where
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == "file":
        path.write_text("")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(elsewhere if what == "link" else tmp_path / "absent")
    before = owned(elsewhere)
    done = run(arc, document([ADA], [SURVEY]), skeleton)
    assert done.returncode == REFUSED
    assert done.stderr.count("\n") == 1
    assert f"{path.name}: something else than a directory stands there" in done.stderr
    assert owned(elsewhere) == before
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "absent").exists()


def test_the_home_of_somebody_else_is_never_handed_over(arc: Path, skeleton: Path) -> None:
    home = arc / "home" / "ada"
    home.mkdir(parents=True)
    os.chown(home, 20077, 20077)
    before = owned(home)
    done = run(arc, document([ADA], []), skeleton)
    assert done.returncode == REFUSED
    assert done.stderr == (
        "The home ada belongs to the user id 20077, not to 20001; whoever looks after the"
        " storage has to say whose it is.\n"
    )
    assert owned(home) == before


def test_a_changed_group_is_followed(arc: Path, skeleton: Path) -> None:
    run(arc, document([ADA], [SURVEY]), skeleton)
    changed = document([{**ADA, "gid": 20002}], [{**SURVEY, "gid": 30002}])
    assert run(arc, changed, skeleton).returncode == 0
    assert owned(arc / "home" / "ada") == (0o700, 20001, 20002)
    assert owned(arc / "deep" / "projects" / "survey") == (0o2770, 0, 30002)


def test_a_group_that_the_pod_lacks_is_an_error_not_a_lost_bit(arc: Path, skeleton: Path) -> None:
    done = run(arc, document([], [{**SURVEY, "gid": 39999}]), skeleton)
    assert done.returncode == 1
    assert done.stderr == "survey: the file system does not keep the mode 2770.\n"


def test_a_file_system_without_quotas_is_told(arc: Path, skeleton: Path) -> None:
    done = run(arc, document([ADA], [], quota=10**9), skeleton)
    assert done.returncode == 0
    assert done.stdout.startswith("home ada: made, without a quota (")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        document([{**ADA, "name": "../ada"}], []),
        document([{**ADA, "name": ".."}], []),
        document([{**ADA, "name": "a/b"}], []),
        document([{**ADA, "name": ""}], []),
        document([{**ADA, "uid": 0}], []),
        document([{**ADA, "uid": True}], []),
        document([{**ADA, "uid": "20001"}], []),
        document([{**ADA, "gid": 999}], []),
        document([], [{**SURVEY, "gid": 0}]),
        document([ADA], [], quota="much"),  # type: ignore[arg-type]
        document([ADA], []).replace('"home"', '"../home"'),
    ],
)
def test_a_wrong_document_makes_nothing(arc: Path, skeleton: Path, text: str) -> None:
    done = run(arc, text, skeleton)
    assert done.returncode == REFUSED
    assert done.stderr.count("\n") == 1
    assert list(arc.iterdir()) == []


def test_a_full_or_missing_storage_is_one_sentence(arc: Path, skeleton: Path) -> None:
    done = run(arc / "absent", document([ADA], []), skeleton)
    assert done.returncode == 1
    assert done.stderr == f"{arc / 'absent'}: No such file or directory.\n"
