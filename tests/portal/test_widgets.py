"""What stands beside the sessions, what is offered for a file, and when there is maintenance."""

from __future__ import annotations

from datetime import timedelta, timezone
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from canfar_spawner.core.backend import Offer
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.opening import page_with, sees, viewers
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.policy import Branding, Maintenance
from canfar_spawner.portal.asking import asked, note_query
from canfar_spawner.portal.branding import site as site_view
from canfar_spawner.portal.opening import opening
from canfar_spawner.portal.widgets import widgets
from tests.core.world import ADA, NOW, SITE, plan
from tests.portal.samples import Drawer

CUBE = "/arc/projects/survey/cubes/m31 & co.fits"


@pytest.fixture(scope="module")
def draw() -> Drawer:
    return Drawer()


def platform(*, away: str = "") -> Any:
    """Give what these pages ask of a platform; `away` is a container that cannot run."""

    def offer(container: Any) -> Offer:
        gone = container.name == away
        return Offer(available=not gone, reason="It needs a cluster." if gone else "")

    return SimpleNamespace(
        policy=SITE,
        identities=SimpleNamespace(identity=lambda _: ADA),
        backend=SimpleNamespace(offer=offer, enforces_sizes=True),
        news=SimpleNamespace(name=lambda plan: plan.name),
    )


def user(*plans: SessionPlan) -> Any:
    """Give a user of the hub with sessions that run."""
    spawners = {
        f"s{number}": SimpleNamespace(plan=each, ready=True, active=True, platform=platform())
        for number, each in enumerate(plans)
    }
    return SimpleNamespace(
        name="ada", spawners=spawners, server_url=lambda name: f"/user/ada/{name}/"
    )


def words(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query, keep_blank_values=True)


# What fits a file.


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("/arc/home/ada/m31.fits", (SessionKind.CARTA, SessionKind.FIREFLY)),
        ("/arc/home/ada/m31.image", (SessionKind.CARTA, SessionKind.FIREFLY)),
        ("/arc/home/ada/Stars.VOT", (SessionKind.FIREFLY,)),
        ("/arc/home/ada/stars.csv", (SessionKind.FIREFLY,)),
    ],
)
def test_images_go_to_carta_first_and_tables_to_firefly(
    path: str, kinds: tuple[SessionKind, ...]
) -> None:
    assert viewers(path) == kinds


def test_only_a_session_with_the_files_project_sees_it() -> None:
    everything = plan({"container": "carta"})
    demo = plan({"container": "carta", "projects": ["demo"]})
    assert sees(everything.storage, CUBE)
    assert not sees(demo.storage, CUBE)
    assert sees(demo.storage, "/arc/home/ada/m31.fits")
    assert not sees(everything.storage, "/arc/projects/survey/../secret/x.fits")


def test_each_kind_opens_a_file_by_its_own_address() -> None:
    carta = urlsplit(page_with(plan({"container": "carta"}), CUBE))
    assert carta.path == "/"
    assert parse_qs(carta.query) == {
        "folder": ["projects/survey/cubes"],
        "file": ["m31 & co.fits"],
    }
    firefly = urlsplit(page_with(plan({"container": "firefly"}), CUBE))
    assert firefly.path == "/firefly/"
    assert parse_qs(firefly.query) == {"api": ["image"], "File": [CUBE]}
    table = page_with(plan({"container": "firefly"}), "/arc/home/ada/stars.csv")
    assert table == "/firefly/", "its viewer of images is not asked to show a table"


# What is offered.


def test_without_a_file_nothing_is_offered() -> None:
    assert opening(platform(), user(), "") is None


def test_a_running_session_is_offered_before_a_new_one() -> None:
    running = plan({"container": "carta", "name": "M31 viewer"})
    view = opening(platform(), user(running, plan({"container": "astroml"})), CUBE)
    assert view is not None
    assert [each.title for each in view.running] == ["M31 viewer"]
    assert view.running[0].url.startswith("/user/ada/s0/?folder=projects%2Fsurvey")
    assert [each.title for each in view.launchable] == ["CARTA", "Firefly"]
    form = words(view.launchable[0].url)
    assert form == {
        "opt-container": ["carta"],
        "opt-open": [CUBE],
        "opt-projects": ["", "survey"],
    }
    assert urlsplit(view.launchable[0].url).path == "/hub/spawn", "the form, which launches nothing"


def test_a_session_without_the_project_is_not_offered() -> None:
    view = opening(platform(), user(plan({"container": "carta", "projects": ["demo"]})), CUBE)
    assert view is not None
    assert view.running == ()


def test_a_file_in_the_home_asks_for_no_project() -> None:
    view = opening(platform(), user(), "/arc/home/ada/m31.fits")
    assert view is not None
    assert words(view.launchable[0].url)["opt-projects"] == [""]


def test_what_cannot_run_here_says_why() -> None:
    view = opening(platform(away="firefly"), user(), CUBE)
    assert view is not None
    assert [(each.title, each.url == "", each.text) for each in view.launchable] == [
        ("CARTA", False, ""),
        ("Firefly", True, "It needs a cluster."),
    ]


def test_a_reached_limit_is_said_before_the_form() -> None:
    full = [plan({"container": "desktop"})] * 3
    view = opening(platform(), user(*full), CUBE)
    assert view is not None
    assert view.limit == 3


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/arc/projects/secret/x.fits",
        "/arc/home/ben/x.fits",
        "/arc/home/ada/../ben/x.fits",
        "relative.fits",
        "/arc/home/ada/{x}.fits",
        "/arc/home/ada/\x00.fits",
        "javascript:alert(1)",
    ],
)
def test_a_path_that_is_not_hers_is_refused_in_a_sentence(path: str) -> None:
    view = opening(platform(), user(), path)
    assert view is not None
    assert "cannot be opened: give a path beneath /arc/home/ada" in view.error
    assert view.launchable == view.running == ()


def test_the_page_shows_what_is_offered(draw: Drawer) -> None:
    page = draw.page("home.html")
    links = [each.attributes.get("href") for each in page.all("a")]
    assert "/user/ada/x/?folder=a&file=b" in links
    refused = opening(platform(), user(), "/etc/<b>passwd")
    html = draw.html("home.html", opening=refused)
    assert "This file cannot be opened" in html
    assert "<b>passwd" not in html


# What it was asked for.


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"open": [b"/arc/home/ada/x.fits"]}, "/arc/home/ada/x.fits"),
        ({"open": [b"a", b"b"]}, ""),
        ({"open": [b"\xff"]}, ""),
        ({"open": [b"x" * 3000]}, ""),
        ({}, ""),
    ],
)
def test_a_query_is_taken_once_and_as_text(query: dict[str, list[bytes]], found: str) -> None:
    note_query(query)
    assert asked("open") == found


# Storage, and maintenance.


def test_every_place_says_how_it_is_kept() -> None:
    rows = widgets(platform(), user()).storage
    assert [(row.label, row.path, row.kept) for row in rows] == [
        ("Home", "/arc/home/ada", "kept, no backup"),
        ("Scratch", "/scratch", "wiped when the session ends"),
        ("demo", "/arc/projects/demo", "kept, no backup"),
        ("survey", "/arc/projects/survey", "kept, no backup"),
    ]
    here = platform()
    here.backend.enforces_sizes = False
    assert widgets(here, user()).storage[0].kept == "kept on this machine, no backup"


def test_maintenance_is_said_until_it_is_over(draw: Drawer) -> None:
    zone = timezone(timedelta(hours=-8))
    planned = Maintenance(
        begins=(NOW + timedelta(hours=1)).astimezone(zone),
        ends=(NOW + timedelta(hours=3)).astimezone(zone),
        text="Sessions go on & <b>nothing</b> new starts.",
    )
    branding = Branding(maintenance=planned)
    coming = site_view(branding, now=NOW).maintenance
    assert coming is not None
    assert (coming.begins, coming.now) == ("2026-11-01T13:00:00Z", False)
    begun = site_view(branding, now=NOW + timedelta(hours=2)).maintenance
    assert begun is not None
    assert begun.now
    assert site_view(branding, now=NOW + timedelta(hours=3)).maintenance is None
    html = draw.html("login.html", maintenance=coming)
    assert "Maintenance from <time datetime" in html
    assert "&lt;b&gt;nothing" in html
    assert "Maintenance now, until <time datetime" in draw.html("home.html", maintenance=begun)
