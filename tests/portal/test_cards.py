"""In which order home shows sessions, and what their cards carry."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl

from canfar_spawner.portal.home import order
from canfar_spawner.portal.views import Larger
from tests.core.world import NOW
from tests.portal.samples import Drawer, home, session


def test_what_runs_comes_first_and_of_that_what_was_used_last() -> None:
    made = {
        "stopping": (session(phase="ending", state_meaning="busy"), 0),
        "starting": (session(phase="pulling", state_meaning="busy"), 0),
        "used yesterday": (session(phase="ready", state_meaning="good"), 24),
        "not known": (session(phase="ready", state_meaning="warn"), 2),
        "used now": (session(phase="ready", state_meaning="good"), 0),
    }
    shown = sorted(
        made, key=lambda name: order(made[name][0], NOW - timedelta(hours=made[name][1]))
    )
    assert shown == ["used now", "not known", "used yesterday", "starting", "stopping"]


def test_a_card_carries_the_words_of_a_larger_one() -> None:
    words = (("name", "M 31 & more"), ("projects", "demo"), ("projects", "survey"))
    larger = Larger(("8", "16"), ("1", "2"), "2", words, variables=("TOKEN",))
    page = Drawer().page("home.html", home=home(sessions=(session(larger=larger),)))
    article = next(page.all("article")).attributes
    assert parse_qsl(article["data-larger"]) == list(words)
    assert article["data-memory"].split() == ["8", "16"]
    assert article["data-variables"] == "TOKEN"
    plain = Drawer().page("home.html", home=home(sessions=(session(larger=None),)))
    assert "data-larger" not in next(plain.all("article")).attributes
