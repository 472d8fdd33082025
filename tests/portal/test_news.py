"""What the session manager tells, as the home page shows it."""

from __future__ import annotations

from canfar_spawner.portal.views import RefusedRow
from tests.portal.samples import Drawer, home, session


def test_a_warning_is_on_its_card() -> None:
    warning = "photometry ends at 12:00 UTC on 1 November. 14 files (2.3 GB) in /scratch will go."
    draw = Drawer()
    page = draw.page("home.html", home=home(sessions=(session(warning=warning), session())))
    assert [each.text for each in page.all("span")].count(warning) == 1


def test_where_an_end_is_not_near_its_place_is_kept_for_later() -> None:
    """A page that is open says it by script."""
    cards = (
        session(warning="It ends at 12:00 UTC on 1 November."),
        session(warning=""),
        session(warning="It ends.", phase="ending", state_meaning="busy"),
    )
    page = Drawer().page("home.html", home=home(sessions=cards))
    places = [each.attributes for each in page.all("p") if "data-warning" in each.attributes]
    assert ["hidden" in each for each in places] == [False, True, True]
    assert "It ends." not in {each.text for each in page.all("span")}
    told = [each.attributes for each in page.elements if each.attributes.get("id") == "warned"]
    assert [each.get("role") for each in told] == ["status"]


def test_what_was_refused_to_scripts_says_why() -> None:
    row = RefusedRow(
        name="fit-1",
        sentence="16.9 is no number of cores; choose 1, 2, 4 or 8.",
        at="2026-11-01T12:00:00Z",
    )
    nameless = RefusedRow(name="", sentence="The body must be JSON.", at="2026-11-01T12:00:00Z")
    page = Drawer().page("home.html", home=home(refused=(row, nameless)))
    text = " ".join(element.text for element in page.elements)
    for told in ("Refused to your scripts", "fit-1", row.sentence, "A session", nameless.sentence):
        assert told in text


def test_where_nothing_was_refused_nothing_is_said() -> None:
    page = Drawer().page("home.html", home=home())
    assert "refused-title" not in {each.attributes.get("id") for each in page.elements}
