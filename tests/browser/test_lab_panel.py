"""JupyterLab's panel on the session itself and its sharing, in a session launched from the hub."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, WebSocket, expect

from tests.browser.conftest import open_context, sign_in
from tests.support import axe
from tests.support import shares as calls
from tests.support.hub import Hub, wait_for
from tests.support.lab import Lab, launch_lab
from tests.support.labpanel import Panel, open_panel

pytestmark = [pytest.mark.browser, pytest.mark.environment("notebook")]

SESSION, NAME = "panelled", "Photometry of M31 all fields second night of the run in November 2026"
OUT_WITHIN = 5.0


@pytest.fixture(scope="module")
def lab(one_origin_hub: Hub) -> Iterator[Lab]:
    """A session of ada's, of a name that is too long for a narrow panel."""
    ada = one_origin_hub.sign_in("ada")
    launched = launch_lab(ada, SESSION, container="notebook", name=NAME)
    # What the end of the session wipes, which is told before.
    scratch = one_origin_hub.data / "scratch" / launched.launch.name
    (scratch / "left.txt").write_text("x" * 2000)
    yield launched
    if ada.server(SESSION) is not None:
        ada.stop(SESSION)


@pytest.fixture(scope="module")
def panel(chromium: Browser, lab: Lab) -> Iterator[Panel]:
    """The panel, open in a tab in which ada is signed in."""
    context = open_context(chromium, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    sign_in(page, lab.visitor.hub, "ada")
    opened = Panel(page, lab)
    opened.open()
    yield opened
    context.close()


@pytest.fixture
def others_page(chromium: Browser) -> Iterator[Page]:
    """A tab of somebody else's browser."""
    context = open_context(chromium)
    yield context.new_page()
    context.close()


def open_sharing(page: Page) -> None:
    """Open the section on sharing, unless it is."""
    if not page.locator(".canfar-sharing").is_visible():
        page.locator(".jp-SidePanel .lm-AccordionPanel-title", has_text="Sharing").click()


def open_form(sharing: Locator) -> None:
    """Open the form by which it is shared, unless it is."""
    if not sharing.get_by_role("tab", name="Person").is_visible():
        sharing.get_by_role("button", name="Share …").click()


def go_in(page: Page) -> None:
    """Agree, where a page asks, to work in somebody else's name."""
    asked = page.get_by_role("heading", name="Enter a session of ada?")
    lab = page.locator("#jp-main-dock-panel")
    expect(asked.or_(lab).first).to_be_visible()
    if asked.is_visible():
        page.get_by_role("button", name="Enter").click()
    expect(lab).to_be_visible()


def enter(page: Page, hub: Hub, link: str) -> None:
    """Open a link as ben, and go in."""
    page.goto(link)
    page.get_by_label("Name", exact=True).fill("ben")
    page.get_by_label("Password", exact=True).fill(hub.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Enter").click()
    go_in(page)


def test_the_session_is_told_and_extended(panel: Panel, screenshots: Path) -> None:
    head = panel.page.get_by_role("region", name="This session")
    expect(head.get_by_role("heading", name=NAME)).to_be_visible()
    expect(head.get_by_text("Running", exact=True)).to_be_visible()
    expect(head.get_by_text(re.compile(r"^Notebook 26"))).to_be_visible()
    expect(head.get_by_text(re.compile(r"^Flexible · up to"))).to_be_visible()
    # The session manager measures every ten seconds.
    expect(head.get_by_role("meter", name="memory")).to_be_visible()
    expect(head.get_by_role("meter", name="cores")).to_be_visible()
    expect(head.get_by_text(re.compile(r"\d (d|h) .*left"))).to_be_visible()
    before = panel.lab.call("GET", "canfar/session").json()["ends"]
    head.get_by_role("button", name="Extend").click()
    expect(head.get_by_text("Extended.")).to_be_visible()
    assert panel.lab.call("GET", "canfar/session").json()["ends"] > before
    panel.page.screenshot(path=screenshots / "panel.png")


def test_what_it_does_is_in_the_palette_and_in_the_launcher(panel: Panel) -> None:
    page = panel.page
    page.keyboard.press("Control+Shift+KeyC")
    page.locator(".lm-CommandPalette-input").fill("this session")
    for command in ("Extend this session", "Share this session …", "Stop this session …"):
        expect(page.locator(".lm-CommandPalette-item", has_text=command)).to_be_visible()
    expect(page.locator(".lm-CommandPalette-item", has_text="Leave this session")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="CANFAR").click()
    expect(panel.storage).to_be_hidden()
    page.locator(".jp-LauncherCard", has_text="Session and storage").click()
    expect(panel.storage).to_be_visible()


def test_somebody_is_let_in_by_a_link_and_is_out_when_it_is_revoked(
    panel: Panel, others_page: Page, screenshots: Path
) -> None:
    page, hub = panel.page, panel.lab.visitor.hub
    open_sharing(page)
    sharing = page.locator(".canfar-sharing")
    expect(sharing.get_by_text("Nobody: the session is yours alone.")).to_be_visible()
    sharing.get_by_role("button", name="Share …").click()
    expect(sharing.get_by_text("Whoever enters works as you")).to_be_visible()
    sharing.get_by_role("button", name="Make a link").click()
    link = sharing.get_by_label("Your new link").input_value()
    assert calls.code_of(link)
    page.screenshot(path=screenshots / "panel-share.png")

    sockets: list[WebSocket] = []
    others_page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 - it marks its handlers
    enter(others_page, hub, link)
    others_page.locator('.jp-LauncherCard[data-category="Other"]', has_text="Terminal").click()
    expect(others_page.locator(".jp-Terminal").first).to_be_visible()
    open_panel(others_page)
    visit = others_page.get_by_role("region", name="This session")
    expect(visit.get_by_text("This session belongs to ada.")).to_be_visible()
    expect(visit.get_by_text("You may enter until")).to_be_visible()
    expect(visit.get_by_role("button", name="Leave")).to_be_visible()
    expect(visit.get_by_role("button", name="Extend")).to_have_count(0)
    expect(others_page.locator(".canfar-sharing, .canfar-storage")).to_have_count(0)
    others_page.screenshot(path=screenshots / "panel-visitor.png")

    shares = sharing.get_by_role("list", name="Who may enter")
    expect(shares.get_by_text("here since")).to_be_visible()
    expect(page.locator(".lm-AccordionPanel-title", has_text="1 may enter, 1 here")).to_be_visible()
    here = [socket for socket in sockets if not socket.is_closed()]
    assert any("/terminals/" in socket.url for socket in here)
    shares.get_by_role("button", name="Revoke A link").click()
    expect(
        sharing.get_by_text("Revoked. Whoever was in by it is out within seconds.")
    ).to_be_visible()
    revoked = time.monotonic()

    def out() -> bool:
        others_page.wait_for_timeout(50)
        return all(socket.is_closed() for socket in here)

    wait_for(out, "ben's sockets to be closed")
    assert time.monotonic() - revoked < OUT_WITHIN
    expect(sharing.get_by_text("Nobody: the session is yours alone.")).to_be_visible()
    sharing.get_by_text("What happened").click()
    expect(sharing.get_by_text("ada made a link")).to_be_visible()


@pytest.mark.parametrize("told", [True, False], ids=["told", "cut off before she is told"])
def test_a_visitor_leaves(panel: Panel, others_page: Page, *, told: bool) -> None:
    ada = panel.lab.visitor
    calls.share(ada, SESSION, user="ben")
    sign_in(others_page, ada.hub, "ben")
    others_page.goto(panel.url)
    go_in(others_page)
    open_panel(others_page)

    def lose(route: Route) -> None:
        assert route.fetch().ok
        route.abort()

    if not told:
        others_page.route(re.compile(r"/canfar/visit(\?|$)"), lose)
    others_page.get_by_role("region", name="This session").get_by_role(
        "button", name="Leave"
    ).click()
    others_page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    others_page.wait_for_url("**/hub/home")
    assert calls.shares(ada, SESSION) == []


def test_storage_is_lent_for_reading(panel: Panel, others_page: Page, screenshots: Path) -> None:
    ada = panel.lab.visitor
    file = {"type": "file", "format": "text", "content": "ra,dec\n10.68,41.27\n"}
    made = panel.lab.call("PUT", "api/contents/home/lent.csv", json=file)
    assert made.status_code == 201, made.text
    open_sharing(panel.page)
    sharing = panel.page.locator(".canfar-sharing")
    open_form(sharing)
    sharing.get_by_role("tab", name="Person").click()
    sharing.get_by_label("Name", exact=True).fill("ben")
    sharing.get_by_label("Show my storage in the panel, to read").check()
    panel.page.keyboard.press("Enter")
    expect(sharing.get_by_text("ben may enter now.")).to_be_visible()
    shares = sharing.get_by_role("list", name="Who may enter")
    expect(shares.get_by_text("with storage to read")).to_be_visible()
    sharing.get_by_role("button", name="Close").click()

    sign_in(others_page, ada.hub, "ben")
    others_page.goto(panel.url)
    go_in(others_page)
    open_panel(others_page)
    storage = others_page.locator(".canfar-storage")
    expect(storage.get_by_text("The storage of ada, which is open to you to read.")).to_be_visible()
    expect(others_page.locator(".canfar-sharing")).to_have_count(0)
    lent = storage.get_by_role("row", name=re.compile("lent.csv"))
    expect(lent).to_be_visible()
    for change in ("New folder", "Upload files"):
        expect(storage.get_by_role("button", name=change)).to_have_count(0)
    lent.click(button="right")
    menu = others_page.locator(".canfar-storage-menu")
    expect(menu.get_by_text("First rows")).to_be_visible()
    for change in ("Download", "Copy to…", "Move to…", "Rename…", "Delete…"):
        expect(menu.get_by_text(change, exact=True)).to_have_count(0)
    menu.get_by_text("First rows").click()
    expect(others_page.get_by_text("41.27")).to_be_visible()
    assert axe.shortfalls_in(others_page, ".canfar-panel") == []
    others_page.screenshot(path=screenshots / "panel-lent.png")

    # Shared once more, without it: he stays, and the section goes.
    calls.share(ada, SESSION, user="ben")
    expect(storage).to_have_count(0)
    expect(others_page.get_by_role("region", name="This session")).to_be_visible()
    calls.revoke(ada, SESSION)


def test_what_is_refused_is_said_at_the_form(panel: Panel) -> None:
    open_sharing(panel.page)
    sharing = panel.page.locator(".canfar-sharing")
    open_form(sharing)
    sharing.get_by_role("tab", name="Link").click()
    panel.page.keyboard.press("ArrowRight")
    expect(sharing.get_by_role("tab", name="Person")).to_be_focused()
    sharing.get_by_label("Name", exact=True).fill("nobody-of-that-name")
    panel.page.keyboard.press("Enter")
    expect(sharing.get_by_role("alert")).to_contain_text("nobody-of-that-name")
    sharing.get_by_role("button", name="Close").click()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_anybody_can_read_it(panel: Panel, theme: str, screenshots: Path) -> None:
    panel.theme(theme)
    panel.width(280)
    sharing = panel.page.locator(".canfar-sharing")
    if not sharing.is_visible():
        panel.page.locator(".lm-AccordionPanel-title", has_text="Sharing").click()
    sharing.get_by_role("button", name="Share …").click()
    assert axe.shortfalls_in(panel.page, ".canfar-panel") == []
    overflow = panel.page.evaluate(
        """() => {
          const panel = document.querySelector('.canfar-panel');
          const { right, bottom } = panel.getBoundingClientRect();
          const storage = document.querySelector('.canfar-storage').getBoundingClientRect();
          return [...panel.querySelectorAll('*')]
            .filter(each => each.getBoundingClientRect().right > right + 1)
            .map(each => each.outerHTML.slice(0, 120))
            .concat(storage.bottom > bottom + 1 ? ['storage'] : []);
        }"""
    )
    assert overflow == []
    panel.page.screenshot(path=screenshots / f"panel-narrow-{theme}.png")


def test_what_it_asks_by_itself_is_no_use_of_the_session(panel: Panel) -> None:
    asked: list[str] = []
    panel.page.on("request", lambda request: asked.append(request.url))
    paths = ("/canfar/here?", "/canfar/session?", "/canfar/sharing?")
    wait_for(
        lambda: (
            panel.page.wait_for_timeout(100)
            or all(any(path in url for url in asked) for path in paths)
        ),
        "the panel to ask",
    )
    assert all("no_track_activity=1" in url for url in asked if "/canfar/" in url)


def test_while_the_platform_is_away_it_says_since_when(panel: Panel, screenshots: Path) -> None:
    head = panel.page.get_by_role("region", name="This session")
    away = re.compile("Not known since .* This part of the platform does not answer now.")

    def refuse(route: Route) -> None:
        route.fulfill(
            status=503,
            json={"code": "away", "message": "This part of the platform does not answer now."},
        )

    panel.page.route("**/canfar/session?**", refuse)
    expect(head.get_by_text(away)).to_be_visible()
    expect(head.get_by_role("heading", name=NAME)).to_be_visible()
    panel.page.screenshot(path=screenshots / "panel-away.png")
    panel.page.unroute("**/canfar/session?**")
    expect(head.get_by_text(away)).to_have_count(0)


def test_it_is_stopped_once_that_is_confirmed(panel: Panel) -> None:
    panel.page.get_by_role("region", name="This session").get_by_role("button", name="Stop").click()
    dialog = panel.page.get_by_role("dialog")
    expect(dialog).to_contain_text("will be wiped")
    dialog.get_by_role("button", name="Keep it running").click()
    expect(dialog).to_have_count(0)
    panel.page.get_by_role("region", name="This session").get_by_role("button", name="Stop").click()
    dialog.get_by_role("button", name="Stop", exact=True).click()
    panel.page.wait_for_url("**/hub/home")
    hub = panel.lab.visitor.hub
    wait_for(lambda: SESSION not in hub.launches(), "the session to end")
