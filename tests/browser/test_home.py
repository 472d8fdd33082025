"""Home with what runs: watched, renamed, extended, looked into, restarted larger, launched again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import open_context, sign_in
from tests.browser.test_pages import NARROW, overflows
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.shares import share, shares
from tests.support.v1 import OVER, V1

pytestmark = [pytest.mark.browser, pytest.mark.environment("proxy")]

SESSION = "h0me0001"
RUN = (
    "import os, time; print('replica', os.environ['REPLICA_ID'], flush=True); time.sleep({seconds})"
)


@pytest.fixture(scope="module")
def ada(small_hub: Hub) -> Iterator[Visitor]:
    visitor = small_hub.sign_in("ada")
    yield visitor
    V1.of(visitor).clear()


@pytest.fixture(scope="module")
def home(small_hub: Hub, ada: Visitor, chromium: Browser) -> Iterator[Page]:
    """Ada's home, with one session on it."""
    # By the form: a launch by the API has a variable here, whose value a restart would ask for.
    fields = {"container": "probe", "name": "M31 photometry", "mode": "fixed"}
    answer = ada.launch_by_form(SESSION, {**fields, "cores": "1", "memory": "2"})
    assert answer.status_code == 200, answer.text
    ada.wait_ready(SESSION)
    context = open_context(chromium)
    page = context.new_page()
    sign_in(page, small_hub, "ada")
    yield page
    context.close()


def card(page: Page) -> Locator:
    return page.locator(".card-session").first


def choose(page: Page, word: str) -> None:
    """Choose something from a card's menu."""
    card(page).locator(".card-menu summary").click()
    card(page).get_by_role("button", name=word, exact=True).click()


def test_a_card_shows_what_its_session_uses_and_who_may_enter(
    home: Page, ada: Visitor, screenshots: Path
) -> None:
    expect(card(home)).to_contain_text("Fixed · 1 core, 2 GB")
    memory = card(home).locator('[data-use="memory"] [data-now]')
    expect(memory).to_have_text(re.compile(r"^<?\d"))
    expect(card(home).locator('[data-use="cores"] .use-number')).to_have_text(
        re.compile(r"^<?\d.* of 1$")
    )
    expect(card(home).locator("[data-shared]")).to_have_text("with nobody")
    share(ada, SESSION, user="ben")
    home.reload()
    expect(card(home).locator("[data-shared]")).to_have_text("ben may enter")
    home.screenshot(path=screenshots / "home.png")
    home.set_viewport_size(NARROW)  # type: ignore[arg-type]
    card(home).locator(".card-menu summary").click()
    for role, word in (("button", "Extend"), ("link", "Share"), ("button", "Stop")):
        expect(card(home).get_by_role(role, name=word, exact=True)).to_be_visible()  # type: ignore[arg-type]
    assert not overflows(home)
    home.screenshot(path=screenshots / "home-menu-narrow.png")
    home.keyboard.press("Escape")
    expect(card(home).locator(".card-menu summary")).to_be_focused()
    home.set_viewport_size({"width": 1280, "height": 900})


def test_a_session_is_renamed_and_extended(home: Page, ada: Visitor) -> None:
    choose(home, "Rename")
    dialog = home.get_by_role("dialog")
    field = dialog.get_by_label("Name")
    expect(field).to_have_value("M31 photometry")
    field.fill("<b>M31</b>")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog.get_by_role("alert")).to_contain_text("cannot be a name")
    field.fill("M31 again")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog).to_be_hidden()
    expect(card(home).get_by_role("heading")).to_have_text("M31 again")
    # The hub is told, and draws it so itself.
    wait_for(lambda: "M31 again" in ada.home(), "the hub to hear of the name")
    card(home).get_by_role("button", name="Extend").first.click()
    expect(card(home).locator("[data-said]")).to_contain_text("It ends ")


def test_what_a_session_wrote_and_what_happened_to_it(home: Page) -> None:
    choose(home, "Events")
    dialog = home.get_by_role("dialog")
    expect(dialog).to_contain_text("ada asked for Probe.")
    expect(dialog).to_contain_text("The session is ready.")
    home.keyboard.press("Escape")
    expect(card(home).locator(".card-menu summary")).to_be_focused()
    choose(home, "Logs")
    expect(dialog.locator("#text-note")).to_contain_text("lines at most")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_batch_jobs_are_one_with_their_replicas(
    home: Page, ada: Visitor, screenshots: Path
) -> None:
    api = V1.of(ada)
    made = []
    for number, seconds in ((1, 0), (2, 600), (3, 600)):
        words = {"cmd": "python3", "args": f'-c "{RUN.format(seconds=seconds)}"'}
        env = (f"REPLICA_ID={number}", "REPLICA_COUNT=3")
        made.append(api.created(*env, name=f"simulate-{number}", **words))
    api.wait(made[0], *OVER)
    home.reload()
    row = home.locator("#jobs-list > li")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("simulate")
    expect(row).to_contain_text("1 of 3 done")
    row.get_by_text("Each replica").click()
    expect(row.locator(".replica-list li")).to_have_count(3)
    home.screenshot(path=screenshots / "home-jobs.png", full_page=True)
    row.get_by_role("button", name="Logs simulate-1").click()
    dialog = home.get_by_role("dialog")
    expect(dialog.locator("#text-shown")).to_contain_text("replica 1")
    home.screenshot(path=screenshots / "job-log.png")
    home.keyboard.press("Escape")
    row.get_by_role("button", name="Cancel simulate").click()
    expect(dialog).to_contain_text("2 jobs are ended.")
    dialog.get_by_role("button", name="Cancel the jobs").click()
    expect(dialog).to_be_hidden()
    for session in made[1:]:
        api.wait(session, *OVER)
    expect(row.get_by_role("button", name="Clear simulate")).to_be_visible()
    row.get_by_role("button", name="Clear simulate").click()
    expect(home.locator("#jobs")).to_be_hidden()


def test_a_session_of_somebody_else_is_entered_and_left(
    small_hub: Hub, ada: Visitor, chromium: Browser, screenshots: Path
) -> None:
    context = open_context(chromium)
    page = context.new_page()
    sign_in(page, small_hub, "ben")
    row = page.locator("#shared-list > li")
    expect(row).to_contain_text("Whoever enters works as ada.")
    expect(row.get_by_role("link", name="Open")).to_have_attribute(
        "href", re.compile(f"/user/ada/{SESSION}/$")
    )
    page.screenshot(path=screenshots / "home-shared.png", full_page=True)
    row.get_by_role("button", name="Leave").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Leave", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#shared")).to_be_hidden()
    assert not any(each["letsIn"] for each in shares(ada, SESSION))
    context.close()


def test_restarted_larger_the_old_link_leads_to_the_new_one(
    small_hub: Hub, home: Page, ada: Visitor, screenshots: Path
) -> None:
    hub = small_hub
    choose(home, "Restart with more memory")
    dialog = home.get_by_role("dialog")
    expect(dialog).to_contain_text("/scratch")
    expect(dialog.get_by_label("Memory")).to_have_value("4")
    dialog.get_by_label("Memory").select_option("8")
    home.screenshot(path=screenshots / "restart.png")
    dialog.get_by_role("button", name="Stop and restart").click()
    home.wait_for_url(re.compile(rf"/user/ada/(?!{SESSION})[a-z][a-z0-9]{{7}}/"))
    later = home.url.split("/user/ada/")[1].split("/")[0]
    row = V1.of(ada).wait(later, "Running")
    assert (row["name"], row["memory_limit_gb"], row["cores_limit"]) == ("M31 again", 8, "1")
    assert SESSION not in hub.launches()
    home.goto(f"{hub.url}/user/ada/{SESSION}/lab")
    expect(home.get_by_role("heading", level=1)).to_have_text("This session goes on as M31 again")
    home.screenshot(path=screenshots / "continued.png")
    expect(home.get_by_role("link", name="Open M31 again")).to_have_attribute(
        "href", f"/user/ada/{later}/"
    )
    home.goto(f"{hub.url}/hub/home")


def test_what_was_stopped_is_launched_again_in_one_press(home: Page, ada: Visitor) -> None:
    card(home).get_by_role("button", name="Stop").first.click()
    dialog = home.get_by_role("dialog")
    expect(dialog).to_contain_text("Home and projects stay.")
    dialog.get_by_role("button", name="Stop", exact=True).click()
    expect(home.locator(".card-session")).to_have_count(0)
    row = home.locator(".home-ended li").first
    expect(row).to_contain_text("Stopped on request.")
    row.get_by_role("button", name="Launch again").click()
    home.wait_for_url("**/user/ada/**")
    session = home.url.split("/user/ada/")[1].split("/")[0]
    again = V1.of(ada).wait(session, "Running")
    assert (again["name"], again["memory_limit_gb"]) == ("M31 again", 8)
