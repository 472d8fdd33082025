"""JupyterHub's own templates: each one that a template of ours takes the place of is still the same."""

from __future__ import annotations

import hashlib

from jupyterhub import __version__

from tests.portal.samples import STOCK, TEMPLATES

# Compare the new one with ours before a digest is changed here: it may have learned something.
SEEN = {
    "404.html": "51c6d536817fb288",
    "accept-share.html": "b401a2e38b329a53",
    "admin.html": "005b5f0e7cba7848",
    "error.html": "451a812b1a79b7e1",
    "home.html": "1c8a1a30a81af4d3",
    "login.html": "470fa03025fbbfa3",
    "logout.html": "9366fbcecf7b8466",
    "not_running.html": "d32a6166eb810cfb",
    "oauth.html": "346b0ea582dab2ed",
    "page.html": "3c7a6bab48766c93",
    "spawn.html": "4c31adff20afa915",
    "spawn_pending.html": "fd786249c7941600",
    "stop_pending.html": "42b845ad37de7b64",
    "token.html": "9b6e304b23efb360",
}


def test_no_template_that_we_replace_has_changed_upstream() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in STOCK.glob("*.html")
    }
    assert found == SEEN, f"JupyterHub {__version__} brings other templates"


def test_every_page_of_jupyterhub_is_replaced() -> None:
    assert {path.name for path in TEMPLATES.glob("*.html")} == set(SEEN)
