"""Headless Chromium in front of a real hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from canfar_spawner.local import environments
from tests.support.carta_standin.install import CHOSEN, PAGE, install
from tests.support.hub import ROOT, Hub, running_hub

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_DEADLINE = 60_000
expect.set_options(timeout=_DEADLINE)

Need = Callable[[str, bool, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--keep-screenshots",
        action="store_true",
        help="put the screenshots into docs/images instead of build/screenshots",
    )


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest) -> Path:
    """Where pictures of pages go."""
    keep = request.config.getoption("--keep-screenshots")
    path = ROOT / ("docs/images" if keep else "build/screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def chromium(need: Need) -> Iterator[Browser]:
    """Debian's Chromium."""
    found = shutil.which("chromium")
    need("browser", bool(found), "on Debian: apt-get install chromium")
    # Playwright's own Node needs a library that a bare Debian does not have.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAYWRIGHT_NODEJS_PATH", environments.node())
        playwright = sync_playwright().start()
    try:
        browser = playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        browser.close()
    finally:
        playwright.stop()


@pytest.fixture(scope="session")
def carta_server() -> Iterator[str]:
    """The program that sessions with CARTA run: the tester's own, else a stand-in; empty: none."""
    own = os.environ.get(CHOSEN, "")
    if own or not environments.is_ready(PAGE):
        yield own
        return
    base = Path(tempfile.mkdtemp(prefix="canfar-carta-"))
    base.chmod(0o755)
    yield str(install(base))
    shutil.rmtree(base)


@pytest.fixture(
    scope="session",
    params=["127.0.0.1", "hub.localhost"],
    ids=["one-origin", "own-origins"],
)
def hub(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    requires: Callable[[str], None],
    carta_server: str,
) -> Iterator[Hub]:
    """A real hub, once with one origin and once with an origin for each user."""
    requires("astroml")
    data = tmp_path_factory.mktemp("hub") / "data"
    environ = {CHOSEN: carta_server}
    with running_hub(data, host=request.param, sample=True, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def one_origin_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A real hub for pages that do not depend on the origin."""
    data = tmp_path_factory.mktemp("pages") / "data"
    with running_hub(data) as running:
        yield running


@pytest.fixture(scope="session")
def small_hub(tmp_path_factory: pytest.TempPathFactory, probe_catalogue: Path) -> Iterator[Hub]:
    """A hub with a container that starts at once, and one that fails to."""
    data = tmp_path_factory.mktemp("small") / "data"
    with running_hub(data, environ={"CANFAR_HUB_CATALOGUE": str(probe_catalogue)}) as running:
        yield running


def open_context(chromium: Browser, **settings: object) -> BrowserContext:
    """Open a browser of its own, with cookies of its own."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **settings)  # type: ignore[arg-type]
    context.set_default_timeout(_DEADLINE)
    return context


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser of one person."""
    opened = open_context(chromium)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty tab of that browser."""
    return context.new_page()


def sign_in(page: Page, hub: Hub, name: str) -> None:
    """Sign in by the login form and land on the home page."""
    page.goto(f"{hub.public}/")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(hub.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/hub/home")
