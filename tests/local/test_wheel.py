"""The wheels: what is in them, and that each brings the panel to a JupyterLab without Node.js."""

from __future__ import annotations

import re
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.local import environments
from canfar_spawner.local.recipes import build_environ
from tests.support.hub import ROOT

pytestmark = pytest.mark.environment("lab")

PANEL = "share/jupyter/labextensions/canfar-hub/"
_COLOURS = re.compile(r"\x1b\[\d*m")
MOST = 400_000
"""Bytes of the wheel that sessions have."""
PROJECTS = {"platform": ROOT, "panel": ROOT / "labextension"}


def uv(*words: str, cwd: Path = ROOT) -> None:
    program = environments.location("tools") / "bin" / "uv"
    done = subprocess.run(
        [program, *words], cwd=cwd, env=build_environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=PROJECTS)
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build one, as ``python -m build`` does: what is packed as source, and the wheel from that."""
    place = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--out-dir", str(place), cwd=PROJECTS[request.param])
    (made,) = place.glob("*.whl")
    return made


def is_panel(wheel: Path) -> bool:
    return wheel.name.startswith("canfar_lab-")


def test_it_has_the_panel_and_nothing_that_it_is_made_from(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    data = {name.partition(".data/data/")[2] for name in names}
    for name in ("package.json", "install.json", "schemas/canfar-hub/panel.json"):
        assert PANEL + name in data, name
    assert any(name.startswith(f"{PANEL}static/remoteEntry.") for name in data)
    assert "etc/jupyter/jupyter_server_config.d/canfar_lab.json" in data
    assert "canfar_lab/panel/handlers.py" in names
    for name in names:
        assert not name.endswith((".map", ".ts", ".tsx")), name
        assert "/node_modules/" not in name, name
        assert "__pycache__" not in name, name
    if is_panel(wheel):
        # What is inside sessions knows nothing of the hub's side.
        assert not [name for name in names if name.startswith("canfar_spawner")]
        print(f"{wheel.name} has {wheel.stat().st_size} bytes")
        assert wheel.stat().st_size <= MOST


def test_both_are_of_one_version() -> None:
    """And what is in both of them is the same."""
    first, second = (
        tomllib.loads((place / "pyproject.toml").read_text()) for place in PROJECTS.values()
    )
    for key in ("version", "requires-python", "license"):
        assert first["project"][key] == second["project"][key], key
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "labextension/LICENSE").read_bytes()
    shared = {
        name.removeprefix("labextension/"): place
        for name, place in _data(first).items()
        if name.startswith("labextension/")
    }
    assert shared == _data(second)


def _data(project: dict[str, Any]) -> dict[str, str]:
    data: dict[str, str] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    return data


def test_a_jupyterlab_without_node_takes_it(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    base = str(environments.location("tools") / "bin" / "python")
    uv("venv", "--quiet", "--python", base, str(place))
    python = str(place / "bin" / "python")
    pins = str(ROOT / environments.PINS)
    uv("pip", "install", "--quiet", "--python", python, "--constraints", pins, "jupyterlab")
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", str(wheel))

    def told(*words: str) -> str:
        # Where no Node.js is, and no configuration of whoever runs the tests.
        environ = {"PATH": f"{place / 'bin'}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        done = subprocess.run(
            [place / "bin" / "jupyter", *words],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return _COLOURS.sub("", done.stdout + done.stderr)

    panel = next(line for line in told("labextension", "list").splitlines() if "canfar-hub" in line)
    assert "enabled OK" in panel
    listed = told("server", "extension", "list")
    assert "canfar_lab enabled" in listed
    assert "canfar_lab  OK" in listed
