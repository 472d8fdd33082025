"""The pages, drawn as the hub draws them, from views alone."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.portal.samples import (
    FORM_FIELDS,
    HOSTILE,
    Drawer,
    Element,
    Page,
    card,
    home,
    launch_form,
    progress,
    session,
)

OURS = (
    "login.html",
    "logout.html",
    "home.html",
    "spawn.html",
    "spawn_pending.html",
    "stop_pending.html",
    "not_running.html",
    "error.html",
    "404.html",
    "token.html",
    "oauth.html",
    "accept-share.html",
)
NEEDS_JQUERY = ("admin.html",)


@pytest.fixture(scope="module")
def draw() -> Drawer:
    return Drawer()


@pytest.mark.parametrize("name", OURS)
def test_hostile_text_stays_text(draw: Drawer, name: str) -> None:
    html = draw.html(name, HOSTILE)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "49" not in re.sub(r"<svg.*?</svg>", "", html)
    page = Page(html)
    assert "onerror" not in {name for element in page.elements for name in element.attributes}
    assert any("<script>alert(1)" in element.text for element in page.elements)


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_inline(draw: Drawer, name: str) -> None:
    page = draw.page(name)
    scripts = list(page.all("script"))
    assert {script.attributes["src"] for script in scripts} == {
        "/hub/static/canfar/theme.js",
        "/hub/static/canfar/portal.js",
    }
    assert not any(script.text.strip() for script in scripts)
    assert not list(page.all("style"))
    for element in page.elements:
        assert "style" not in element.attributes
        assert not [attribute for attribute in element.attributes if attribute.startswith("on")]
        assert not element.attributes.get("href", "").startswith("javascript:")


@pytest.mark.parametrize("name", OURS)
def test_every_input_has_a_label(draw: Drawer, name: str) -> None:
    page = draw.page(name)
    labelled = {label.attributes.get("for") for label in page.all("label")}
    for element in page.inputs():
        assert element.attributes.get("id") in labelled or "label" in element.parents, element


@pytest.mark.parametrize("name", [*OURS, *NEEDS_JQUERY])
def test_identifiers_are_unique_and_references_hold(draw: Drawer, name: str) -> None:
    cards = tuple(replace(each, id=f"s{n}") for n, each in enumerate(home().sessions))
    page = draw.page(name, home=home(sessions=cards))
    found = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(found) == len(set(found))
    for element in page.elements:
        for attribute in ("for", "aria-describedby", "aria-labelledby"):
            assert set(element.attributes.get(attribute, "").split()) <= set(found), element


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    "given",
    [{}, {"home": home(sessions=()), "progress": progress(failed=True), "failed": False}],
    ids=["usual", "unusual"],
)
def test_pages_draw_in_the_concurrent_environment_too(
    draw: Drawer, name: str, given: dict[str, Any]
) -> None:
    template = draw.concurrent.get_template(name)
    html = asyncio.run(template.render_async(draw.context("astroml", **given)))
    assert html == draw.html(name, **given)


@pytest.mark.parametrize("name", NEEDS_JQUERY)
def test_stock_pages_keep_what_they_were_written_for(draw: Drawer, name: str) -> None:
    page = draw.page(name, next_url="/hub/home", api_page_limit=50, server_version="6")
    sources = [script.attributes.get("src", "") for script in page.all("script")]
    jquery = "/hub/static/components/jquery/dist/jquery.min.js"
    frame = "/hub/static/canfar/stock.js"
    assert sources.index("/hub/static/components/requirejs/require.js") < sources.index(frame)
    assert jquery in sources
    stock = next(each for each in page.all("script") if each.attributes.get("src") == frame)
    assert stock.attributes["data-user"] == "astroml"
    assert stock.attributes["data-xsrf"] == "token"


def test_the_form_sends_the_words_of_a_request(draw: Drawer) -> None:
    page = draw.page("spawn.html")
    names = {each.attributes["name"] for each in page.inputs() if "name" in each.attributes}
    assert names == FORM_FIELDS
    hidden = [each for each in page.all("input") if each.attributes.get("type") == "hidden"]
    assert [each.attributes["name"] for each in hidden] == ["_xsrf", "projects"]
    form = next(page.all("form"))
    assert form.attributes["action"] == "/hub/spawn/ada/abcd1234"
    assert form.attributes["method"] == "post"
    assert form.attributes["enctype"] == "application/x-www-form-urlencoded"


def test_the_form_keeps_what_was_filled_in(draw: Drawer) -> None:
    page = draw.page("spawn.html")
    checked = {
        (each.attributes["name"], each.attributes["value"])
        for each in page.all("input")
        if "checked" in each.attributes
    }
    assert checked == {
        ("container", "astroml"),
        ("mode", "fixed"),
        ("cores", "2"),
        ("memory", ""),
        ("gpus", ""),
        ("projects", "astroml"),
    }
    assert next(page.all("textarea")).text == "astroml"


def test_sizes_can_be_left_out_and_are_offered_in_order(draw: Drawer) -> None:
    page = draw.page("spawn.html")
    cores = [each.attributes["value"] for each in page.all("input") if _is(each, "cores")]
    assert cores == ["", "1", "2", "4", "8", "16"]
    gpus = [each.attributes["value"] for each in page.all("input") if _is(each, "gpus")]
    assert gpus == ["", "1"]


def _is(element: Element, name: str) -> bool:
    return element.attributes.get("name") == name


def test_a_container_that_cannot_be_launched_says_why(draw: Drawer) -> None:
    away = card("carta", available=False, reason="Not on this machine.", command="make it")
    page = draw.page("spawn.html", spawner_options_form=launch_form(containers=(away,)))
    radio = next(each for each in page.all("input") if each.attributes.get("value") == "carta")
    assert "disabled" in radio.attributes
    text = " ".join(element.text for element in page.elements)
    assert "Not on this machine." in text
    assert "make it" in text


def test_each_refusal_stands_at_its_field(draw: Drawer) -> None:
    page = draw.page("spawn.html")
    described = {
        word
        for element in page.elements
        for word in element.attributes.get("aria-describedby", "").split()
    }
    assert {f"{name}-refusal" for name in FORM_FIELDS} <= described
    links = {link.attributes["href"] for link in page.all("a")}
    assert {"#cores", "#containers", "#mode-flexible"} <= links


def test_a_full_account_is_told_and_cannot_launch(draw: Drawer) -> None:
    page = draw.page("spawn.html", spawner_options_form=launch_form(running=3))
    assert "launch-button" not in {each.attributes.get("id") for each in page.elements}
    text = " ".join(element.text for element in page.elements)
    assert "Stop one of your 3 sessions to launch another" in text


@pytest.mark.parametrize(
    ("phase", "meaning", "watches", "offers"),
    [
        ("ready", "good", None, {"Open", "Extend", "Share", "Stop"}),
        ("ready", "warn", None, {"Open", "Extend", "Share", "Stop"}),
        ("pulling", "busy", "ready", {"Show progress", "Stop"}),
        ("ending", "busy", "gone", set()),
    ],
)
def test_a_card_offers_what_its_state_allows(
    draw: Drawer, phase: str, meaning: str, watches: str | None, offers: set[str]
) -> None:
    cards = (session(phase=phase, state_meaning=meaning),)
    page = draw.page("home.html", home=home(sessions=cards))
    article = next(page.all("article"))
    assert article.attributes.get("data-until") == watches
    inside = [each for each in page.all("a", "button") if "article" in each.parents]
    assert {each.text for each in inside} == offers


def test_stop_asks_the_hub_for_exactly_this_session(draw: Drawer) -> None:
    cards = (session("a", id="x/../y"),)
    page = draw.page("home.html", home=home(sessions=cards, owner="ada/b c"))
    buttons = [each for each in page.all("button") if "data-stop" in each.attributes]
    assert [each.attributes["data-stop"] for each in buttons] == [
        "/hub/api/users/ada%2Fb%20c/servers/x%2F..%2Fy"
    ]


def test_an_empty_home_shows_where_to_begin(draw: Drawer) -> None:
    page = draw.page("home.html", home=home(sessions=(), launchable=(card("astro ml&x"),)))
    links = {link.attributes["href"] for link in page.all("a")}
    assert "/hub/spawn?opt-container=astro+ml%26x" in links
    assert "/hub/spawn" in links


def test_progress_refreshes_without_javascript_and_failure_keeps_the_choice(draw: Drawer) -> None:
    page = draw.page("spawn_pending.html")
    refresh = next(e for e in page.all("meta") if e.attributes.get("http-equiv") == "refresh")
    assert refresh.attributes["content"] == "2"
    assert "noscript" in refresh.parents
    failed = draw.page("spawn_pending.html", progress=progress(failed=True))
    again = next(each for each in failed.all("a") if each.attributes.get("id") == "again")
    assert again.attributes["href"] == "/hub/spawn?opt-container=astroml"
    assert "hidden" not in again.attributes


def test_a_start_without_a_plan_still_waits(draw: Drawer) -> None:
    context = draw.context("astroml")
    context["canfar"].progress = lambda _user, _spawner: None
    page = Page(draw.sync.get_template("spawn_pending.html").render(context))
    waiting = next(each for each in page.elements if each.attributes.get("id") == "progress")
    assert waiting.attributes["data-progress"] == "/progress"


def test_times_are_utc_until_the_browser_knows_better(draw: Drawer) -> None:
    page = draw.page("home.html")
    at = "2026-11-23T14:02:00Z"
    time = next(each for each in page.all("time") if each.attributes["datetime"] == at)
    assert time.text == "2026-11-23 14:02 UTC"


@pytest.mark.parametrize("code", [400, 403, 404, 405, 418, 424, 429, 500, 502, 503, 504])
def test_an_error_names_the_cause_and_the_way_on(draw: Drawer, code: int) -> None:
    page = draw.page("error.html", status_code=code, message="", status_message="I'm a teapot")
    assert next(page.all("h1")).text.strip()
    assert "/hub/home" in {link.attributes["href"] for link in page.all("a")}


def test_pages_before_sign_in_show_no_session(draw: Drawer) -> None:
    for name in ("login.html", "logout.html", "error.html"):
        html = draw.html(name, user=None)
        assert "/hub/api/" not in html
        assert 'id="user-menu"' not in html
