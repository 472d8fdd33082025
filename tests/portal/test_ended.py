"""What ended lately, as the home page tells it."""

from __future__ import annotations

from canfar_spawner.portal.views import Continued
from tests.portal.samples import Drawer, ended, home, session


def test_what_ended_of_itself_says_why_and_offers_another() -> None:
    draw = Drawer()
    row = ended(
        "photometry",
        reason="The session used more than its memory and was ended.",
        advice="Launch it again with more memory.",
        detail="Exit code 137.",
        again=(),
    )
    page = draw.page("home.html", home=home(sessions=(), ended=(row,)))
    text = " ".join(element.text for element in page.elements)
    for told in ("Recently ended", row.name, row.reason, row.advice, "(Exit code 137.)"):
        assert told in text
    again = next(each for each in page.all("a") if each.text.strip() == "Launch again")
    assert again.attributes["href"] == row.again_url
    live = {each.attributes.get("data-live") for each in page.all("section", "div")}
    assert {"sessions", "ended"} <= live, "both are drawn anew while the page is open"


def test_another_like_it_is_one_press_away_and_no_link() -> None:
    words = (("name", "photometry"), ("container", "astroml"), ("projects", ""))
    larger = (*words, ("memory", "16"), ("continues", "k3vd81qa"))
    row = ended("photometry", fresh="b1234567", again=words, larger=larger, larger_memory="16")
    page = Drawer().page("home.html", home=home(sessions=(), ended=(row,)))
    forms = [each for each in page.all("form") if "/spawn/" in each.attributes.get("action", "")]
    assert [each.attributes["action"] for each in forms] == ["/hub/spawn/ada/b1234567"] * 2
    assert {each.attributes["method"] for each in forms} == {"post"}
    sent = [
        (each.attributes["name"], each.attributes["value"])
        for each in page.all("input")
        if each.attributes.get("type") == "hidden"
    ]
    token = ("_xsrf", "token")
    assert sent == [token, *larger, token, *words]
    assert not [each for each in page.all("a") if each.text.strip() == "Launch again"]


def test_more_than_five_are_folded_away() -> None:
    rows = tuple(ended(f"run {number}") for number in range(8))
    page = Drawer().page("home.html", home=home(sessions=(), ended=rows))
    folded = [each.text for each in page.all("strong") if "details" in each.parents]
    assert folded == ["run 5", "run 6", "run 7"]


def test_where_nothing_ended_nothing_is_said() -> None:
    draw = Drawer()
    page = draw.page("home.html", home=home(ended=()))
    assert "ended-title" not in {each.attributes.get("id") for each in page.elements}


def test_the_link_of_a_session_that_was_restarted_leads_to_its_successor() -> None:
    draw = Drawer()
    given = {"failed": False, "spawn_url": "/hub/spawn/ada/?next=%2Fuser%2Fada%2Fk3vd81qa%2Flab"}
    later = session("photometry", id="b1234567", url="/user/ada/b1234567/")
    page = draw.page("not_running.html", continued=Continued(later, over=False), **given)
    assert "This session goes on as photometry" in {each.text for each in page.all("h1")}
    assert "/user/ada/b1234567/" in {each.attributes["href"] for each in page.all("a")}
    page = draw.page("not_running.html", continued=Continued(None, over=True, name="x y"), **given)
    text = " ".join(element.text for element in page.elements)
    assert "It was restarted as x y, which has ended, too." in text
