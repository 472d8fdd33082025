"""Every page of the hub and of its session manager, at a site where every text means harm.

Each is looked at once: nothing hostile has come to life, axe-core finds nothing wrong in either
theme, nothing is wider than a phone, nothing was held back by the page's own policy.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import Need, open_context, sign_in
from tests.browser.test_pages import NARROW, WIDE, overflows
from tests.support import axe
from tests.support import shares as calls
from tests.support.hostile import ALL, MARKS, Watch, write_catalogue
from tests.support.hub import Hub, Visitor, running_hub, wait_for
from tests.support.v1 import V1

pytestmark = [pytest.mark.browser, pytest.mark.environment("proxy")]

SESSION, FAILED, SHARED = "tour0001", "tour0002", "tour0003"
MANAGER = "/services/sessions/"
HOSTILE = quote(MARKS[1])
MANY = quote(ALL)


@dataclass
class Tour:
    """A hub with something of everything, and a browser of each person."""

    hub: Hub
    chromium: Browser
    job: str
    code: str
    invitation: str
    windows: dict[str, tuple[BrowserContext, Watch]] = field(default_factory=dict)

    def page(self, who: str) -> tuple[Page, Watch]:
        """Give a tab of somebody's browser; *nobody* is not signed in."""
        if who not in self.windows:
            context = open_context(self.chromium)
            watch = Watch(context)
            self.windows[who] = (context, watch)
            if who != "nobody":
                sign_in(context.new_page(), self.hub, who)
        context, watch = self.windows[who]
        return context.pages[0] if context.pages else context.new_page(), watch


def invite(hub: Hub) -> str:
    """Make one of JupyterHub's own invitations, which the platform gives nobody."""
    secret = (hub.data / "hub" / "sessions_token").read_text().strip()
    answer = httpx.post(
        f"{hub.url}/hub/api/share-codes/ada/{SHARED}",
        headers={"Authorization": f"Bearer {secret}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["accept_url"])


def begin(ada: Visitor, session: str, container: str, name: str) -> None:
    answer = ada.launch(session, container=container, name=name)
    # The one that fails may have done so by now.
    assert answer.status_code in (201, 202, 424), answer.text


@pytest.fixture(scope="module")
def tour(
    tmp_path_factory: pytest.TempPathFactory, probe_catalogue: Path, chromium: Browser, need: Need
) -> Iterator[Tour]:
    need("axe", axe.SCRIPT.exists(), "get it with: make environments")
    base = tmp_path_factory.mktemp("tour")
    catalogue = write_catalogue(base / "catalogue.yaml", probe_catalogue)
    with running_hub(base / "data", environ={"CANFAR_HUB_CATALOGUE": str(catalogue)}) as hub:
        ada, ben = hub.sign_in("ada"), hub.sign_in("ben")
        hub.sign_in("admin")
        begin(ada, SESSION, "fenced", "M31")
        begin(ada, SHARED, "mark-1", "A" + "-very-long-name" * 5)
        begin(ada, FAILED, "broken", "Fails")
        v1 = V1.of(ada)
        said = base64.b64encode(ALL.encode()).decode()
        says = f"import base64; print(base64.b64decode('{said}').decode())"
        job = v1.created(cmd="python3", args=f'-c "{says}"')
        # Refused creates of scripts are shown with the name and image that were asked for.
        for mark in MARKS:
            assert 400 <= v1.create(name=mark).status_code < 500
            assert 400 <= v1.create(image=f"registry.example.org/{mark}").status_code < 500
        for session in (SESSION, SHARED):
            ada.wait_ready(session)
            wait_for(lambda each=session: v1.status(each) == "Running", f"{session} to be known")
        calls.share(ada, SESSION, user="ben")
        calls.share(ada, SESSION, group="survey")
        link = calls.share(ada, SHARED, link=True, people=2)["url"]
        answer = ada.api("POST", "/users/ada/tokens", json={"note": ALL[:200]})
        assert answer.status_code == 201, answer.text
        assert ben.token
        found = Tour(hub, chromium, job, calls.code_of(link), invite(hub))
        yield found
        for context, _ in found.windows.values():
            context.close()


Act = Callable[[Page, Tour], None]


def _at(path: str) -> Act:
    def go(page: Page, tour: Tour) -> None:
        filled = path.format(job=tour.job, code=tour.code)
        page.goto(f"{tour.hub.url}{filled}")

    return go


def _failed_sign_in(page: Page, tour: Tour) -> None:
    page.goto(f"{tour.hub.url}/hub/login?next={HOSTILE}")
    page.fill("#username_input", MARKS[1])
    page.fill("#password_input", "wrong")
    page.click("#login_submit")
    expect(page.get_by_role("alert").first).to_be_visible()


def _refused_form(page: Page, tour: Tour) -> None:
    page.goto(f"{tour.hub.url}/hub/spawn?opt-container=mark-3")
    page.get_by_label("Name", exact=True).fill(MARKS[1])
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page.get_by_role("alert").first).to_contain_text("cannot be a name")


def _share_dialog(page: Page, tour: Tour) -> None:
    page.goto(f"{tour.hub.url}/hub/home")
    page.locator(f"#session-{SESSION} [data-share]").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("The group survey")).to_be_visible()
    dialog.get_by_text("What happened").click()
    expect(dialog.get_by_text("ada shared it with ben")).to_be_visible()
    dialog.get_by_role("tab", name="Person").click()
    dialog.get_by_label("Name", exact=True).fill(MARKS[1])
    dialog.get_by_role("button", name="Share", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nobody called")


def _refused_person(page: Page, tour: Tour) -> None:
    page.goto(f"{tour.hub.url}{MANAGER}share/{SESSION}")
    page.fill("#person", MARKS[1])
    page.get_by_role("button", name="Share with this person").click()
    expect(page.get_by_role("alert")).to_contain_text("Nobody called")


def _consent(page: Page, tour: Tour) -> None:
    page.goto(f"{tour.hub.url}/user/ada/{SESSION}/")
    expect(page.get_by_role("heading", name="Enter a session of ada?")).to_be_visible()
    expect(page.get_by_text("You may enter until")).to_be_visible()


def _invitation(page: Page, tour: Tour) -> None:
    page.goto(f"{tour.hub.url}{tour.invitation}")
    expect(page.get_by_role("heading", name="ada shares a session with you")).to_be_visible()


def _administration(page: Page, tour: Tour) -> None:
    page.goto(f"{tour.hub.url}/hub/admin")
    expect(page.get_by_text("ben").first).to_be_visible()


PAGES: dict[str, tuple[str, Act]] = {
    "sign in": ("nobody", _at("/hub/login?next=" + HOSTILE)),
    "sign in, refused": ("nobody", _failed_sign_in),
    "home": ("ada", _at("/hub/home")),
    "home, sharing": ("ada", _share_dialog),
    "home, a file to open": ("ada", _at("/hub/home?open=" + MANY)),
    "home of a visitor": ("ben", _at("/hub/home")),
    "launch": ("ada", _at("/hub/spawn")),
    "launch, from a link": (
        "ada",
        _at(f"/hub/spawn?opt-name={MANY}&opt-image={MANY}&opt-env={MANY}&opt-{HOSTILE}={MANY}"),
    ),
    "launch, refused": ("ada", _refused_form),
    "a failed start": ("ada", _at(f"/hub/spawn-pending/ada/{FAILED}")),
    "a session that is not there": ("ada", _at("/hub/user/ada/neverwas/")),
    "tokens": ("ada", _at("/hub/token")),
    "nothing at an address": ("ada", _at("/hub/" + HOSTILE)),
    "not allowed": ("ada", _at("/hub/admin")),
    "administration": ("admin", _administration),
    "signed out": ("admin", _at("/hub/logout")),
    "consent": ("ben", _consent),
    "invitation": ("ben", _invitation),
    "sessions": ("ada", _at(MANAGER)),
    "sessions of a visitor": ("ben", _at(MANAGER)),
    "scripts": ("ada", _at(MANAGER + "scripts")),
    "sharing": ("ada", _at(f"{MANAGER}share/{SESSION}")),
    "sharing, refused": ("ada", _refused_person),
    "stop": ("ada", _at(f"{MANAGER}stop/{SESSION}")),
    "log of a job": ("ada", _at(MANAGER + "logs/{job}")),
    "a link": ("ben", _at(MANAGER + "join?code={code}")),
    "a link that opens nothing": ("ben", _at(f"{MANAGER}join?code={MANY}")),
    "nothing of the manager's": ("ada", _at(MANAGER + "stop/neverwas")),
}


@pytest.mark.parametrize("name", PAGES)
def test_it_is_safe_and_everybody_can_use_it(tour: Tour, name: str) -> None:
    who, act = PAGES[name]
    page, watch = tour.page(who)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    act(page, tour)
    watch.check(page)
    assert axe.shortfalls(page) == []
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert not overflows(page), "at 360 px"
    watch.check(page)


def test_what_is_hostile_was_there_to_be_seen(tour: Tour) -> None:
    page, _ = tour.page("ada")
    page.goto(f"{tour.hub.url}/hub/spawn")
    # Some are behind *Show all*.
    shown = page.locator("main").text_content() or ""
    for mark in MARKS:
        assert " ".join(mark.split()) in " ".join(shown.split()), mark
    log = page.goto(f"{tour.hub.url}{MANAGER}logs/{tour.job}")
    assert log is not None
    assert MARKS[0] in page.locator("pre").inner_text()
