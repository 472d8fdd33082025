"""The sample project: what is in its files, and that its notebook runs to its end."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.local import environments, sample

pytestmark = pytest.mark.environment("astroml")

SCRIPT = Path(sample.__file__).with_name("make_sample.py")
NOTEBOOK = "measure_sources.ipynb"
PIXEL = 0.5
WITHIN = 240

BRIGHTEST = """
import json, sys
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

found = {}
for band in "gri":
    image, header = fits.getdata(f"{sys.argv[1]}/field_{band}.fits", header=True)
    y, x = np.unravel_index(image.argmax(), image.shape)
    truth = fits.getdata(f"{sys.argv[1]}/sources.fits")
    brightest = truth[truth[f"mag_{band}"].argmin()]
    true_x, true_y = WCS(header).wcs_world2pix(brightest["ra"], brightest["dec"], 0)
    found[band] = float(np.hypot(x - true_x, y - true_y))
cube, header = fits.getdata(f"{sys.argv[1]}/line_cube.fits", header=True)
axis = WCS(header).spectral
found["cube"] = [list(cube.shape), axis.wcs.ctype[0], header["RESTFRQ"]]
json.dump(found, sys.stdout)
"""


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    python = environments.location("astroml") / "bin" / "python"
    return subprocess.run(
        [str(python), "-I", *words], capture_output=True, text=True, timeout=WITHIN, check=False
    )


def _make(directory: Path, *words: str) -> list[str]:
    done = _python(str(SCRIPT), str(directory), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def _bytes(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("projects") / "demo"
    directory.mkdir()
    _make(directory)
    return directory


def test_makes_images_cube_catalogue_notebook_and_the_readme_last(tmp_path: Path) -> None:
    made = _make(tmp_path)
    assert {"field_g.fits", "field_r.fits", "field_i.fits", "line_cube.fits"} < set(made)
    assert {"sources.fits", "sources.csv", NOTEBOOK} < set(made)
    assert made[-1] == "README.md"
    assert sorted(made) == sorted(path.name for path in tmp_path.iterdir())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8_000_000
    described = (tmp_path / "README.md").read_text()
    assert all(f"`{name}`" in described for name in made[:-1])


def test_the_same_seed_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    _make(tmp_path)
    assert _bytes(tmp_path) == _bytes(project)


def test_another_seed_gives_another_sky(project: Path, tmp_path: Path) -> None:
    _make(tmp_path, "--seed", "7")
    for name in ("field_r.fits", "line_cube.fits", "sources.csv"):
        assert (tmp_path / name).read_bytes() != (project / name).read_bytes()


def test_what_is_there_stays_and_what_is_missing_is_made(tmp_path: Path) -> None:
    (tmp_path / "sources.csv").write_text("mine")
    (tmp_path / "field_g.fits").symlink_to(tmp_path / "nowhere")
    made = _make(tmp_path)
    assert (tmp_path / "sources.csv").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert "sources.csv" not in made
    before = _bytes_and_times(tmp_path)
    assert _make(tmp_path) == []
    assert _bytes_and_times(tmp_path) == before


def _bytes_and_times(directory: Path) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in directory.iterdir()
    }


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = _python(str(SCRIPT), str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'nowhere'}: No such file or directory\n"


def test_the_brightest_pixel_is_where_the_catalogue_says(project: Path) -> None:
    done = _python("-c", BRIGHTEST, str(project))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("cube") == [[32, 128, 128], "FREQ", pytest.approx(115.2712018e9)]
    assert found.keys() == set("gri")
    assert all(distance < 3 for distance in found.values()), found


def test_the_shipped_notebook_has_no_outputs_and_no_paths_of_one_machine() -> None:
    notebook = json.loads((SCRIPT.parent / "files" / NOTEBOOK).read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    source = "".join("".join(cell["source"]) for cell in cells)
    assert set(re.findall(r'environ\["(\w+)"\]', source)) == {
        "CANFAR_PROJECTS_DIR",
        "CANFAR_SCRATCH",
        "HOME",
    }
    assert not re.search(r"[\"'](/|~)", source)


def test_the_notebook_runs_to_its_end(project: Path, tmp_path: Path) -> None:
    home, scratch, private = (tmp_path / name for name in ("home", "scratch", "private"))
    for directory in (home, scratch, private):
        directory.mkdir()
    before = _bytes_and_times(project)
    jupyter = environments.location("astroml") / "bin" / "jupyter"
    done = subprocess.run(
        [
            *(str(jupyter), "nbconvert", "--execute", str(project / NOTEBOOK)),
            *("--to", "notebook", "--output-dir", str(tmp_path), "--output", "run.ipynb"),
        ],
        cwd=home,
        env={
            "PATH": f"{jupyter.parent}:{os.defpath}",
            "HOME": str(home),
            "CANFAR_PROJECTS_DIR": str(project.parent),
            "CANFAR_SCRATCH": str(scratch),
            "IPYTHONDIR": str(private),
            "JUPYTER_CONFIG_DIR": str(private),
            "JUPYTER_RUNTIME_DIR": str(private),
            "MPLCONFIGDIR": str(private),
            "XDG_CACHE_HOME": str(private),
        },
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = _outputs(tmp_path / "run.ipynb")
    last = outputs[-1]["text"]
    told = re.fullmatch(
        r"measured (\d+) of (\d+) sources, median position error ([\d.]+) arcsec\n", "".join(last)
    )
    assert told, last
    assert float(told[3]) < 0.2 * PIXEL
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    _check_results(home / "canfar-sample" / "results.csv", project / "sources.csv")
    assert {path.name for path in home.iterdir()} == {"canfar-sample"}
    assert [path.name for path in scratch.iterdir()] == ["line_brightness.fits"]
    assert _bytes_and_times(project) == before


def _outputs(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text())["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def _check_results(results: Path, truth: Path) -> None:
    """Every bright source is there, with its magnitude."""
    with results.open() as file:
        measured = {row["name"]: row for row in csv.DictReader(file)}
    with truth.open() as file:
        bright = [row for row in csv.DictReader(file) if float(row["mag_r"]) < 20]
    assert len(bright) > 20
    for row in bright:
        found = measured[row["name"]]
        assert float(found["mag_r"]) == pytest.approx(float(row["mag_r"]), abs=0.15)
        assert float(found["separation"]) < PIXEL
