"""The desktop's image as a session: in both origin models, in a real browser, with DS9 in a pod."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser import desktop as use
from tests.browser.conftest import sign_in
from tests.browser.test_first_session import stop_from_home
from tests.conftest import Need
from tests.support.cluster import Cluster, images
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import ROOT, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.long]

_LISTENING = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" {print $2}'"


@pytest.fixture(scope="module", params=["", "hub.localhost"], ids=["one-origin", "own-origins"])
def hub(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cluster: Cluster,
) -> Iterator[ClusterHub]:
    """Run a hub, once with one origin and once with one for each user."""
    settings = {"host": request.param} if request.param else {}
    data = tmp_path_factory.mktemp("desktop") / "data"
    with running_cluster_hub(data, cluster=cluster, **settings) as found:
        yield found


def has_images(need: Need, *names: str) -> None:
    for name in names:
        how = f"build it with: python3 -m tests.support.cluster.images {name}"
        need(f"image-{name}", images.is_ready(name), how)


def home_of(hub: ClusterHub, session: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """Give what runs a command in a session's home, and what reads a file there."""

    def in_home(command: str) -> str:
        return hub.run_in(session, "sh", "-c", f"cd $CANFAR_HOME && {command}")

    return in_home, lambda name: in_home(f"cat {name} 2>/dev/null || true")


def test_the_image_is_a_desktop_in_a_pod(
    hub: ClusterHub, page: Page, need: Need, fresh: Callable[[], str], screenshots: Path
) -> None:
    has_images(need, "gateway", "desktop")
    # The first start of an image takes as long as its pull does, which no page waits for.
    ben, first = hub.sign_in("ben"), fresh()
    ben.launch(first, container="desktop", kind="desktop")
    wait_for(lambda: (ben.server(first) or {}).get("ready"), "the image", seconds=900)
    ben.stop(first)

    sign_in(page, hub, "ada")
    page.goto(f"{hub.public}/hub/spawn")
    page.get_by_role("radio", name="Desktop").check(force=True)
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"/user/ada/[a-z][a-z0-9]{7}/$"))
    page.wait_for_selector(use.CONNECTED)
    found = re.search(r"/user/ada/([a-z0-9]{8})/", page.url)
    assert found
    session = found[1]

    in_home, read = home_of(hub, session)
    use.SKY.write(hub.data / "star.fits")
    content = base64.b64encode((hub.data / "star.fits").read_bytes()).decode()
    in_home(f"echo {content} | base64 -d > star.fits")
    desktop = use.Desktop(page, read)
    shell = desktop.terminal()
    use.both_ways(desktop)
    apart = use.close_to_its_position(desktop)
    page.screenshot(path=screenshots / "desktop-cluster.png")
    # The gateway's, and nothing else: neither VNC's nor X's, nor DS9's.
    assert in_home(_LISTENING).split() == [f"00000000:{8888:04X}"]
    use.end_ds9(desktop)
    use.resized(desktop, 1000, 700)

    def drop() -> None:
        # The kubelet starts it again at once, and after the second time it waits.
        first = hub.kill_in(session, "gateway")
        wait_for(
            lambda: hub.runs_as(session, "gateway") not in ("", first), "the gateway to be back"
        )
        hub.kill_in(session, "gateway")

    use.comes_back(desktop, drop, lambda: None, shell)
    print(f"DS9's star is {apart} from its position")
    stop_from_home(page, hub, session)
    wait_for(lambda: session not in hub.launches(), "the pod to be gone")


_OBSERVE = """
import importlib.util
specification = importlib.util.spec_from_file_location('smoke', 'smoke.py')
smoke = importlib.util.module_from_spec(specification)
specification.loader.exec_module(smoke)
smoke._observe()
"""
_PLOT = "plotms(vis='source.ms', xaxis='uvdist', yaxis='amp', plotfile='plot.png', overwrite=True)"


@pytest.mark.parametrize("hub", [""], indirect=True, ids=["one-origin"])
def test_a_desktop_with_casa_plots_in_a_window(
    hub: ClusterHub, page: Page, need: Need, fresh: Callable[[], str], screenshots: Path
) -> None:
    has_images(need, "gateway", "desktop-casa")
    ada, session = hub.sign_in("ada"), fresh()
    ada.launch(session, container="desktop", version="26.11-casa", kind="desktop")
    wait_for(lambda: (ada.server(session) or {}).get("ready"), "the image", seconds=900)

    in_home, read = home_of(hub, session)
    in_home("rm -rf source.* plot.png casa-answers smoke.py observe.py")
    for name, text in (
        ("smoke.py", (ROOT / "images" / "casa" / "tests" / "smoke.py").read_text()),
        ("observe.py", _OBSERVE),
    ):
        in_home(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d > {name}")
    sign_in(page, hub, "ada")
    page.goto(f"{hub.public}/user/ada/{session}/")
    page.wait_for_selector(use.CONNECTED)
    desktop = use.Desktop(page, read)
    desktop.start("casa")

    def says(line: str, name: str) -> str:
        """Type until the shell of CASA has written a file."""
        desktop.type(line)
        wait_for(lambda: read(name), f"{name}, by {line}", seconds=120)
        return read(name)

    def answers() -> bool:
        desktop.type("_ = open('casa-answers', 'w').write('yes')")
        return bool(read("casa-answers"))

    wait_for(answers, "CASA", seconds=180)
    says("%run observe.py", "source.ms/table.info")
    size = "stat --format=%s plot.png 2>/dev/null || echo 0"
    desktop.type(_PLOT)
    wait_for(lambda: int(in_home(size)) > 5000, "the plot", seconds=180)
    page.screenshot(path=screenshots / "desktop-casa.png")
    assert in_home("head -c 4 plot.png | od -An -tx1").split() == ["89", "50", "4e", "47"]
    stop_from_home(page, hub, session)
