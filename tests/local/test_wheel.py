"""The one wheel: what is in it, and that it brings the panel to a JupyterLab without Node.js."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from canfar_spawner.local import environments
from canfar_spawner.local.recipes import build_environ
from tests.support.hub import ROOT

pytestmark = pytest.mark.environment("lab")

PANEL = "share/jupyter/labextensions/canfar-hub/"
_COLOURS = re.compile(r"\x1b\[\d*m")
MOST_OF_PANEL = 400_000
"""Bytes of what is inside sessions, packed."""


def uv(*words: str, cwd: Path = ROOT) -> None:
    program = environments.location("tools") / "bin" / "uv"
    done = subprocess.run(
        [program, *words], cwd=cwd, env=build_environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--quiet", "--out-dir", str(place))
    (made,) = place.glob("*.whl")
    return made


def test_it_has_the_panel_and_nothing_that_it_is_made_from(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        sizes = {each.filename: each.compress_size for each in content.infolist()}
    data = {name.partition(".data/data/")[2]: size for name, size in sizes.items()}
    for name in ("package.json", "install.json", "schemas/canfar-hub/panel.json"):
        assert PANEL + name in data, name
    assert any(name.startswith(f"{PANEL}static/remoteEntry.") for name in data)
    assert "etc/jupyter/jupyter_server_config.d/canfar_lab.json" in data
    assert "canfar_lab/panel/handlers.py" in sizes
    for name in sizes:
        assert not name.endswith((".map", ".ts", ".tsx")), name
        assert "/node_modules/" not in name, name
        assert "__pycache__" not in name, name
    inside = sum(
        size for name, size in sizes.items() if name.startswith("canfar_lab/") or PANEL in name
    )
    print(f"inside sessions {inside} of {wheel.stat().st_size} bytes")
    assert inside <= MOST_OF_PANEL


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
