"""What somebody reads before she enters a session of somebody else's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from canfar_spawner.portal.views import Visit
from canfar_spawner.portal.visits import visit
from tests.portal.samples import HOSTILE, Drawer, Page


def drawn(text: str = "M31 photometry", owner: str = "ada") -> Page:
    shown = Visit(owner=owner, session="abcd1234", name=text, container=text, version=text)
    return Drawer().page("oauth.html", "ben", visit=shown)


def words(page: Page) -> str:
    return " ".join(" ".join(element.text.split()) for element in page.elements)


def test_it_says_whose_session_and_in_whose_name() -> None:
    page = drawn()
    (title,) = page.all("h1")
    assert title.text == "Enter a session of ada?"
    assert "M31 photometry" in words(page)
    assert "In it you work as ada" in words(page)
    (place,) = (each for each in page.elements if "data-visit" in each.attributes)
    assert place.attributes["data-visit"] == "ada/abcd1234"
    assert "hidden" in place.attributes, "until when is shown once it is known"
    (form,) = page.all("form")
    assert form.attributes["method"] == "post"


def test_names_stay_text() -> None:
    page = drawn(HOSTILE, owner=HOSTILE)
    assert "onerror" not in {name for element in page.elements for name in element.attributes}
    assert not [each for each in page.all("script") if "alert" in each.text]


@pytest.mark.parametrize(
    "client", [SimpleNamespace(), SimpleNamespace(spawner=None)], ids=["odd", "a service"]
)
def test_what_is_no_session_is_no_visit(client: SimpleNamespace) -> None:
    assert visit(client) is None
    (title,) = Drawer().page("oauth.html", "ben").all("h1")
    assert title.text == "Allow access?"
