"""Texts that would do something if a page took them for more than text, and a site full of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from playwright.sync_api import BrowserContext, Page

MARKS: Final = (
    "<img src=x onerror=owned()>",
    '"><script>owned()</script>',
    "'><svg/onload=owned()>",
    "</title><script>owned()</script>",
    "</textarea><script>owned()</script>",
    "<details open ontoggle=owned()>",
    '" autofocus onfocus=owned() x="',
    "<iframe srcdoc='<script>owned()</script>'>",
    "javascript:owned()",
    "<a href=javascript:owned()>owned()</a>",
    "&lt;img src=x onerror=owned()&gt;",
    "<style>@import'//evil.example/owned()'</style>",
    "{{ owned() }}${owned()}%(owned())s",
    "--><img src=x onerror=owned()>",
)
"""Each has ``owned()`` in it, by which it is found again, and at most 60 signs, as a title may."""
ALL: Final = " ".join(MARKS)
_WATCH: Final = """
window.refusedByPolicy = [];
addEventListener('securitypolicyviolation', event => {
  window.refusedByPolicy.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
_MADE: Final = """
() => [...document.querySelectorAll(
  '[onerror], [onload], [ontoggle], [onfocus], [onclick], img[src="x"], iframe, style,' +
  'script:not([src]), a[href^="javascript:"], form[action^="javascript:"]'
)].map(element => element.outerHTML.slice(0, 200))
"""


def write_catalogue(path: Path, ordinary: Path) -> Path:
    """Write a site whose administrator means harm: its titles and texts are hostile.

    Parameters
    ----------
    path : pathlib.Path
        Where to.
    ordinary : pathlib.Path
        The catalogue of tests, with ``probe`` and ``broken``.
    """
    content: dict[str, Any] = yaml.safe_load(ordinary.read_text())
    containers = content["catalogue"]["containers"]
    probe = next(each for each in containers if each["name"] == "probe")
    broken = next(each for each in containers if each["name"] == "broken")
    says = f"import sys; sys.stderr.write({ALL!r}); raise SystemExit(3)"
    broken["local"] = {"command": ["python3", "-c", says.replace("{", "{{").replace("}", "}}")]}
    broken |= {"title": MARKS[0], "description": ALL[:400]}
    for number, mark in enumerate(MARKS):
        containers.append(
            {**probe, "name": f"mark-{number}", "title": mark, "description": mark}
            | {"image": f"canfar-hub/mark-{number}", "aliases": []}
        )
    # The probe lets everybody in by itself; behind the gateway nobody enters who was not asked.
    command = [*probe["local"]["command"][:-1], "{socket}"]
    fenced = {"name": "fenced", "kinds": ["contributed"], "image": "canfar-hub/fenced"}
    without = {key: value for key, value in probe.items() if key not in {"aliases", "entry"}}
    containers.append({**without, **fenced, "local": {"command": command}})
    content["branding"] = {"name": MARKS[0][:40], "announcement": ALL[:300]}
    for project in content["projects"]:
        project["title"] = MARKS[1]
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


class Watch:
    """Sees whether anything hostile has come to life in a browser.

    Parameters
    ----------
    context : BrowserContext
    """

    def __init__(self, context: BrowserContext) -> None:
        self.alive: list[str] = []
        context.expose_binding("owned", lambda source: self.alive.append(source["page"].url))
        context.add_init_script(_WATCH)
        context.on("page", self._see)

    def _see(self, page: Page) -> None:
        page.on("dialog", lambda dialog: self.alive.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if urlsplit(url).hostname == "evil.example":
            self.alive.append(f"request: {url}")

    def check(self, page: Page) -> None:
        """Fail where a text has become an element, a script or a request, or the policy held one back."""
        made, refused = page.evaluate(_MADE), page.evaluate("window.refusedByPolicy")
        if urlsplit(page.url).path == "/hub/admin":
            # JupyterHub's own page brings its styles in its script.
            made = [each for each in made if not each.startswith("<style>") or "owned" in each]
        assert not made, made
        assert not refused, refused
        assert not self.alive, self.alive
