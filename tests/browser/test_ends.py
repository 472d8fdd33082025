"""Home says that an end is near while it is open, and every time in the viewer's zone, with UTC beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from canfar_spawner.manager.lifetimes import moment
from tests.browser.conftest import open_context, sign_in
from tests.browser.test_pages import NARROW, WIDE, overflows
from tests.support.axe import shortfalls
from tests.support.hub import Hub, Visitor
from tests.support.v1 import V1

pytestmark = [pytest.mark.browser, pytest.mark.environment("proxy")]

SESSION = "ends0001"
NAME = "M31 photometry"
ZONE = "America/Vancouver"
ROWS = re.compile(r"/services/sessions/v1/session(/[a-z0-9]{8})?$")
LOOK = "document.dispatchEvent(new CustomEvent('canfar:shared'))"
"""Has the page look at once; it looks by itself every ten seconds."""
LISTEN = """
() => {
  const place = document.querySelector("#warned");
  window.heard = [];
  new MutationObserver(() => place.textContent && window.heard.push(place.textContent)).observe(
    place, { childList: true, subtree: true, characterData: true });
}
"""
"""Notes what a screen reader would be told."""


@dataclass
class Ends:
    """Answers as the session manager would where ends are near."""

    left: dict[str, timedelta] = field(default_factory=dict)
    files: int = 2

    def ends(self, session: str) -> datetime:
        """Give the end that is told; of one moment, so that it does not wander."""
        return (self._now + self.left[session]).replace(microsecond=0)

    def __post_init__(self) -> None:
        self._now = datetime.now(UTC)

    def watch(self, page: Page) -> None:
        page.route(ROWS, self._rows)
        page.route(re.compile(r"\?action=renew$"), self._renew)

    def _rows(self, route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        for row in told if isinstance(told, list) else [told]:
            if row.get("id") in self.left:
                ends = self.ends(row["id"])
                row["expiryTime"] = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
                row["warning"] = (
                    f"{row['name']} ends {moment(ends)}. {self.files} files (1.2 MB) in /scratch"
                    " will be wiped. Extend it, or save what you need."
                )
        route.fulfill(response=answer, json=told)

    def _renew(self, route: Route) -> None:
        self.left.clear()
        route.continue_()


@pytest.fixture(scope="module")
def admin(small_hub: Hub) -> Iterator[Visitor]:
    """Somebody with a session."""
    visitor = small_hub.sign_in("admin")
    answer = visitor.launch_by_form(SESSION, {"container": "probe", "name": NAME})
    assert answer.status_code == 200, answer.text
    visitor.wait_ready(SESSION)
    yield visitor
    V1.of(visitor).clear()


@pytest.fixture(scope="module")
def job(admin: Visitor) -> Iterator[str]:
    """His job that sleeps; nothing of it stays on his page."""
    api = V1.of(admin)
    made = api.created(name="simulate", cmd="python3", args='-c "import time; time.sleep(600)"')
    api.wait(made, "Running")
    yield made
    api.delete(made)
    api.delete(made)


@pytest.fixture
def home(small_hub: Hub, job: str, chromium: Browser) -> Iterator[Page]:
    """His home, as somebody in Vancouver opens it."""
    assert job
    context = open_context(chromium, timezone_id=ZONE)
    page = context.new_page()
    sign_in(page, small_hub, "admin")
    expect(page.locator("#jobs-list > li")).to_have_count(1)
    yield page
    context.close()


def expect_time(element: Locator, at: str | datetime) -> None:
    """See that a time stands there as Vancouver has it, and in UTC where one points at it."""
    told = datetime.fromisoformat(at) if isinstance(at, str) else at
    # By the browser's own clock there: laws change, and Python may know another than it does.
    minutes = element.page.evaluate("at => new Date(at).getTimezoneOffset()", told.isoformat())
    assert minutes > 300, "west of Greenwich"
    there = told.astimezone(UTC) - timedelta(minutes=minutes)
    expect(element).to_have_text(re.compile(rf"\b{there:%H:%M}$"))
    expect(element).to_have_attribute("title", f"{told.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


def heard(page: Page) -> list[str]:
    found: list[str] = page.evaluate("window.heard")
    return found


def test_times_are_in_the_zone_of_the_viewer(
    small_hub: Hub, home: Page, admin: Visitor, job: str
) -> None:
    api = V1.of(admin)
    told: dict[str, Any] = api.row(job) or {}
    row = home.locator("#jobs-list > li")
    expect(row.locator('[data-slot="started"]')).to_have_text(re.compile("^started "))
    expect_time(row.locator('[data-slot="started"] time'), told["startTime"])
    card = home.locator(".card-session")
    told = api.row(SESSION) or {}
    expect_time(card.locator("[data-left] ~ .muted time"), told["expiryTime"])
    card.get_by_role("button", name="Extend").first.click()
    expect(card.locator("[data-said]")).to_contain_text("It ends ")
    expect_time(card.locator("[data-said] time"), (api.row(SESSION) or {})["expiryTime"])
    expect(home.locator("[data-widget=load] [data-since] time")).to_have_attribute(
        "title", re.compile(r" UTC$")
    )
    card.locator(".card-menu summary").click()
    card.get_by_role("button", name="Events", exact=True).click()
    expect_time(home.locator("#events-shown time").first, told["asked"])
    expect(home.locator("#text-note time")).to_have_attribute("title", re.compile(r" UTC$"))
    home.keyboard.press("Escape")
    home.goto(f"{small_hub.url}/hub/spawn?opt-container=probe")
    expect(home.locator("#summary time")).to_have_attribute("title", re.compile(r" UTC$"))


def test_a_page_that_is_open_says_that_an_end_is_near(
    home: Page, job: str, screenshots: Path
) -> None:
    ends = Ends()
    ends.watch(home)
    home.evaluate(LISTEN)
    card, row = home.locator(".card-session"), home.locator("#jobs-list > li")
    warning, of_job = card.locator("[data-warning]"), row.locator('[data-slot="warning"]')
    expect(warning).to_be_hidden()
    expect(of_job).to_be_hidden()
    expect(card.locator(".soon")).to_have_count(0)
    ends.left |= {SESSION: timedelta(hours=20), job: timedelta(hours=23)}
    home.evaluate(LOOK)
    rest = "2 files (1.2 MB) in /scratch will be wiped. Extend it, or save what you need."
    for place, name, session in ((warning, NAME, SESSION), (of_job, "simulate", job)):
        expect(place).to_be_visible()
        expect(place).to_have_text(re.compile(rf"{name} ends .+ \d\d:\d\d\. {re.escape(rest)}$"))
        expect_time(place.locator("time"), ends.ends(session))
    expect(card.locator(".soon [data-left]")).to_have_text(re.compile("^(19|20) h"))
    expect(card.locator(".soon .icon")).to_be_visible()
    assert len(heard(home)) == 1, "both at once"
    assert NAME in heard(home)[0]
    assert "simulate ends" in heard(home)[0]
    pictures(home, screenshots)
    ends.files = 3
    home.evaluate(LOOK)
    expect(warning).to_contain_text("3 files")
    assert len(heard(home)) == 1, "more files are no other warning"
    ends.left[SESSION] = timedelta(minutes=50)
    home.evaluate(LOOK)
    expect_time(warning.locator("time"), ends.ends(SESSION))
    assert len(heard(home)) == 2, "an hour before the end"
    assert "simulate ends" not in heard(home)[1]
    card.get_by_role("button", name="Extend").first.click()
    expect(card.locator("[data-said]")).to_have_text(re.compile(r"^It ends .+ now\.$"))
    expect(warning).to_be_hidden()
    expect(of_job).to_be_hidden()
    expect(card.locator(".soon")).to_have_count(0)
    expect(card.locator(".facts .icon")).to_be_hidden()
    expect(home.locator("#warned")).to_be_empty()
    assert len(heard(home)) == 2


def pictures(page: Page, screenshots: Path) -> None:
    """Take pictures in both themes and on a phone, and see that all of it can be read."""
    assert shortfalls(page) == []
    page.screenshot(path=screenshots / "home-warned.png", full_page=True)
    page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    page.screenshot(path=screenshots / "home-warned-dark.png", full_page=True)
    page.evaluate("document.documentElement.dataset.bsTheme = 'light'")
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert not overflows(page)
    page.screenshot(path=screenshots / "home-warned-narrow.png", full_page=True)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def test_a_warning_of_the_hub_has_its_time_there_too(home: Page) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5)
    said = f"{NAME} ends {moment(ends)}. Extend it, or save what you need."

    def draw(route: Route) -> None:
        answer = route.fetch()
        text = re.sub(
            r"data-warning hidden>(.*?<span>)",
            rf"data-warning>\g<1>{said}",
            answer.text(),
            flags=re.DOTALL,
        )
        at = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
        text = re.sub(r'(data-left.*?<time datetime=")[^"]*', rf"\g<1>{at}", text, flags=re.DOTALL)
        route.fulfill(response=answer, body=text)

    home.route("**/hub/home", draw)
    # The session manager is away.
    home.route(ROWS, lambda route: route.abort())
    home.reload()
    warning = home.locator(".card-session [data-warning]")
    expect(home.locator("#live-trouble")).not_to_be_empty()
    expect(warning).to_have_text(re.compile(r"M31 photometry ends .+\. Extend it, or save"))
    expect_time(warning.locator("time"), ends)
