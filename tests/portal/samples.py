"""What tests of pages share: the hub's own way to draw them, a page taken apart, views to show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH

import canfar_spawner
from canfar_spawner.core.client_setup import client_setup
from canfar_spawner.core.request import FIELDS
from canfar_spawner.portal.client import SOMEWHERE, ClientView
from canfar_spawner.portal.language import Spoken
from canfar_spawner.portal.views import (
    ContainerCard,
    EndedRow,
    HomeView,
    Larger,
    LaunchForm,
    Link,
    OpenChoice,
    OpenView,
    PhaseRow,
    Preparing,
    ProgressView,
    SessionCard,
    Site,
    SizeChoices,
    StorageRow,
    VersionChoice,
    WidgetsView,
)

TEMPLATES = Path(canfar_spawner.__file__).parent / "portal" / "templates"
STOCK = Path(DATA_FILES_PATH) / "templates"

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"

FORM_FIELDS = set(FIELDS) - {"profile", "continues", "cmd", "args"}


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
    values |= {"unknown_since": None, "larger": Larger(("8",), ("2",), "2", (("name", text),))}
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
    words = (("name", text), ("memory", "8"))
    values |= {"fresh": "abcd1234", "again": words, "larger": words, "larger_memory": "8"}
    values |= {"again": (("name", text),), "larger": (("name", text),)}
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
        owner="ada",
        launch_url="/hub/spawn/ada/",
        fresh="abcd1234",
        ended=(ended(text), ended(text, failed=False, detail="")),
    )
    return replace(made, **changes)


def widgets(text: str = "survey", **changes: Any) -> WidgetsView:
    rows = [StorageRow(area, text, f"/arc/{area}/{text}", text) for area in ("home", "project")]
    rows.append(StorageRow("scratch", text, "/scratch", text))
    return replace(WidgetsView(storage=tuple(rows), here=True), **changes)


def opening(text: str = "m31.fits", **changes: Any) -> OpenView:
    choice = OpenChoice(text, "carta", "CARTA", text, "/user/ada/x/?folder=a&file=b", text)
    made = OpenView(
        path=f"/arc/home/ada/{text}",
        name=text,
        running=(choice, replace(choice, kind="firefly")),
        launchable=(choice, replace(choice, url="")),
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


NOW = datetime(2026, 11, 23, 14, 2)  # noqa: DTZ001 - as JupyterHub's database gives it


def token(note: str, **changes: Any) -> SimpleNamespace:
    values = {
        "api_id": f"a{len(note) % 7}",
        "note": note,
        "scopes": ["self", note or "x"],
        "last_activity": NOW,
        "created": NOW,
        "expires_at": NOW,
    }
    return SimpleNamespace(**values | changes)


def client(text: str) -> ClientView:
    setup = client_setup(service_url=SOMEWHERE, image=text)
    return ClientView(setup=setup, service_url=SOMEWHERE)


class Drawer:
    """Draws templates with the loaders and the two environments of the hub."""

    def __init__(self) -> None:
        loader = ChoiceLoader(
            [
                PrefixLoader({"templates": FileSystemLoader(STOCK)}, "/"),
                FileSystemLoader([TEMPLATES, STOCK]),
            ]
        )
        self.sync = Environment(loader=loader, autoescape=True, extensions=[Spoken])
        self.concurrent = Environment(
            loader=loader, autoescape=True, enable_async=True, extensions=[Spoken]
        )

    def context(self, text: str, **given: Any) -> dict[str, Any]:
        user = SimpleNamespace(
            name=text,
            escaped_name="ada",
            json_escaped_name="ada",
            server_url=lambda _: "/user/ada/",
        )
        links = (Link(text, "https://example.org/"),)
        canfar = SimpleNamespace(
            site=Site(text, None, links, text, (text,), given.get("maintenance")),
            client=client(text),
            sharing_means=text,
            visit=lambda _: given.get("visit"),
            home=lambda _: given.get("home") or home(text),
            widgets=lambda _: given.get("widgets") or widgets(text),
            opening=lambda _: given.get("opening", opening(text)),
            continued=lambda _user, _address: given.get("continued"),
            progress=lambda _user, _spawner: given.get("progress") or progress(text),
            failed=lambda _user, _session: given.get("failure"),
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
            "services": [
                SimpleNamespace(name=text, href="/services/x/"),
                SimpleNamespace(name="sessions", host="", prefix="/services/sessions/"),
            ],
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
            "token_expires_in_max_seconds": 0,
            "api_tokens": [token(text), token("", expires_at=None, last_activity=None)],
            "oauth_clients": [
                {
                    "description": text,
                    "created": NOW,
                    "last_activity": None,
                    "tokens": [token(text)],
                    "token_id": "a3",
                }
            ],
            "next_url": "/hub/home",
        } | given

    def html(self, name: str, text: str = "astroml", **given: Any) -> str:
        return self.sync.get_template(name).render(self.context(text, **given))

    def page(self, name: str, text: str = "astroml", **given: Any) -> Page:
        return Page(self.html(name, text, **given))
