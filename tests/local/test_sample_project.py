"""The sample of the demo project: only what was made for it is touched, and users' files never."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.local import environments
from canfar_spawner.local.sample_project import FILES, provide
from canfar_spawner.site.files import load
from canfar_spawner.site.users_file import Users
from tests.support.hub import ROOT

POLICY = load(ROOT / "hub_config" / "catalogue.yaml", SitePolicy)
USERS = load(ROOT / "hub_config" / "users.yaml", Users)


def _script(demo: Path) -> None:
    (demo / "run.sh").write_text("#!/bin/sh\n")
    (demo / "run.sh").chmod(0o755)


LEFT_ALONE: dict[str, Callable[[Path], object]] = {
    "a script of hers": _script,
    "a link to a file": lambda demo: (demo / "sources.csv").symlink_to(demo.parents[3] / "secret"),
    "a link to nowhere": lambda demo: (demo / "README.md").symlink_to("nowhere"),
    "a directory": lambda demo: (demo / "field_g.fits").mkdir(),
    "a pipe": lambda demo: os.mkfifo(demo / "field_g.fits"),
    "a finished sample": lambda demo: (demo / "README.md").write_text("x"),
}


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    made = tmp_path / "data" / "arc" / "projects" / "demo"
    made.mkdir(parents=True)
    return made


def _provide(demo: Path) -> list[str]:
    said: list[str] = []
    provide(demo.parents[2], POLICY, USERS, say=said.append)
    return said


def _seen(place: Path) -> dict[str, tuple[int, int, int, int]]:
    found = {path: path.lstat() for path in (place, *place.rglob("*"))}
    return {
        str(path): (each.st_mode, each.st_uid, each.st_gid, each.st_size)
        for path, each in found.items()
    }


@pytest.fixture
def _no_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in for the environment, with a program that makes nothing."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    monkeypatch.setattr(environments, "is_ready", lambda _name: True)
    monkeypatch.setattr(environments, "location", lambda _name: tmp_path / "env")


@pytest.mark.usefixtures("_no_python")
@pytest.mark.parametrize("case", LEFT_ALONE)
def test_a_project_with_anything_of_its_users_in_it_is_left_alone(
    demo: Path, tmp_path: Path, case: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    LEFT_ALONE[case](demo)
    before = _seen(tmp_path)
    said = _provide(demo)
    assert _seen(tmp_path) == before
    assert said == []


@pytest.mark.usefixtures("_no_python")
def test_a_link_in_the_place_of_the_project_is_left_alone(demo: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    demo.rmdir()
    demo.symlink_to(elsewhere)
    before = _seen(tmp_path)
    said = _provide(demo)
    assert _seen(tmp_path) == before
    assert said == []


@pytest.mark.usefixtures("_no_python")
def test_what_cannot_be_made_is_said_and_ends_nothing(demo: Path) -> None:
    python = environments.location("astroml") / "bin" / "python"
    python.write_text("#!/bin/sh\necho No room. >&2\nexit 1\n")
    assert _provide(demo)[-1] == "The sample data could not be made:\nNo room.\n"
    python.unlink()
    assert _provide(demo)[-1].startswith("The sample data could not be made: ")


@pytest.mark.environment("astroml")
def test_an_unfinished_sample_is_finished_and_all_of_it_is_the_projects(demo: Path) -> None:
    (demo / "sources.csv").write_text("made before")
    (demo / ".line_cube.fits.4711").write_text("half")
    assert len(_provide(demo)) == 1
    assert {path.name for path in demo.iterdir()} == FILES | {".line_cube.fits.4711"}
    assert (demo / "sources.csv").read_text() == "made before"
    made = FILES - {"sources.csv"}
    assert {stat.S_IMODE((demo / name).stat().st_mode) for name in made} == {0o660}
    if os.geteuid() == 0:
        assert {(demo / name).stat().st_gid for name in made} == {30001}
        assert (stat.S_IMODE(demo.stat().st_mode), demo.stat().st_gid) == (0o2770, 30001)
    assert _provide(demo) == [], "it is complete"


@pytest.mark.environment("astroml")
def test_only_files_that_were_made_just_now_get_owner_and_mode(demo: Path, tmp_path: Path) -> None:
    """Somebody who may write there is quicker than the script."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    _script(demo)
    (demo / "sources.csv").symlink_to(secret)
    (demo / "field_g.fits").symlink_to("nowhere")
    before = {name: each for name, each in _seen(tmp_path).items() if not name.endswith("demo")}
    python = environments.location("astroml") / "bin" / "python"
    make = ROOT / "canfar_spawner" / "local" / "sample" / "make_sample.py"
    group = ("--gid", "30001") if os.geteuid() == 0 else ()
    done = subprocess.run(
        [str(python), "-I", str(make), *group, str(demo)],
        capture_output=True,
        text=True,
        check=True,
    )
    made = set(done.stdout.split())
    assert made == FILES - {"sources.csv", "field_g.fits"}
    after = _seen(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {stat.S_IMODE((demo / name).stat().st_mode) for name in made} == {0o660}
