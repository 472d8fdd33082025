"""Two people and one session, in two browsers: shared by a link, by name and with a group, revoked."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocket, expect

from tests.browser.conftest import open_context, sign_in
from tests.browser.test_pages import NARROW, overflows
from tests.support import shares as calls
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.lab import launch_lab

pytestmark = [pytest.mark.browser, pytest.mark.environment("notebook")]

SESSION = "browsed1"
NAME = "M31 photometry"
REVOKED = "Revoked. Whoever was in by it is out within seconds."
STORAGE = "Show my storage in the panel, to read"
LOADED_MS = 120_000
"""JupyterLab in a second browser, while the first one and a hub have the machine too."""
STATUS = """async path => {
  // As JupyterLab itself asks.
  const { token } = JSON.parse(document.getElementById('jupyter-config-data').textContent);
  const headers = { Authorization: `token ${token}` };
  return (await fetch(path, { headers, redirect: 'manual' })).status;
}"""


@dataclass
class Guest:
    """Ben, and what is open between his browser and ada's session."""

    page: Page
    hub: Hub
    sockets: list[WebSocket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("websocket", lambda socket: self.sockets.append(socket))  # noqa: PLW0108 - it marks its handlers

    def base(self) -> str:
        return self.page.url.partition(SESSION)[0] + SESSION

    def is_in(self, visitor: Visitor) -> list[WebSocket]:
        """Wait until he has a terminal, and give what is open."""
        expect(self.page.locator("#jp-main-dock-panel")).to_be_visible(timeout=LOADED_MS)
        assert f"/user/ada/{SESSION}/" in self.page.url
        if self.hub.host != "127.0.0.1":
            assert self.page.url.startswith(f"http://ada.{self.hub.host}:")
        card = self.page.locator('.jp-LauncherCard[data-category="Other"]', has_text="Terminal")
        terminal = self.page.locator(".jp-Terminal").first
        # Where he has been before, the terminal that he left may be open again instead.
        expect(card.or_(terminal).first).to_be_visible()
        if card.is_visible():
            card.click()
        expect(terminal).to_be_visible()
        assert self.page.evaluate(STATUS, f"{self.base()}/api/status") == 200
        wait_for(lambda: any("/terminals/" in url for url in self.open()), "ben's terminal")
        calls.wait_here(visitor, SESSION, "ben")
        return [socket for socket in self.sockets if not socket.is_closed()]

    def open(self) -> list[str]:
        """Give where his browser has a socket open now."""
        # Waiting in the browser lets it hear of sockets that are opened or closed.
        self.page.wait_for_timeout(100)
        return [socket.url for socket in self.sockets if not socket.is_closed()]

    def is_out(self, sockets: list[WebSocket]) -> None:
        """Wait until everything that was open is closed and he gets nothing any more."""
        begun = time.monotonic()

        def closed() -> bool:
            # Waiting in the browser lets it hear of sockets that are closed.
            self.page.wait_for_timeout(100)
            return all(socket.is_closed() for socket in sockets)

        wait_for(closed, "ben's sockets to be closed")
        print(f"closed {time.monotonic() - begun:.1f} s after the list said that it was revoked")
        status = f"{self.base()}/api/status"
        wait_for(lambda: self.page.evaluate(STATUS, status) == 403, "ben to get nothing")


@pytest.fixture
def guest(chromium: Browser, hub: Hub) -> Iterator[Guest]:
    """Give ben a browser of his own."""
    context = open_context(chromium)
    yield Guest(context.new_page(), hub)
    context.close()


def enter_by_link(guest: Guest, link: str) -> None:
    """Open a link as somebody who is not signed in yet, and go in."""
    page = guest.page
    page.goto(link)
    page.get_by_label("Name", exact=True).fill("ben")
    page.get_by_label("Password", exact=True).fill(guest.hub.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="ada shares a session with you")).to_be_visible()
    page.get_by_role("button", name="Enter").click()
    # The hub asks once whether the session may know who comes.
    expect(page.get_by_role("heading", name="Enter a session of ada?")).to_be_visible()
    expect(page.get_by_text("In it you work as ada")).to_be_visible()
    expect(page.get_by_text("You may enter until")).to_be_visible()
    page.get_by_role("button", name="Enter").click()


def enter_from_home(guest: Guest) -> None:
    """Open what somebody shares from one's own home page."""
    guest.page.goto(f"{guest.hub.public}/hub/home")
    # Of a socket that was being refused when its page was left, the browser tells no end.
    guest.sockets.clear()
    shared = guest.page.locator("#shared-list").get_by_role("listitem").filter(has_text=NAME)
    expect(shared).to_contain_text("ada")
    shared.get_by_role("link", name="Open").click()


def picture(dialog: Locator, pictures: Path) -> None:
    """Keep how the dialog looks, in both themes and on a phone."""
    page = dialog.page
    page.screenshot(path=pictures / "share.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=pictures / "share-dark.png")
    page.emulate_media(color_scheme="light")
    size = page.viewport_size
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert not overflows(page)
    page.screenshot(path=pictures / "share-narrow.png")
    page.set_viewport_size(size)  # type: ignore[arg-type]


def revoke(
    dialog: Locator,
    guest: Guest,
    ada: Visitor,
    button: Callable[[], Locator],
    pictures: Path | None = None,
) -> None:
    """Wait until ben is in and seen to be, revoke, and wait until he is out."""
    sockets = guest.is_in(ada)
    expect(dialog.get_by_text("here since").first).to_be_visible()
    if pictures is not None:
        picture(dialog, pictures)
    button().click()
    expect(dialog.get_by_role("status")).to_have_text(REVOKED)
    guest.is_out(sockets)


def test_by_a_link_by_name_and_with_a_group_until_it_is_revoked(
    hub: Hub, page: Page, guest: Guest, screenshots: Path, tmp_path: Path
) -> None:
    pictures = screenshots if hub.host == "127.0.0.1" else tmp_path
    ada = hub.sign_in("ada")
    launch_lab(ada, SESSION, container="notebook", name=NAME)
    sign_in(page, hub, "ada")
    card = page.locator(f"#session-{SESSION}")
    expect(card.locator("[data-shared]")).to_have_text("with nobody")
    card.get_by_role("link", name=f"Share {NAME}").click()
    dialog = page.get_by_role("dialog", name=f"Share {NAME}")
    expect(dialog.get_by_text("Whoever enters works as you")).to_be_visible()
    expect(dialog.get_by_text("Nobody: the session is yours alone.")).to_be_visible()

    dialog.get_by_role("button", name="Make a link").click()
    # By its role: the panel of the tab has the same name.
    link = dialog.get_by_role("textbox", name="Link")
    expect(link).to_have_value(re.compile(r"/services/sessions/join\?code=.+"))
    enter_by_link(guest, link.input_value())
    revoke(dialog, guest, ada, lambda: dialog.get_by_role("button", name="Revoke A link"), pictures)
    expect(link).to_be_hidden()

    dialog.get_by_role("tab", name="Person").click()
    dialog.get_by_label("Name", exact=True).fill("ben")
    dialog.get_by_role("tabpanel", name="Person").get_by_label(STORAGE).check()
    dialog.get_by_role("button", name="Share", exact=True).click()
    expect(dialog.get_by_role("status")).to_have_text("ben may enter now.")
    expect(dialog.get_by_text("with storage to read")).to_be_visible()
    (let_in,) = calls.shares(ada, SESSION)
    assert let_in["storage"] is True
    enter_from_home(guest)
    revoke(dialog, guest, ada, lambda: dialog.get_by_role("button", name="Revoke ben"))

    dialog.get_by_role("tab", name="Group").click()
    dialog.get_by_role("combobox", name="Group").select_option("survey")
    dialog.get_by_role("button", name="Share", exact=True).click()
    expect(dialog.get_by_role("status")).to_have_text("Everyone in the group survey may enter now.")
    expect(dialog.get_by_text("with storage to read")).to_have_count(0)
    enter_from_home(guest)
    revoke(dialog, guest, ada, lambda: dialog.get_by_role("button", name="Revoke all"))

    expect(dialog.get_by_text("Nobody: the session is yours alone.")).to_be_visible()
    dialog.get_by_text("What happened").click()
    expect(dialog.get_by_text("ada revoked the share with the group survey")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(card.get_by_role("link", name=f"Share {NAME}")).to_be_focused()
    expect(card.locator("[data-shared]")).to_have_text("with nobody")
    ada.stop(SESSION)
