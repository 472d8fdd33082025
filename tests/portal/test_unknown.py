"""A session whose back end does not answer, as its owner sees it."""

from __future__ import annotations

from canfar_spawner.core.status import Life, Phase
from canfar_spawner.portal.words import state
from tests.portal.samples import Drawer, home, session


def test_unknown_is_not_ended() -> None:
    found = state(Life.UNKNOWN, Phase.READY, ready=True, failed=False)
    assert found == ("Unknown", "warn")


def test_a_session_that_cannot_be_asked_for_says_since_when() -> None:
    cards = (
        session(state_word="Unknown", state_meaning="warn", unknown_since="2026-11-25T14:02:31Z"),
        session(state_word="Unknown", state_meaning="warn"),
        session(state_word="Running", state_meaning="good"),
    )
    page = Drawer().page("home.html", home=home(sessions=cards))
    words = [
        element.text.strip()
        for element in page.elements
        if "article" in element.parents and element.text.startswith(("Unknown", "Running"))
    ]
    assert words == ["Unknown since", "Unknown", "Running"]
    inside = [each for each in page.all("time") if "article" in each.parents]
    times = [each for each in inside if each.parents[-2:] == ("span", "span")]
    assert [each.attributes["datetime"] for each in times] == ["2026-11-25T14:02:31Z"]
    assert times[0].text == "2026-11-25 14:02 UTC"
