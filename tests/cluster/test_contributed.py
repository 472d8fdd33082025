"""The images of marimo and of the terminal as sessions: in both origin models, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser import contributed as use
from tests.browser.conftest import sign_in
from tests.conftest import Need
from tests.support.cluster import Cluster, images
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.long]

_DO = {
    "marimo": (use.compute_in_marimo, "marimo.txt", "the answer is 42"),
    "webterminal": (use.type_in_terminal, "typed.txt", "/arc/home/ada\n42"),
}


@pytest.fixture(scope="module", params=["", "hub.localhost"], ids=["one-origin", "own-origins"])
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cluster: Cluster
) -> Iterator[ClusterHub]:
    """Run a hub, once with one origin and once with one for each user."""
    settings = {"host": request.param} if request.param else {}
    data = tmp_path_factory.mktemp("contributed") / "data"
    with running_cluster_hub(data, cluster=cluster, **settings) as found:
        yield found


@pytest.mark.parametrize("name", list(_DO))
def test_an_image_of_the_community_is_used_like_a_notebook(
    hub: ClusterHub, page: Page, need: Need, fresh: Callable[[], str], name: str, tmp_path: Path
) -> None:
    for image in ("gateway", name):
        how = f"build it with: python3 -m tests.support.cluster.images {image}"
        need(f"image-{image}", images.is_ready(image), how)
    ada, session = hub.sign_in("ada"), fresh()
    assert ada.launch(session, container=name).status_code in (201, 202)
    # The first start of an image takes as long as its pull does.
    wait_for(lambda: (ada.server(session) or {}).get("ready"), "the image", seconds=900)
    sign_in(page, hub, "ada")
    act, file, content = _DO[name]
    own = "ada." if hub.host == "hub.localhost" else ""
    act(page, f"http://{own}{hub.host}:{hub.port}/user/ada/{session}/")
    page.screenshot(path=tmp_path / f"{name}.png")
    assert hub.run_in(session, "cat", f"/arc/home/ada/{file}").strip() == content
    owner = hub.run_in(session, "stat", "--format", "%u", f"/arc/home/ada/{file}")
    assert owner == hub.run_in(session, "id", "-u")
    ada.stop(session)
