"""What can be launched here and now, as a real hub shows and judges it, without a restart."""

from __future__ import annotations

import contextlib
import html
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from canfar_spawner.local import build, environments
from tests.support.hub import Hub, Visitor, running_hub, wait_for

STARTED = ("tools", "proxy")
"""The environments that a hub itself needs."""
NOT_HERE = {
    "nowhere": {"command": ["no-such-program", "{socket}"], "get": "apt-get install it"},
    "clusters": None,
}
"""Containers of other kinds that have no program on this machine."""


@pytest.fixture(scope="module")
def real() -> dict[str, Path]:
    """Where the environments of this machine are, before the tests' own cache is named."""
    return {name: environments.location(name) for name in environments.ENVIRONMENTS}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, real: dict[str, Path]) -> Iterator[Path]:
    """Name a cache in which only what the hub itself needs is built."""
    path = tmp_path_factory.mktemp("cache")
    for parent in (path, *path.parents):
        # Sessions of other users pass through here.
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANFAR_HUB_CACHE", str(path))
        (path / "envs").mkdir()
        for name in STARTED:
            environments.location(name).symlink_to(real[name])
        yield path


@pytest.fixture(scope="module")
def catalogue(probe_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue that these tests may change."""
    path = tmp_path_factory.mktemp("site") / "catalogue.yaml"
    content = yaml.safe_load(probe_catalogue.read_text())
    [probe] = [each for each in content["catalogue"]["containers"] if each["name"] == "probe"]
    for name, local in NOT_HERE.items():
        other = {**probe, "name": name, "title": name.capitalize(), "aliases": []}
        other |= {"kinds": ["contributed"], "entry": "gateway", "local": local}
        content["catalogue"]["containers"].append(other)
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def hub(data_directory: Path, cache: Path, catalogue: Path) -> Iterator[Hub]:
    """A hub over that cache and that catalogue."""
    environ = {"CANFAR_HUB_CACHE": str(cache), "CANFAR_HUB_CATALOGUE": str(catalogue)}
    with running_hub(data_directory, environ=environ) as found:
        yield found


def card(visitor: Visitor, container: str) -> str:
    """Give the part of the launch form that shows a container, with its tags and on one line."""
    page = visitor.client.get("/hub/spawn")
    assert page.status_code == 200, page.text
    text = " ".join(html.unescape(page.text).split())
    parts = re.split(r"(?=<div class=\"choice[ \"])", text.partition('id="found"')[0])
    [found] = [part for part in parts if f'data-container="{container}"' in part]
    return found


def is_disabled(shown: str) -> bool:
    """Say whether the choice cannot be made."""
    found = re.search(r"<input type=\"radio\"[^>]*>", shown)
    assert found
    return " disabled " in found[0]


def words(shown: str) -> str:
    """Give what a person reads of a part of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", shown).split())


def refused(visitor: Visitor, **options: Any) -> dict[str, Any]:
    """Launch what is refused and give the refusal, which the form gives as well."""
    answer = visitor.launch("notmade1", **options)
    assert answer.status_code == 400, answer.text
    refusal: dict[str, Any] = answer.json()
    page = visitor.launch_by_form("notmade1", options)
    assert page.status_code == 400
    assert refusal["message"] in " ".join(html.unescape(page.text).split())
    assert visitor.server("notmade1") is None
    return refusal


def starters(visitor: Visitor) -> str:
    """Give what the home page of somebody without sessions offers to begin with."""
    page = visitor.client.get("/hub/home")
    assert page.status_code == 200
    return page.text


def write_catalogue(catalogue: Path, text: str) -> None:
    """Put another catalogue in place, as an editor does."""
    partial = catalogue.with_suffix(".new")
    partial.write_text(text)
    partial.replace(catalogue)


def test_what_is_not_built_is_shown_with_the_way_to_get_it(ada: Visitor) -> None:
    shown = card(ada, "astroml")
    assert is_disabled(shown)
    assert "AstroML has not been prepared on this machine." in words(shown)
    assert '<code class="command">make environments</code>' in shown
    refusal = refused(ada, container="astroml")
    assert (refusal["code"], refusal["field"]) == ("needs_cluster", "container")
    assert "has not been prepared on this machine. Run: make environments" in refusal["message"]
    assert "opt-container=astroml" not in starters(ada)
    assert "opt-container=probe" in starters(ada)


@pytest.mark.parametrize(
    ("container", "told"),
    [
        ("nowhere", "no-such-program is not installed on this machine."),
        ("clusters", "Clusters needs a cluster; it has no local program."),
    ],
)
def test_what_has_no_local_program_is_shown_and_says_so(
    ada: Visitor, container: str, told: str
) -> None:
    shown = card(ada, container)
    assert is_disabled(shown)
    assert told in words(shown)
    assert ("apt-get install it" in words(shown)) == (container == "nowhere")
    refusal = refused(ada, container=container)
    assert (refusal["code"], refusal["field"]) == ("needs_cluster", "container")


def test_one_that_is_being_built_tells_how_far_it_is(ada: Visitor) -> None:
    with build._locked("astroml", print):
        build._write_status(
            "astroml",
            environments.Status(
                state="building",
                text="Installing AstroML",
                step=2,
                steps=3,
                size_mb=1060,
                started_at=time.time(),
            ),
        )
        shown = card(ada, "astroml")
        assert is_disabled(shown)
        assert "Installing AstroML (step 2 of 3), about " in words(shown)
        assert " s left, 1060 MB" in words(shown)
        assert '<progress max="100" value="33"' in shown
        refusal = refused(ada, container="astroml")
        assert (refusal["code"], refusal["field"]) == ("being_prepared", "container")
        assert refusal["message"].startswith("AstroML is being prepared on this machine.")
    # Nobody holds the lock any more: whoever built it was killed.
    shown = words(card(ada, "astroml"))
    assert "Could not be prepared: The building was interrupted." in shown


def test_one_that_waits_for_its_turn_says_so(ada: Visitor) -> None:
    with build._among_builders():
        status = environments.Status(state="waiting", text="Waiting for its turn", size_mb=2350)
        build._write_status("casa", status)
        assert "Waiting for its turn, 2350 MB" in words(card(ada, "casa"))
        assert refused(ada, container="casa")["code"] == "being_prepared"
    environments.status_file("casa").unlink()


def test_one_that_could_not_be_built_says_why(ada: Visitor) -> None:
    error = "uv failed; <b>the disk</b> is full"
    build._write_status(
        "astroml",
        environments.Status(state="failed", text="Failed", size_mb=1060, error=error),
    )
    page = ada.client.get("/hub/spawn").text
    assert "<b>the disk</b>" not in page, "it is shown as text"
    shown = card(ada, "astroml")
    assert is_disabled(shown)
    assert f"Could not be prepared: {error}" in shown
    assert '<code class="command">make environments</code>' in shown
    assert "could not be prepared on this machine" in refused(ada, container="astroml")["message"]


def test_one_that_becomes_ready_is_usable_without_a_restart(
    hub: Hub, ada: Visitor, real: dict[str, Path], need: Callable[[str, bool, str], None]
) -> None:
    built = (real["notebook"] / ".complete").exists()
    need("notebook", built, "get it with: make environments")
    pid = hub.pid()
    assert is_disabled(card(ada, "notebook"))
    assert refused(ada, container="notebook")["code"] == "needs_cluster"
    environments.location("notebook").symlink_to(real["notebook"])
    assert not is_disabled(card(ada, "notebook"))
    assert "opt-container=notebook" in starters(ada)
    answer = ada.launch("becamer1", container="notebook")
    assert answer.status_code in (201, 202), answer.text
    ada.wait_ready("becamer1")
    ada.stop("becamer1")
    assert hub.pid() == pid


def test_an_image_of_ones_own_needs_a_cluster(ada: Visitor) -> None:
    image = "images.canfar.net/skaha/something:1.0"
    refusal = refused(ada, image=image, kind="notebook")
    assert (refusal["code"], refusal["field"]) == ("needs_cluster", "image")
    assert "probe" in refusal["allowed"]
    assert "carta" not in refusal["allowed"], "only what would work is named"
    assert "probe" in refusal["message"]


def test_a_version_that_is_not_here_needs_a_cluster(ada: Visitor) -> None:
    refusal = refused(ada, container="probe", version="0")
    assert (refusal["code"], refusal["field"]) == ("needs_cluster", "version")
    assert refusal["allowed"] == ["1"]
    assert "This machine has Probe 1 only" in refusal["message"]


@contextlib.contextmanager
def changed(catalogue: Path) -> Iterator[dict[str, Any]]:
    """Change the catalogue for a block: what is yielded is written, and taken back at the end."""
    before = catalogue.read_text()
    try:
        yield yaml.safe_load(before)
    finally:
        write_catalogue(catalogue, before)


def test_a_change_of_the_catalogue_counts_at_once(ada: Visitor, catalogue: Path) -> None:
    with changed(catalogue) as content:
        [probe] = [each for each in content["catalogue"]["containers"] if each["name"] == "probe"]
        probe["title"] = "Renamed probe"
        second = {**probe, "name": "second", "title": "Second", "aliases": []}
        content["catalogue"]["containers"].append(second)
        probe["versions"] = [{"name": "3", "recommended": True}]
        probe["image"] = "canfar-hub/renamed"
        content["resources"]["default"]["cores"] = [1, 2, 6]
        write_catalogue(catalogue, yaml.safe_dump(content))
        assert "Renamed probe" in card(ada, "probe")
        assert not is_disabled(card(ada, "second"))
        fixed = {"container": "probe", "mode": "fixed", "memory": 4}
        assert refused(ada, **fixed, cores=4)["allowed"] == ["1", "2", "6"]
        assert refused(ada, container="probe", version="1")["allowed"] == ["3"]
        assert ada.launch("second01", container="second").status_code in (201, 202)
        ada.wait_ready("second01")
    # The container is gone again; its session is not.
    refusal = refused(ada, container="second")
    assert "There is no container second" in refusal["message"]
    assert (ada.server("second01") or {})["ready"]
    assert "second01" in starters(ada)
    ada.stop("second01")


def test_a_broken_catalogue_changes_nothing_and_is_logged(
    hub: Hub, ada: Visitor, catalogue: Path
) -> None:
    begin = hub.log.stat().st_size

    def logged() -> str:
        return hub.log.read_bytes()[begin:].decode()

    with changed(catalogue) as content:
        index = [each["name"] for each in content["catalogue"]["containers"]].index("probe")
        content["catalogue"]["containers"][index]["kinds"] = ["notebok"]
        content["branding"]["name"] = "BROKEN"
        write_catalogue(catalogue, yaml.safe_dump(content))
        assert not is_disabled(card(ada, "probe"))
        assert "BROKEN" not in ada.client.get("/hub/home").text
        where = f"catalogue.containers[{index}].kinds[0]"
        wait_for(lambda: where in logged(), "the mistake to be logged")
        assert "Keeping what was read before." in logged()
        assert "did you mean notebook" in logged()
        # Said once by each that reads it, not with every request.
        card(ada, "probe")
        assert (
            len([line for line in logged().splitlines() if where in line and "JupyterHub" in line])
            == 1
        )

        write_catalogue(catalogue, "catalogue: [")
        assert not is_disabled(card(ada, "probe"))
        catalogue.unlink()
        assert not is_disabled(card(ada, "probe"))
        assert ada.launch("oldrules", container="probe").status_code in (201, 202)
        ada.wait_ready("oldrules")
        ada.stop("oldrules")
    assert not is_disabled(card(ada, "probe"))
    assert "Traceback" not in logged()
