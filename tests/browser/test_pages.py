"""The hub's pages: without JavaScript, in the dark, on a phone, refused, starting, hostile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import open_context, sign_in
from tests.support.hub import Hub, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.environment("notebook")]

NARROW = {"width": 360, "height": 740}
WIDE = {"width": 1280, "height": 900}
TALL = {"width": 1280, "height": 1600}
"""The bar with the button sticks to the window's foot: in a tall one it hides nothing."""
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def overflows(page: Page) -> bool:
    """Say whether a page is wider than its window."""
    return bool(
        page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    )


@pytest.fixture
def emptied(one_origin_hub: Hub) -> Iterator[Hub]:
    """Give a hub whose sessions are stopped after the test, also where it failed."""
    yield one_origin_hub
    ada = one_origin_hub.sign_in("ada")
    for session in one_origin_hub.launches():
        ada.stop(session)


def test_sign_in_and_launch_without_javascript(emptied: Hub, chromium: Browser) -> None:
    hub = emptied
    context = open_context(chromium, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{hub.url}/")
    page.fill("#username_input", "ada")
    page.fill("#password_input", hub.password)
    page.click("#login_submit")
    page.wait_for_url("**/hub/home")
    page.goto(f"{hub.url}/hub/spawn")
    page.check("#container-notebook", force=True)
    page.click("#launch-button")
    page.wait_for_url("**/user/ada/*/lab**")
    launched = re.search(r"/user/ada/([a-z0-9]{8})/", page.url)
    assert launched
    assert launched[1] in hub.launches()
    context.close()


def test_pages_for_the_documents(one_origin_hub: Hub, page: Page, screenshots: Path) -> None:
    hub = one_origin_hub
    page.goto(f"{hub.url}/hub/login")
    page.screenshot(path=screenshots / "login.png")
    sign_in(page, hub, "ada")
    expect(page.get_by_role("link", name="Launch a session").first).to_be_visible()
    page.screenshot(path=screenshots / "home-empty.png")
    page.set_viewport_size(TALL)  # type: ignore[arg-type]
    page.goto(f"{hub.url}/hub/spawn?opt-container=notebook")
    page.screenshot(path=screenshots / "form.png")
    page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    page.screenshot(path=screenshots / "form-dark.png")
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.goto(f"{hub.url}/hub/home")
    page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    page.screenshot(path=screenshots / "home-dark.png")


def test_nothing_overflows_on_a_phone(
    one_origin_hub: Hub, chromium: Browser, screenshots: Path
) -> None:
    hub = one_origin_hub
    context = open_context(chromium)
    page = context.new_page()
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.goto(f"{hub.url}/hub/login")
    assert not overflows(page), "login"
    sign_in(page, hub, "ada")
    assert not overflows(page), "home"
    page.screenshot(path=screenshots / "home-narrow.png")
    page.goto(f"{hub.url}/hub/spawn")
    assert not overflows(page), "form"
    page.screenshot(path=screenshots / "form-narrow.png")
    page.goto(f"{hub.url}/hub/nowhere")
    assert not overflows(page), "not found"
    context.close()


def test_a_refusal_is_shown_at_its_field(
    one_origin_hub: Hub, page: Page, screenshots: Path
) -> None:
    hub = one_origin_hub
    sign_in(page, hub, "ada")
    page.goto(f"{hub.url}/hub/spawn?opt-container=notebook")
    page.get_by_label("Name", exact=True).fill("../etc")
    page.get_by_role("button", name="Launch", exact=True).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("cannot be a name")
    field = page.get_by_label("Name", exact=True)
    expect(field).to_have_value("../etc")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#container-notebook")).to_be_checked()
    page.set_viewport_size(TALL)  # type: ignore[arg-type]
    page.screenshot(path=screenshots / "form-refused.png")
    assert not hub.launches(), "nothing was launched"


def test_the_form_keeps_what_a_link_says(one_origin_hub: Hub, page: Page) -> None:
    hub = one_origin_hub
    page.goto(
        f"{hub.url}/hub/spawn?opt-container=notebook&opt-mode=fixed&opt-cores=2&opt-memory=4"
        "&opt-projects=survey&opt-version=19.01&opt-registry_secret=x"
    )
    page.get_by_label("Name", exact=True).fill("ada")
    page.get_by_label("Password", exact=True).fill(hub.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/hub/spawn?*")
    expect(page.locator("#container-notebook")).to_be_checked()
    expect(page.locator('input[name="cores"][value="2"]')).to_be_checked()
    expect(page.locator('input[name="projects"][value="survey"]')).to_be_checked()
    expect(page.locator('input[name="projects"][value="demo"]')).not_to_be_checked()
    expect(page.get_by_text("is not offered here")).to_be_visible()
    expect(page.get_by_text("A link cannot set registry_secret")).to_be_visible()
    assert not hub.launches(), "a link launches nothing"


def test_progress_names_phases(emptied: Hub, page: Page, screenshots: Path) -> None:
    hub = emptied
    # However quick the session is, the page hears of it when it has been looked at.
    streams: list[Route] = []

    def hold(stream: Route) -> None:
        streams.append(stream)

    page.route(re.compile(r"/progress(\?|$)"), hold, times=1)
    sign_in(page, hub, "ada")
    page.goto(f"{hub.url}/hub/spawn?opt-container=notebook")
    page.get_by_label("Name", exact=True).fill("Watch this one")
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url("**/hub/spawn-pending/**")
    expect(page.get_by_text("Preparing storage")).to_be_visible()
    expect(page.get_by_text("Starting the program")).to_be_visible()
    page.screenshot(path=screenshots / "progress.png")

    def asked() -> bool:
        # Playwright hears of what the page does while it waits.
        page.wait_for_timeout(50)
        return bool(streams)

    wait_for(asked, "the page to ask how far the session is")
    streams[0].continue_()
    page.wait_for_url("**/lab**")


def test_a_failed_start_says_why(small_hub: Hub, page: Page, screenshots: Path) -> None:
    sign_in(page, small_hub, "ada")
    page.goto(f"{small_hub.url}/hub/spawn?opt-container=broken")
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("ended with an error")
    page.screenshot(path=screenshots / "progress-failed.png")
    again = page.get_by_role("link", name="Change and try again")
    expect(again).to_be_visible()
    again.click()
    expect(page.locator("#container-broken")).to_be_checked()


def test_hostile_names_are_inert(one_origin_hub: Hub, page: Page) -> None:
    hub = one_origin_hub
    sign_in(page, hub, "ada")
    for url in (
        f"/hub/spawn?opt-container={HOSTILE}",
        f"/hub/spawn?opt-name={HOSTILE}&opt-{HOSTILE}=1",
        f"/hub/{HOSTILE}",
    ):
        page.goto(f"{hub.url}{url}")
        page.wait_for_load_state("networkidle")
        assert "owned" not in page.title()
        assert page.locator("img[src=x]").count() == 0
    page.goto(f"{hub.url}/hub/spawn?opt-container=notebook")
    page.get_by_label("Name", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be a name")
    assert "owned" not in page.title()


def test_pages_run_no_inline_code(one_origin_hub: Hub, page: Page) -> None:
    """What a strict Content-Security-Policy would forbid is not there."""
    hub = one_origin_hub
    sign_in(page, hub, "ada")
    for path in ("home", "spawn", "nowhere"):
        page.goto(f"{hub.url}/hub/{path}")
        assert page.locator("script:not([src])").count() == 0, path
        inline = page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"
            ".filter(n => n.startsWith('on'))"
        )
        assert inline == [], path


def test_stopping_shows_and_ends(one_origin_hub: Hub, page: Page) -> None:
    hub = one_origin_hub
    ada = hub.sign_in("ada")
    assert ada.launch("stopcard", container="notebook", name="To be stopped").status_code in (
        201,
        202,
    )
    ada.wait_ready("stopcard")
    sign_in(page, hub, "ada")
    card = page.locator("#session-stopcard")
    expect(card).to_contain_text("To be stopped")
    card.get_by_role("button", name="Stop To be stopped").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Home and projects stay")
    dialog.get_by_role("button", name="Stop", exact=True).click()
    expect(card).to_have_count(0)
    wait_for(lambda: "stopcard" not in hub.launches(), "the session to end")
