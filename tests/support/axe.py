"""axe-core in a page: what somebody could not see, reach or understand."""

from __future__ import annotations

from functools import cache
from typing import Final

from playwright.sync_api import Page

from tests.support.hub import ROOT

SCRIPT: Final = ROOT / "node_modules" / "axe-core" / "axe.min.js"
"""The development packages of the browser's side have it."""
THEMES: Final = ("light", "dark")
# Not preloaded: for that axe-core makes style elements, which a strict policy holds back.
_RUN: Final = """
async () => (await axe.run(document, {
  preload: false,
  resultTypes: ['violations'],
})).violations.flatMap(found =>
  found.nodes.map(node => `${found.id}: ${node.html.slice(0, 160)} (${node.failureSummary})`))
"""


# Elements in a list of their own would be left out, and the whole page taken in their place.
_RUN_IN: Final = """
parts => axe.run({ include: [...document.querySelectorAll(parts)] })
  .then(found => found.violations.flatMap(each => each.nodes.map(
    node => `${each.id}: ${node.html.slice(0, 160)} (${node.failureSummary})`)))
"""


@cache
def _source() -> str:
    return SCRIPT.read_text()


def shortfalls(page: Page) -> list[str]:
    """Give what axe-core finds wrong with a page, in each theme."""
    found = []
    page.evaluate(_source())
    for theme in THEMES:
        page.evaluate("theme => { document.documentElement.dataset.bsTheme = theme }", theme)
        found += [f"{theme}: {each}" for each in page.evaluate(_RUN)]
    page.evaluate("document.documentElement.dataset.bsTheme = 'light'")
    return found


def shortfalls_in(page: Page, parts: str) -> list[str]:
    """Give what axe-core finds wrong with parts of a page, by their selector, as the page is."""
    page.evaluate(_source())
    found: list[str] = page.evaluate(_RUN_IN, parts)
    return found
