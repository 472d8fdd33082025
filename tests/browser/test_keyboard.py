"""From signing in to stopping a session, by keyboard alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.hub import Hub, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.environment("proxy")]

_MOST = 120
_HERE = """() => {
  const element = document.activeElement;
  const label = element.labels?.[0]?.innerText ?? '';
  const name = element.ariaLabel || label || element.innerText || element.textContent || '';
  const style = getComputedStyle(element);
  const box = (element.labels?.[0] ?? element).getBoundingClientRect();
  return {
    tag: element.tagName,
    name: name.trim().replace(/\\s+/g, ' '),
    // The ring is around the whole card where a radio button is one's corner.
    seen: style.outlineStyle !== 'none' || style.boxShadow !== 'none' || style.opacity === '0'
      || getComputedStyle(element.parentElement).outlineStyle !== 'none',
    inside: box.bottom > 0 && box.top < innerHeight,
  };
}"""


def tab_to(page: Page, name: str, tag: str = "") -> None:
    """Press Tab until the control of this name has the focus; each on the way shows that it has."""
    passed = []
    for _ in range(_MOST):
        page.keyboard.press("Tab")
        here = page.evaluate(_HERE)
        if here["tag"] == "BODY":
            # Behind the last one it is the browser's turn, and then the first one's.
            continue
        if here["name"]:
            assert here["seen"], f"the focus at {here['name']} is not seen"
            # The page may be on its way there: it scrolls smoothly.
            if not here["inside"]:
                wait_for(
                    lambda: page.evaluate(_HERE)["inside"], f"{here['name']} to come into sight"
                )
        if here["name"] == name and tag in ("", here["tag"]):
            return
        passed.append(here["name"])
    raise AssertionError(f"no Tab leads to {name}; passed: {passed}")


def test_a_session_is_launched_shared_and_stopped(small_hub: Hub, page: Page) -> None:
    hub = small_hub
    hub.sign_in("ben")
    page.goto(f"{hub.url}/hub/login")
    # The page puts the focus where one begins to write, a moment after it is there.
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("ada")
    tab_to(page, "Password")
    page.keyboard.type(hub.password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/hub/home")
    page.goto(f"{hub.url}/hub/spawn?opt-container=probe")
    # The page that one is on is called so too.
    tab_to(page, "Launch", "BUTTON")
    page.keyboard.press("Enter")
    page.wait_for_url("**/user/ada/**")
    (session,) = hub.launches()
    page.goto(f"{hub.url}/hub/home")
    card = page.locator(f"#session-{session}")
    expect(card).to_contain_text("Running")
    name = card.get_by_role("heading").inner_text()

    tab_to(page, f"Share {name}")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=f"Share {name}")
    expect(dialog.get_by_role("tab", name="Link")).to_be_focused()
    expect(dialog.get_by_text("Nobody: the session is yours alone.")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("tab", name="Person")).to_be_focused()
    tab_to(page, "Name")
    page.keyboard.type("ben")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text("ben may enter now.")
    expect(dialog.get_by_role("button", name="Revoke ben")).to_be_visible()
    tab_to(page, "Revoke ben")
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("Nobody: the session is yours alone.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card.get_by_role("link", name=f"Share {name}")).to_be_focused()

    tab_to(page, f"Stop {name}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name=f"Stop {name}?")).to_be_visible()
    tab_to(page, "Stop")
    page.keyboard.press("Enter")
    wait_for(lambda: session not in hub.launches(), "the session to end")
