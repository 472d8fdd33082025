"""The states of the home page, each looked at: nothing runs, much runs, parts of the platform away."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import Need, open_context, sign_in
from tests.browser.test_pages import NARROW, WIDE, overflows
from tests.support.carta_standin.install import CHOSEN
from tests.support.hub import Hub, Visitor, running_hub, wait_for
from tests.support.shares import share

pytestmark = [pytest.mark.browser, pytest.mark.environment("proxy")]

LONG = "Photometry of every cluster in the north of M31 - second reduction with darks 26"
"""Eighty characters, as many as a name may have."""
MANY = 12
DARK = "document.documentElement.dataset.bsTheme = 'dark'"


@pytest.fixture(scope="module")
def busy_hub(
    tmp_path_factory: pytest.TempPathFactory, probe_catalogue: Path, carta_server: str
) -> Iterator[Hub]:
    """A hub with CARTA on which a user may have many sessions, and a home of 1 GB."""
    base = tmp_path_factory.mktemp("states")
    content: dict[str, Any] = yaml.safe_load(probe_catalogue.read_text())
    content["limits"] = {"interactive": MANY + 1}
    content["storage"]["home"]["quota_gb"] = 1
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    content["branding"]["maintenance"] = {
        "begins": now - timedelta(hours=1),
        "ends": now + timedelta(hours=4),
        "text": "New sessions may wait longer; what runs goes on.",
    }
    catalogue = base / "catalogue.yaml"
    catalogue.write_text(yaml.safe_dump(content, sort_keys=False))
    environ = {"CANFAR_HUB_CATALOGUE": str(catalogue), CHOSEN: carta_server}
    with running_hub(base / "data", environ=environ) as found:
        yield found


@pytest.fixture(scope="module")
def ada(busy_hub: Hub) -> Visitor:
    return busy_hub.sign_in("ada")


@pytest.fixture(scope="module")
def window(chromium: Browser) -> Iterator[BrowserContext]:
    """One browser for all of it: the states follow each other as they would."""
    context = open_context(chromium)
    yield context
    context.close()


@pytest.fixture(scope="module")
def home(busy_hub: Hub, window: BrowserContext) -> Page:
    page = window.new_page()
    sign_in(page, busy_hub, "ada")
    return page


def picture(page: Page, path: Path, *, narrow: bool = False, whole: bool = True) -> None:
    """Take pictures in light and dark, and see that nothing overflows.

    Documents have the light one, of the window alone where the page is long.
    """
    assert not overflows(page)
    page.screenshot(path=path, full_page=whole)
    page.evaluate(DARK)
    page.screenshot(path=path.with_stem(f"{path.stem}-dark"), full_page=True)
    page.evaluate("document.documentElement.dataset.bsTheme = 'light'")
    if narrow:
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        assert not overflows(page)
        page.screenshot(path=path.with_stem(f"{path.stem}-narrow"), full_page=True)
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def amount(page: Page, path: str) -> Any:
    """Give where a page says how full a place is."""
    return page.locator(f'[data-place="{path}"] [data-amount]')


def test_nothing_runs_and_the_page_teaches(home: Page, screenshots: Path) -> None:
    expect(home.get_by_text("A session is a workspace next to your data")).to_be_visible()
    expect(amount(home, "/arc/home/ada")).to_contain_text("of 1 GB")
    expect(amount(home, "/arc/projects/demo")).to_have_text(re.compile(r"\d B|kB"))
    expect(home.locator('[data-load="cores"] [data-amount]')).to_have_text(re.compile(r"0 of \d+"))
    expect(home.get_by_text("Maintenance now, until")).to_be_visible()
    picture(home, screenshots / "state-empty.png", narrow=True)


def test_a_full_home_is_red_before_anything_fails(
    busy_hub: Hub, chromium: Browser, screenshots: Path
) -> None:
    directory = busy_hub.data / "arc" / "home" / "ben"
    directory.mkdir(parents=True)
    with (directory / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 970 * 2**20)
    context = open_context(chromium)
    page = context.new_page()
    sign_in(page, busy_hub, "ben")
    place = page.locator('[data-place="/arc/home/ben"]')
    expect(place).to_contain_text("Nearly full")
    expect(place).to_have_class(re.compile("place-full"))
    expect(place.get_by_role("meter")).to_have_attribute("aria-valuetext", re.compile("of 1 GB"))
    storage = page.locator("[data-widget=storage]")
    storage.screenshot(path=screenshots / "state-home-full.png")
    context.close()
    (directory / "large").unlink()


def test_one_session(ada: Visitor, home: Page, screenshots: Path) -> None:
    assert ada.launch("onealone", container="probe", name="M31 photometry").status_code in (
        201,
        202,
    )
    ada.wait_ready("onealone")
    home.reload()
    card = home.locator("#session-onealone")
    expect(card).to_contain_text("Running")
    expect(home.locator('[data-load="cores"] [data-amount]')).to_have_text(re.compile(r"1 of \d+"))
    picture(home, screenshots / "state-one.png", narrow=True, whole=False)


def test_a_file_is_offered_to_what_can_show_it(
    busy_hub: Hub, ada: Visitor, home: Page, screenshots: Path, carta_server: str, need: Need
) -> None:
    need("carta-frontend", bool(carta_server), "get it with: make environments")
    assert ada.launch("m31cubes", container="carta", name="M31 cubes").status_code in (201, 202)
    ada.wait_ready("m31cubes")
    before = busy_hub.launches()
    home.goto(f"{busy_hub.url}/hub/home?open=/arc/projects/demo/line_cube.fits")
    offer = home.get_by_role("region", name="Open line_cube.fits")
    expect(offer).to_contain_text("/arc/projects/demo/line_cube.fits")
    expect(offer).to_contain_text("Firefly needs a cluster")
    picture(home, screenshots / "state-open.png", narrow=True, whole=False)
    form = offer.get_by_role("link", name="Choose a size CARTA")
    expect(form).to_have_attribute("href", re.compile(r"opt-open=%2Farc%2Fprojects%2Fdemo"))
    running = offer.get_by_role("link", name="Open here M31 cubes")
    address = running.get_attribute("href") or ""
    assert address.endswith("/user/ada/m31cubes/?folder=projects%2Fdemo&file=line_cube.fits")
    form.click()
    home.wait_for_url("**/hub/spawn?*")
    expect(home.locator("#container-carta")).to_be_checked()
    home.goto(f"{busy_hub.url}/hub/home?open=/etc/passwd")
    expect(home.get_by_role("alert")).to_contain_text("/etc/passwd cannot be opened")
    home.get_by_role("link", name="Not now").click()
    home.wait_for_url("**/hub/home")
    assert busy_hub.launches().keys() == before.keys(), "nothing is launched by it"
    ada.stop("m31cubes")


def test_a_link_to_a_file_survives_signing_in(busy_hub: Hub, page: Page) -> None:
    page.goto(f"{busy_hub.url}/hub/home?open=/arc/projects/survey/cubes/m31.fits")
    page.get_by_label("Name", exact=True).fill("ada")
    page.get_by_label("Password", exact=True).fill(busy_hub.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(r"/hub/home\?open="))
    expect(page.get_by_role("region", name="Open m31.fits")).to_be_visible()


def test_what_an_end_would_wipe_is_counted(busy_hub: Hub, ada: Visitor) -> None:
    (scratch,) = (busy_hub.data / "scratch").glob("onealone-*")
    for number in range(14):
        (scratch / f"cal_{number}.fits").write_bytes(b"x" * 2880)
    answer = ada.client.get(
        f"{busy_hub.sessions_url()}/v1/session/onealone/scratch",
        headers={"Authorization": f"Bearer {ada.token}"},
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["known"], told["files"], told["bytes"]) == (True, 14, 14 * 2880)
    assert told["sentence"] == "14 files (39.4 kB) in /scratch will be wiped."


def test_twelve_sessions_with_the_longest_names(
    busy_hub: Hub, ada: Visitor, home: Page, screenshots: Path
) -> None:
    assert len(LONG) == 80
    names = [f"manyse{number:02d}" for number in range(1, MANY)]
    for number, session in enumerate(names):
        name = LONG if number % 2 else f"Night {number}"
        assert ada.launch(session, container="probe", name=name).status_code in (201, 202)
    for session in names:
        ada.wait_ready(session)
    home.goto(f"{busy_hub.url}/hub/home")
    expect(home.locator(".card-session")).to_have_count(MANY)
    expect(home.locator(".card-session").first).to_contain_text("Running")
    expect(amount(home, "/arc/home/ada")).to_contain_text("of 1 GB")
    picture(home, screenshots / "state-twelve.png", narrow=True)


def test_a_visitor_sees_what_is_shared_with_her(
    busy_hub: Hub, ada: Visitor, chromium: Browser, screenshots: Path
) -> None:
    share(ada, "onealone", user="ben")
    context = open_context(chromium)
    page = context.new_page()
    sign_in(page, busy_hub, "ben")
    expect(page.get_by_text("M31 photometry").first).to_be_visible()
    picture(page, screenshots / "state-visitor.png", narrow=True)
    context.close()


@pytest.fixture
def hurried(busy_hub: Hub, window: BrowserContext) -> Iterator[Page]:
    """A home page whose time can be made to pass."""
    page = window.new_page()
    page.clock.install()
    page.goto(f"{busy_hub.url}/hub/home")
    expect(amount(page, "/arc/home/ada")).to_contain_text("of 1 GB")
    yield page
    page.close()


def until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Let minutes pass on a page until something holds."""

    def holds() -> bool:
        page.clock.run_for(61_000)
        page.wait_for_timeout(100)
        return condition()

    wait_for(holds, what)


def since(page: Page, widget: str) -> str:
    """Give what a widget says of how old its numbers are."""
    return page.locator(f"[data-widget={widget}] [data-since]").inner_text()


def stale(page: Page) -> set[str]:
    """Give the widgets whose numbers are old."""
    return {widget for widget in ("storage", "load") if "Not known" in since(page, widget)}


def test_a_token_that_is_withdrawn_is_made_anew(busy_hub: Hub, ada: Visitor, hurried: Page) -> None:
    made: list[str] = []
    hurried.on("request", lambda request: made.append(f"{request.method} {request.url}"))
    for token in ada.api("GET", "/users/ada/tokens").json()["api_tokens"]:
        if (token["note"] or "").startswith("This page"):
            answer = ada.api("DELETE", f"/users/ada/tokens/{token['id']}")
            assert answer.status_code == 204
    # For some seconds the session manager remembers whose it was.
    until(hurried, lambda: any(re.match(r"POST .*/tokens", each) for each in made), "a new token")
    until(hurried, lambda: "Not known" not in since(hurried, "storage"), "all to be known")
    assert ada.hub is busy_hub


def test_whoever_was_signed_out_is_told(hurried: Page, screenshots: Path) -> None:
    window = hurried.context
    cookies = window.cookies()
    window.clear_cookies()
    try:
        hurried.evaluate("dispatchEvent(new Event('pagehide'))")
        # A hub that is slow to answer is said first.
        until(hurried, lambda: "You were signed out" in since(hurried, "storage"), "it to be said")
        assert "Not known since" in since(hurried, "storage")
        hurried.screenshot(path=screenshots / "state-signed-out.png")
    finally:
        window.add_cookies(cookies)  # type: ignore[arg-type]


def test_while_the_manager_is_away_each_part_says_since_when(
    busy_hub: Hub, hurried: Page, screenshots: Path
) -> None:
    pid = busy_hub.manager_pid()
    assert pid is not None
    assert busy_hub.process is not None
    # Who would start it anew is held up meanwhile.
    os.kill(busy_hub.process.pid, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        until(hurried, lambda: stale(hurried) == {"storage", "load"}, "both to say since when")
        expect(hurried.locator(".card-session")).to_have_count(MANY)
        picture(hurried, screenshots / "state-manager-away.png")
    finally:
        os.kill(busy_hub.process.pid, signal.SIGCONT)
    wait_for(busy_hub.manager_answers, "the session manager to be back")
    until(hurried, lambda: not stale(hurried), "both to be known again")


def test_while_the_hub_restarts_nothing_is_lost_from_the_page(
    busy_hub: Hub, hurried: Page, screenshots: Path
) -> None:
    busy_hub.kill()
    try:
        until(hurried, lambda: "Not known since" in since(hurried, "storage"), "it to be noticed")
        expect(hurried.locator(".card-session")).to_have_count(MANY)
        picture(hurried, screenshots / "state-hub-restarting.png")
    finally:
        busy_hub.start()
    until(hurried, lambda: "Not known" not in since(hurried, "storage"), "all to be known again")
    expect(hurried.locator(".card-session")).to_have_count(MANY)
