"""States that one machine does not come to: drawn by the pages' own code from what a real cluster said."""

from __future__ import annotations

import json
import mimetypes
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from canfar_spawner.core.backend import Offer
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import REASONS, Evidence, Life, Phase, Reason
from canfar_spawner.hub.recent import Ending
from canfar_spawner.kubernetes.evidence import evidence_of
from canfar_spawner.portal.cards import Cards
from canfar_spawner.portal.progress import progress
from canfar_spawner.portal.views import Link, Site
from canfar_spawner.portal.words import iso
from tests.browser.test_pages import NARROW, WIDE, overflows
from tests.core.world import ADA, SITE, plan
from tests.kubernetes.test_evidence import RECORDED
from tests.portal.samples import Drawer, home

pytestmark = pytest.mark.browser

STATIC = Path(sys.prefix) / "share" / "jupyterhub" / "static"
NOW = datetime.now(UTC).replace(microsecond=0)
HUB = "http://hub.example.org"
NAME = "Photometry of every cluster in the north of M31 - second reduction with darks 26"
SIZE: dict[str, Any] = {"mode": "fixed", "cores": 2, "memory": 4}
EXPECTED = (
    *(Phase.ASKED, Phase.PREPARING, Phase.PLACING),
    *(Phase.PULLING, Phase.STARTING, Phase.READY),
)


def recorded(name: str) -> Evidence:
    """Give what was last seen of a pod that a cluster has shown."""
    state = json.loads((RECORDED / f"{name}.json").read_text())[-1]
    return evidence_of(state["pod"], state["events"], seen=NOW)


def launched(session: str, **options: object) -> SessionPlan:
    made = plan({"container": "astroml", "name": NAME, **options}, ADA)
    return made.model_copy(
        update={
            "session": SessionId(session),
            "launch": LaunchId(f"{session}-0123456789ab"),
            "started": NOW - timedelta(minutes=3),
            "ends": NOW + timedelta(days=4),
        }
    )


def platform() -> Any:
    """Give what these pages ask of a platform of a cluster."""
    return SimpleNamespace(
        policy=SITE,
        identities=SimpleNamespace(identity=lambda _: ADA),
        backend=SimpleNamespace(offer=lambda _: Offer(available=True), enforces_sizes=True),
        news=SimpleNamespace(
            name=lambda plan: plan.name, ends=lambda plan: plan.ends, warning=lambda _: ""
        ),
        starts=SimpleNamespace(typical=lambda _: 40),
        clock=lambda: NOW,
        fresh_session=lambda: "b1234567",
    )


def starting(evidence: Evidence, *, failed: bool) -> Any:
    """Give a session that starts, as far as pages look at it."""
    reached = EXPECTED[: EXPECTED.index(Phase.STARTING if failed else evidence.phase) + 1]
    words = REASONS[evidence.reason]
    detail = f" ({evidence.detail})" if evidence.detail else ""
    return SimpleNamespace(
        plan=launched("pending1"),
        name="pending1",
        evidence=evidence,
        phases={phase: iso(NOW - timedelta(minutes=2)) for phase in reached},
        expected_phases=EXPECTED,
        ready=False,
        pending="spawn",
        hindrance="",
        failure=f"{words.sentence}{detail} {words.advice}" if failed else None,
        last_words="",
        user=SimpleNamespace(server_url=lambda name: f"/user/ada/{name}/"),
    )


@pytest.fixture
def shown(page: Page) -> Any:
    """Show a drawn page as the hub would serve it, with its own style and scripts."""
    html = {"text": ""}

    def serve(route: Route) -> None:
        path = route.request.url.removeprefix(HUB).partition("?")[0]
        file = STATIC / path.removeprefix("/hub/static/")
        if path.startswith("/hub/static/") and file.is_file():
            kind = mimetypes.guess_type(file.name)[0] or "text/plain"
            route.fulfill(path=file, content_type=kind)
        elif route.request.resource_type == "document":
            route.fulfill(body=html["text"], content_type="text/html; charset=utf-8")
        elif path.endswith("/progress"):
            # A stream that says nothing. Where it is refused the page takes the start for over and is
            # loaded again after three seconds, maybe in the middle of a picture.
            route.fulfill(body=": nothing yet\n\n", content_type="text/event-stream")
        else:
            # Hub and session manager are away: what is drawn has to do without.
            route.fulfill(status=503, json={"message": "The hub does not answer now."})

    page.route("**/*", serve)
    drawer = Drawer()

    def show(template: str, **given: Any) -> Page:
        context = drawer.context("ada", **given)
        context["canfar"].site = Site("CANFAR", None, (Link("Documentation", "/docs"),), "", ())
        context |= {"announcement": "", "services": context["services"][1:]}
        html["text"] = drawer.sync.get_template(template).render(context | given)
        page.goto(f"{HUB}/hub/home")
        return page

    return show


def pictures(page: Page, path: Path) -> None:
    """Take pictures in light, dark and narrow, and see that nothing overflows."""
    page.screenshot(path=path, full_page=True)
    page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    page.screenshot(path=path.with_stem(f"{path.stem}-dark"), full_page=True)
    page.evaluate("document.documentElement.dataset.bsTheme = 'light'")
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert not overflows(page)
    page.screenshot(path=path.with_stem(f"{path.stem}-narrow"), full_page=True)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    assert not overflows(page)


def test_what_failed_says_why_and_what_helps(shown: Any, screenshots: Path) -> None:
    quota = Evidence(life=Life.ENDED, reason=Reason.QUOTA, detail="64 GB asked, 12 GB are left")
    ends = {
        "memory01": recorded("out-of-memory"),
        "noimage1": recorded("image-not-found"),
        "noquota1": quota,
        "scratch1": recorded("scratch-full"),
    }
    cards = Cards(platform())
    rows = tuple(
        cards.ended(
            Ending(
                plan=launched(session, **SIZE), evidence=evidence, at=NOW - timedelta(minutes=2)
            ),
            can_launch=True,
        )
        for session, evidence in ends.items()
    )
    page = shown("home.html", home=home(sessions=(), ended=rows, refused=()), opening=False)
    for evidence in ends.values():
        words = REASONS[evidence.reason]
        expect(page.get_by_text(words.sentence).first).to_be_visible()
        expect(page.get_by_text(words.advice).first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Launch with 8 GB"))).to_have_count(1)
    expect(page.get_by_role("button", name=re.compile("Launch again"))).to_have_count(len(ends))
    pictures(page, screenshots / "state-failed.png")


@pytest.mark.parametrize("name", ["no-room", "no-gpu", "image-not-found"])
def test_what_waits_says_for_what(shown: Any, screenshots: Path, name: str) -> None:
    evidence = recorded(name)
    spawner = starting(evidence, failed=False)
    view = progress(platform(), SimpleNamespace(name="ada"), spawner)
    page = shown("spawn_pending.html", progress=view)
    expect(page.get_by_text(evidence.detail).first).to_be_visible()
    expect(page.get_by_text("Usually ready in about 40 s.")).to_be_visible()
    pictures(page, screenshots / f"state-pending-{name}.png")


def test_a_card_that_waits_says_for_what(shown: Any, screenshots: Path) -> None:
    evidence = recorded("no-room")
    card = Cards(platform()).card(starting(evidence, failed=False), launched("pending1"))
    page = shown("home.html", home=home(sessions=(card,), ended=(), refused=()), opening=False)
    expect(page.locator(".card-session")).to_contain_text(evidence.detail)
    pictures(page, screenshots / "state-pending.png")


@pytest.mark.parametrize("name", ["out-of-memory", "image-not-found", "program-missing"])
def test_a_start_that_failed_says_why_and_what_helps(
    shown: Any, screenshots: Path, name: str
) -> None:
    evidence = recorded(name)
    view = progress(platform(), SimpleNamespace(name="ada"), starting(evidence, failed=True))
    page = shown("spawn_pending.html", progress=view)
    expect(page.locator("#failure")).to_contain_text(REASONS[evidence.reason].sentence)
    expect(page.get_by_role("link", name="Change and try again")).to_be_visible()
    pictures(page, screenshots / f"state-start-failed-{name}.png")
