"""What ended lately of itself, as the home page tells it."""

from __future__ import annotations

from tests.portal.test_templates import Drawer, ended, home


def test_what_ended_of_itself_says_why_and_offers_another() -> None:
    draw = Drawer()
    row = ended(
        "photometry",
        reason="The session used more than its memory and was ended.",
        advice="Launch it again with more memory.",
        detail="Exit code 137.",
    )
    page = draw.page("home.html", home=home(sessions=(), ended=(row,)))
    text = " ".join(element.text for element in page.elements)
    for told in ("Recently ended", row.name, row.reason, row.advice, "(Exit code 137.)"):
        assert told in text
    again = next(each for each in page.all("a") if each.text.strip() == "Launch again")
    assert again.attributes["href"] == row.again_url
    live = next(each for each in page.all("section") if "data-live" in each.attributes)
    assert live.attributes["aria-labelledby"] == "sessions-title"


def test_where_nothing_ended_nothing_is_said() -> None:
    draw = Drawer()
    page = draw.page("home.html", home=home(ended=()))
    assert "ended-title" not in {each.attributes.get("id") for each in page.elements}
