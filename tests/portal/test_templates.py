"""The pages, drawn as the hub draws them, from views alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH

import canfar_spawner
from canfar_spawner.core.request import FIELDS
from canfar_spawner.portal.views import (
    ContainerCard,
    EndedRow,
    HomeView,
    LaunchForm,
    Link,
    PhaseRow,
    Preparing,
    ProgressView,
    SessionCard,
    Site,
    SizeChoices,
    VersionChoice,
)

TEMPLATES = Path(canfar_spawner.__file__).parent / "portal" / "templates"
STOCK = Path(DATA_FILES_PATH) / "templates"

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"

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
)
NEEDS_JQUERY = ("token.html", "admin.html", "oauth.html", "accept-share.html")

FORM_FIELDS = set(FIELDS) - {"profile", "cmd", "args", "registry_user", "registry_secret"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...] = ()
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A drawn page as a list of elements, each with the text directly in it."""

    html: str
    elements: list[Element] = field(default_factory=list)

    VOID = frozenset({"meta", "link", "input", "img", "br", "hr", "path", "circle", "rect"})

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        parents = tuple(element.tag for element in self._open)
        element = Element(tag, {name: value or "" for name, value in attrs}, parents)
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while tag not in self.VOID and self._open:
            if self._open.pop().tag == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data

    def all(self, *tags: str) -> Iterator[Element]:
        return (element for element in self.elements if element.tag in tags)

    def inputs(self) -> list[Element]:
        return [
            element
            for element in self.all("input", "select", "textarea")
            if element.attributes.get("type") != "hidden"
        ]


def card(text: str = "astroml", **changes: Any) -> ContainerCard:
    made = ContainerCard(
        name=text,
        title=text,
        description=text,
        icon=text,
        kind="notebook",
        kind_title=text,
        versions=(
            VersionChoice("26.10", recommended=True, deprecated=False, successor=""),
            VersionChoice(text, recommended=False, deprecated=True, successor=text),
        ),
        default_version="26.10",
        recommended=True,
        available=True,
        reason=text,
        command=text,
        preparing=None,
        modes=("flexible", "fixed"),
    )
    return replace(made, **changes)


def session(text: str = "M31 photometry", **changes: Any) -> SessionCard:
    values = {
        each.name: text for each in fields(SessionCard) if each.name not in {"projects", "url"}
    }
    values |= {"phase": "ready", "state_meaning": "good", "started_at": "2026-11-23T14:02:00Z"}
    values["unknown_since"] = None
    return SessionCard(**{**values, "projects": (text,), "url": "/user/ada/x/", **changes})


def launch_form(text: str = "astroml", **changes: Any) -> LaunchForm:
    preparing = Preparing("", text, 2, 5, 40, 200, 640, "")
    sizes = SizeChoices((1, 2, 4, 8), (1, 2, 4, 8, 16, 32), (), text, text)
    made = LaunchForm(
        action="/hub/spawn/ada/abcd1234",
        owner="ada",
        containers=(
            card(text),
            card("casa", available=False, preparing=preparing),
            card("carta", available=False, preparing=replace(preparing, error=text)),
        ),
        sizes={"notebook": sizes, "desktop": replace(sizes, cores=(2, 16), gpus=(0, 1))},
        projects=("demo", text),
        values={"container": text, "mode": "fixed", "cores": "2", "name": text, "env": text},
        selected_projects=(text,),
        errors=dict.fromkeys((*sorted(FORM_FIELDS), "colour"), text),
        error=text,
        notices=(text,),
        running=1,
        limit=3,
        lifetime=text,
        custom_images=True,
        kinds=(("notebook", text),),
    )
    return replace(made, **changes)


def ended(text: str = "M31 photometry", **changes: Any) -> EndedRow:
    values: dict[str, Any] = {each.name: text for each in fields(EndedRow)}
    values |= {"failed": True, "detail": f"{text} once more", "ended_at": "2026-11-23T14:02:00Z"}
    return EndedRow(**{**values, "again_url": "/hub/spawn?opt-name=x&opt-container=y", **changes})


def home(text: str = "M31 photometry", **changes: Any) -> HomeView:
    cards = (
        session(text),
        session(text, phase="pulling", state_meaning="busy"),
        session(text, phase="ending", state_meaning="busy"),
    )
    made = HomeView(
        sessions=cards,
        limit=3,
        launchable=(card(text),),
        can_launch=True,
        storage=((text, text, text),),
        owner="ada",
        ended=(ended(text), ended(text, failed=False, detail="")),
    )
    return replace(made, **changes)


def progress(text: str = "astroml", **changes: Any) -> ProgressView:
    rows = (
        PhaseRow("asked", text, "done", "2026-11-23T14:02:00Z", text),
        PhaseRow("starting", text, "now", None, text),
        PhaseRow("ready", text, "todo", None, ""),
    )
    made = ProgressView(
        session=session(text),
        phases=rows,
        advice=text,
        typical_seconds=40,
        failed=False,
        again_url="/hub/spawn?opt-container=astroml",
        progress_url="/hub/api/users/ada/servers/x/progress?_xsrf=token",
    )
    return replace(made, **changes)


class Drawer:
    """Draws templates with the loaders and the two environments of the hub."""

    def __init__(self) -> None:
        loader = ChoiceLoader(
            [
                PrefixLoader({"templates": FileSystemLoader(STOCK)}, "/"),
                FileSystemLoader([TEMPLATES, STOCK]),
            ]
        )
        self.sync = Environment(loader=loader, autoescape=True)
        self.concurrent = Environment(loader=loader, autoescape=True, enable_async=True)

    def context(self, text: str, **given: Any) -> dict[str, Any]:
        user = SimpleNamespace(
            name=text,
            escaped_name="ada",
            json_escaped_name="ada",
            server_url=lambda _: "/user/ada/",
        )
        links = (Link(text, "https://example.org/"),)
        canfar = SimpleNamespace(
            site=Site(text, None, links, text, (text,)),
            home=lambda _: given.get("home") or home(text),
            progress=lambda _user, _spawner: given.get("progress") or progress(text),
        )
        return {
            "canfar": canfar,
            "base_url": "/hub/",
            "prefix": "/",
            "user": user,
            "login_url": "/hub/login",
            "logout_url": "/hub/logout",
            "static_url": lambda path, **_: f"/hub/static/{path}",
            "version_hash": "1",
            "services": [SimpleNamespace(name=text, href="/services/x/")],
            "parsed_scopes": {"admin-ui": True},
            "xsrf": "token",
            "xsrf_token": "token",
            "announcement": text,
            "authenticator": SimpleNamespace(request_otp=True, otp_prompt=text),
            "authenticator_login_url": "/hub/login?next=",
            "login_error": text,
            "username": text,
            "spawner_options_form": launch_form(text),
            "for_user": user,
            "spawner": SimpleNamespace(name=text, ready=True),
            "progress_url": "/progress",
            "failed": True,
            "failed_message": text,
            "failed_html_message": text,
            "status_code": 500,
            "status_message": text,
            "message": text,
            "message_html": text,
            "extra_error_html": text,
            "oauth_client": SimpleNamespace(description=text, redirect_uri=text),
            "owner": user,
            "scope_descriptions": [{"scope": "x", "description": text, "filter": text}],
            "token_expires_in_options_html": "<option>1 hour</option>",
            "next_url": "/hub/home",
        } | given

    def html(self, name: str, text: str = "astroml", **given: Any) -> str:
        return self.sync.get_template(name).render(self.context(text, **given))

    def page(self, name: str, text: str = "astroml", **given: Any) -> Page:
        return Page(self.html(name, text, **given))


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
        ("ready", "good", None, {"Open", "Stop"}),
        ("ready", "warn", None, {"Open", "Stop"}),
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
    time = next(page.all("time"))
    assert time.attributes["datetime"] == "2026-11-23T14:02:00Z"
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
