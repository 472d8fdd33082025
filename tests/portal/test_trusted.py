"""What templates take as it is, without escaping it."""

from __future__ import annotations

from tests.portal.test_templates import TEMPLATES


def test_only_constants_and_the_operators_own_form_are_trusted() -> None:
    trusting = {
        path.relative_to(TEMPLATES).as_posix(): path.read_text().count("| safe")
        for path in TEMPLATES.rglob("*.html")
        if "| safe" in path.read_text()
    }
    assert trusting == {"canfar/icons.html": 1, "login.html": 1}
