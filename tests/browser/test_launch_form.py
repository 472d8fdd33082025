"""The launch form and the progress of a start, in a browser and in its reader's language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.browser.conftest import open_context, sign_in
from tests.support.hub import Hub, Visitor, wait_for

pytestmark = pytest.mark.browser

TALL = {"width": 1280, "height": 1700}


@pytest.fixture
def ada(small_hub: Hub) -> Iterator[Visitor]:
    """Ada, whose sessions are ended afterwards."""
    visitor = small_hub.sign_in("ada")
    yield visitor
    for session in small_hub.launches():
        visitor.stop(session)
    wait_for(lambda: not small_hub.launches(), "the sessions to end")


def choose(page: Page, container: str) -> None:
    page.locator(f"#container-{container}").check(force=True)


def test_every_page_of_the_hub_keeps_to_its_policy(small_hub: Hub, page: Page) -> None:
    refused: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            refused.append(f"{message.text} {message.location}")

    page.on("console", heard)
    page.goto(f"{small_hub.url}/hub/login")
    sign_in(page, small_hub, "admin")
    for path in ("home", "spawn", "token", "admin", "nowhere", "logout"):
        answer = page.goto(f"{small_hub.url}/hub/{path}")
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy, path
        # JupyterHub's own page of administration brings its styles in its script.
        styles = " 'unsafe-inline'" if path == "admin" else ""
        assert policy.replace(f"style-src 'self'{styles};", "").count("unsafe") == 0, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        if path == "admin":
            # A name in the table shows that the page's script ran and asked the hub.
            expect(page.get_by_role("cell", name="admin")).to_be_visible()
        page.wait_for_load_state("networkidle")
    assert refused == []


@pytest.mark.usefixtures("ada")
def test_a_choice_is_remembered_for_its_container(
    small_hub: Hub, page: Page, screenshots: Path
) -> None:
    sign_in(page, small_hub, "ada")
    page.set_viewport_size(TALL)  # type: ignore[arg-type]
    page.goto(f"{small_hub.url}/hub/spawn")
    expect(page.locator("#summary")).to_have_text("Choose a container to launch.")
    choose(page, "probe")
    expect(page.get_by_label("Name", exact=True)).to_have_value("probe")
    # A machine has the recommended version alone; chosen by its name it is a choice all the same.
    page.locator("#version").select_option("1")
    page.locator("#mode-fixed").check(force=True)
    page.locator('#cores input[value="1"]').check(force=True)
    page.locator('#memory input[value="2"]').check(force=True)
    page.locator('#projects input[value="demo"]').uncheck(force=True)
    expect(page.locator("#fits")).to_contain_text("Fits now")
    expect(page.locator("#summary")).to_contain_text("Probe 1, fixed: 1 core and 2 GB. Ends ")
    page.screenshot(path=screenshots / "form-fixed.png")
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url("**/user/ada/**")

    page.goto(f"{small_hub.url}/hub/spawn")
    expect(page.locator("#container-probe")).to_be_checked()
    expect(page.locator("#version")).to_have_value("1")
    expect(page.locator("#mode-fixed")).to_be_checked()
    expect(page.locator('#memory input[value="2"]')).to_be_checked()
    expect(page.locator('#projects input[value="demo"]')).not_to_be_checked()
    expect(page.locator('#projects input[value="survey"]')).to_be_checked()
    # Its name is taken by the one that runs.
    expect(page.get_by_label("Name", exact=True)).to_have_value("probe-2")
    # Another container begins as the site proposes, and this one comes back as it was left.
    choose(page, "broken")
    expect(page.locator("#version")).to_have_value("")
    choose(page, "probe")
    expect(page.locator("#version")).to_have_value("1")
    # A link says what it says, whatever was chosen last time.
    page.goto(f"{small_hub.url}/hub/spawn?opt-container=probe")
    expect(page.locator("#mode-flexible")).to_be_checked()
    kept = page.evaluate("JSON.stringify(localStorage)")
    assert "survey" not in kept


def test_the_link_to_the_form_holds_the_choice_and_no_secret(
    small_hub: Hub, page: Page, chromium: Browser
) -> None:
    sign_in(page, small_hub, "ada")
    page.goto(f"{small_hub.url}/hub/spawn?opt-container=probe&opt-version=0")
    # On one machine there is one version of each container, and that need not be said.
    expect(page.get_by_text("Probe 0 is not offered here")).to_be_visible()
    page.locator("#mode-fixed").check(force=True)
    page.locator('#cores input[value="2"]').check(force=True)
    page.locator('#projects input[value="survey"]').uncheck(force=True)
    page.get_by_text("More choices").click()
    page.get_by_label("Environment").fill("TOKEN=hush")
    link = page.get_by_label("Link to this form").input_value()
    assert "hush" not in link
    assert "TOKEN" not in link
    context = open_context(chromium)
    other = context.new_page()
    sign_in(other, small_hub, "ben")
    other.goto(link)
    expect(other.locator("#container-probe")).to_be_checked()
    expect(other.locator("#version")).to_have_value("")
    expect(other.locator('#cores input[value="2"]')).to_be_checked()
    expect(other.get_by_text("You are not in demo")).to_be_visible()
    context.close()
    assert not small_hub.launches()


@pytest.mark.usefixtures("ada")
def test_the_form_is_filled_in_by_keyboard_alone(small_hub: Hub, page: Page) -> None:
    sign_in(page, small_hub, "ada")
    page.goto(f"{small_hub.url}/hub/spawn")
    search = page.get_by_label("Search containers")
    search.focus()
    page.keyboard.type("no such thing")
    expect(page.locator("#found")).to_have_text("No container matches. Try another word or type.")
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    page.keyboard.type("probe")
    expect(page.locator("#found")).to_have_text("1 container matches.")
    page.keyboard.press("Enter")
    expect(page.locator("#container-probe")).to_be_focused()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Launch", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/user/ada/**")


@pytest.mark.usefixtures("ada")
def test_a_failed_start_shows_its_last_words_and_keeps_the_choice(
    small_hub: Hub, page: Page, screenshots: Path
) -> None:
    sign_in(page, small_hub, "ada")
    page.goto(
        f"{small_hub.url}/hub/spawn?opt-container=broken&opt-mode=fixed&opt-cores=2&opt-memory=4"
    )
    page.get_by_label("Name", exact=True).fill("Not for long")
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("ended with an error")
    # The page says the same to whoever comes back to it later.
    page.reload()
    expect(page.get_by_role("heading", name="Not for long")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("ended with an error")
    expect(page.locator("pre.log").first).to_contain_text("no catalogue of stars")
    page.screenshot(path=screenshots / "progress-failed.png")
    page.get_by_role("link", name="Change and try again").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Not for long")
    expect(page.locator('#memory input[value="4"]')).to_be_checked()


def test_pages_speak_the_language_that_the_browser_asks_for(
    small_hub: Hub, chromium: Browser, screenshots: Path
) -> None:
    context = open_context(chromium, locale="fr-CA")
    page = context.new_page()
    page.goto(f"{small_hub.url}/hub/login")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    page.get_by_label("Nom", exact=True).fill("ada")
    page.get_by_label("Mot de passe", exact=True).fill(small_hub.password)
    page.get_by_role("button", name="Se connecter").click()
    page.wait_for_url("**/hub/home")
    page.goto(f"{small_hub.url}/hub/spawn")
    # What the script says comes with the page.
    expect(page.locator("#summary")).to_have_text("Choisissez un conteneur à lancer.")
    page.screenshot(path=screenshots / "form-french.png")
    context.close()


def contrast(page: Page) -> Any:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_stays_chosen(small_hub: Hub, page: Page) -> None:
    page.goto(f"{small_hub.url}/hub/login")
    light = contrast(page)
    page.get_by_title("Theme").click()
    page.get_by_role("button", name="Dark").click()
    assert contrast(page) != light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    assert contrast(page) != light
