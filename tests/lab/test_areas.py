"""What a session knows of its areas, from the variables that the platform sets."""

from __future__ import annotations

import pytest
from canfar_lab.storage.areas import from_environment

from canfar_spawner.core.variables import Places, environment
from tests.core.world import plan

PLACES = Places(
    home="/srv/arc/home/ada",
    projects="/srv/arc/projects",
    scratch="/srv/scratch/1",
    private="/run/canfar",
    files="/files",
)


def test_what_the_platform_writes_is_what_a_session_reads() -> None:
    areas = {
        area.id: area
        for area in from_environment(environment(plan({"container": "astroml"}), PLACES)).areas
    }
    assert list(areas) == ["home", "projects", "scratch", "cvmfs"]
    home = areas["home"]
    assert (home.at, home.arc, home.persistence) == ("/srv/arc/home/ada", "/arc/home/ada", "kept")
    assert areas["projects"].tops == {"demo", "survey"}
    assert areas["projects"].arc == "/arc/projects"
    assert (areas["scratch"].persistence, areas["scratch"].arc) == ("wiped", None)
    cvmfs = areas["cvmfs"]
    assert (cvmfs.at, cvmfs.title, cvmfs.writable) == ("/cvmfs", "CVMFS", False)


@pytest.mark.parametrize("told", ["", "{", "[]", "7", '{"home": 3}', '{"more": {"path": ""}}'])
def test_what_an_older_platform_does_not_tell_is_not_known(told: str) -> None:
    environ = {"CANFAR_HOME": "/arc/home/ada", "CANFAR_SCRATCH": "/scratch", "CANFAR_STORAGE": told}
    areas = from_environment(environ).areas
    assert [(area.id, area.persistence) for area in areas] == [
        ("home", "unknown"),
        ("scratch", "wiped"),
    ]
    assert not from_environment({}).areas


def test_a_path_is_known_by_each_of_its_names() -> None:
    areas = from_environment(environment(plan({"container": "astroml"}), PLACES))
    for path in (
        "/arc/projects/survey/x",
        "/srv/arc/projects/survey/x",
        "//arc//projects/survey/./x",
    ):
        area, parts = areas.at(path)
        assert (area.id, parts) == ("projects", ("survey", "x"))
