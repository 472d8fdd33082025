"""What templates take as it is, without escaping it."""

from __future__ import annotations

from pathlib import Path

from tests.portal.samples import TEMPLATES

MANAGER = TEMPLATES.parents[1] / "manager" / "templates"


def trusting(templates: Path) -> dict[str, int]:
    return {
        path.relative_to(templates).as_posix(): path.read_text().count("| safe")
        for path in templates.rglob("*.html")
        if "| safe" in path.read_text()
    }


def test_only_constants_and_the_operators_own_form_are_trusted() -> None:
    # On the page of tokens it is JupyterHub's own list of lengths.
    assert trusting(TEMPLATES) == {"canfar/icons.html": 1, "login.html": 1, "token.html": 1}


def test_the_managers_pages_trust_nothing() -> None:
    assert list(MANAGER.rglob("*.html"))
    assert trusting(MANAGER) == {}
