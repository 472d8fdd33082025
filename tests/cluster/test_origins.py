"""A hub whose users have origins of their own, on the real cluster and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.browser.test_first_session import stop_from_home
from tests.conftest import Need
from tests.support.cluster import Cluster, images
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.browser]


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster) -> Iterator[ClusterHub]:
    """Run a hub that browsers reach by a name, and its users by names below that."""
    settings = {"cluster": cluster, "host": "hub.localhost"}
    with running_cluster_hub(data_directory, **settings) as found:
        yield found


def test_a_session_is_reached_at_the_origin_of_its_owner(
    hub: ClusterHub, page: Page, need: Need, fresh: Callable[[], str]
) -> None:
    how = "build it with: python3 -m tests.support.cluster.images notebook"
    need("image-notebook", images.is_ready("notebook"), how)
    # The first start of an image takes as long as its pull does, which no page waits for.
    ben, first = hub.sign_in("ben"), fresh()
    ben.launch(first, container="notebook")
    wait_for(lambda: (ben.server(first) or {}).get("ready"), "the image", seconds=900)
    ben.stop(first)

    sign_in(page, hub, "ada")
    page.goto(f"{hub.public}/hub/spawn")
    page.get_by_role("radio", name="Notebook", exact=False).first.check(force=True)
    page.get_by_role("button", name="Launch", exact=True).click()
    own = rf"^http://ada\.hub\.localhost:{hub.port}/user/ada/([a-z0-9]{{8}})/lab"
    page.wait_for_url(re.compile(own))
    expect(page.locator("#jp-main-dock-panel")).to_be_visible()
    found = re.match(own, page.url)
    assert found
    session = found[1]
    assert hub.run_in(session, "id", "-u").strip() == "20001"
    told = page.evaluate(
        """async (base) => {
            const xsrf = document.cookie.match(/_xsrf=([^;]*)/)[1];
            const made = await fetch(base + 'api/kernels', {method: 'POST', headers: {'X-XSRFToken': xsrf}});
            return made.status;
        }""",
        f"/user/ada/{session}/",
    )
    assert told == 201
    stop_from_home(page, hub, session)
    wait_for(lambda: session not in hub.launches(), "the pod to be gone")
