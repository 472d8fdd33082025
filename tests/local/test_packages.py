"""What checks and tests take from package.json, in a checkout whose pages were built in another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from canfar_spawner.local import build
from tests.support.hub import ROOT

pytestmark = pytest.mark.environment("portal")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that has everything built from the cache, and no packages."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    place = tmp_path / "checkout"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)
    return place


def test_they_are_put_in_place_once(checkout: Path) -> None:
    command = [sys.executable, "-m", build.__name__, "packages"]
    state = checkout / "node_modules" / ".yarn-state.yml"
    seen = set()
    for _ in range(2):
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (checkout / "node_modules" / "axe-core" / "axe.min.js").exists()
        seen.add(state.stat().st_mtime_ns)
    assert len(seen) == 1, "what is there is not put there again"
    (checkout / "yarn.lock").write_text("no lock file\n")
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "could not be put in place" in done.stderr
