"""The session manager's pages, drawn from views alone, and the words in them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import pytest

from canfar_spawner.core.client_setup import PLACEHOLDER
from canfar_spawner.core.policy import Branding
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.manager.pages_frame import Frame
from canfar_spawner.manager.pages_said import KEPT, Said
from canfar_spawner.manager.pages_views import (
    AuditRow,
    GuestRow,
    JoinView,
    Listing,
    LogsView,
    ProblemView,
    ScriptsView,
    SessionRow,
    SharedRow,
    ShareRow,
    ShareView,
    StopView,
    listing,
    session_row,
)
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.settings import ManagerSettings
from canfar_spawner.manager.shares import Deed, How, Line, Share
from canfar_spawner.manager.sharing_words import happened, lengths, title
from canfar_spawner.portal.client import ClientView, client_view
from tests.core.world import SESSION, SITE, plan
from tests.portal.samples import HOSTILE, Page

PREFIX = "/services/sessions/"


def settings(**changes: Any) -> ManagerSettings:
    values: dict[str, Any] = {
        "data": "/nowhere",
        "host": "127.0.0.1",
        "port": 1,
        "token": "t" * 32,
        "hub_api": "http://127.0.0.1:8081/hub/api",
        "hub_public": "http://hub.example.org:8000",
    }
    return ManagerSettings(**values | changes)


@cache
def frame(branding: str = "CANFAR", **changes: Any) -> Frame:
    site = SITE.model_copy(
        update={"branding": Branding.model_construct(name=branding, announcement=branding)}
    )
    manager = SimpleNamespace(settings=settings(**changes), policy=lambda: site, clock=lambda: NOW)
    return Frame(cast("Any", manager))


def row(text: str = "M31 photometry", **changes: Any) -> SessionRow:
    made = SessionRow(
        id="abcd1234",
        name=text,
        kind_title=text,
        icon="notebook",
        kind="notebook",
        interactive=True,
        container=text,
        version=text,
        state_word="Running",
        state_meaning="good",
        reason=text,
        ends_at="2026-11-23T14:02:00Z",
        time_left="3 d 4 h",
        ended_at="",
        url="/user/ada/abcd1234/",
        live=True,
        stopping=False,
    )
    return replace(made, **changes)


def gone(text: str = "M31 photometry", **changes: Any) -> SessionRow:
    ended = {"live": False, "url": "", "ends_at": "", "time_left": ""}
    return row(text, **ended, ended_at="2026-11-23T14:02:00Z", **changes)


def share_view(text: str = "M31 photometry", **changes: Any) -> ShareView:
    made = ShareView(
        session=row(text),
        means=text,
        shares=(
            ShareRow(
                "s1",
                "group",
                text,
                "2026-11-23T14:02:00Z",
                "",
                (GuestRow(text, "2026-11-22T14:02:00Z"), GuestRow("ben")),
            ),
            ShareRow("s2", "link", "A link", "2026-11-23T14:02:00Z", "2026-11-22T14:02:00Z"),
            ShareRow("s3", "person", text, "2026-11-23T14:02:00Z", "", (GuestRow(text),)),
        ),
        others=(GuestRow(text, "2026-11-22T14:02:00Z"),),
        audit=(AuditRow("2026-11-22T14:02:00Z", text),),
        groups=(text, "survey"),
        lengths=(("1", "for an hour"), ("", "until it ends")),
        most_people=50,
        warning=text,
        link=text,
        link_until="2026-11-22T14:02:00Z",
        said=text,
        error=text,
        error_field="person",
        person=text,
    )
    return replace(made, **changes)


def client(text: str) -> ClientView:
    made = client_view(SITE, "http://hub.example.org:8000/services/sessions")
    return replace(made, setup=made.setup.model_copy(update={"python": text}))


def views(text: str = "M31 photometry") -> dict[str, tuple[str, object]]:
    """Give each page in each of its states."""
    job = row(text, id="jobs1234", interactive=False, kind="headless", icon="headless", url="")
    return {
        "sessions": (
            "sessions.html",
            listing(
                "ada",
                (row(text), job, gone(text, id="gone1234")),
                shared=(
                    SharedRow("ours1234", text, text, text, "2026-11-23T14:02:00Z", "/user/x/"),
                ),
                said=text,
            ),
        ),
        "sessions-empty": ("sessions.html", Listing("ada", (), (), ())),
        "stop": ("stop.html", StopView(row(text), text, text)),
        "stop-job": ("stop.html", StopView(job, text)),
        "stop-stopping": ("stop.html", StopView(row(text, stopping=True, url=""), text)),
        "stop-gone": ("stop.html", StopView(gone(text), text)),
        "logs": ("logs.html", LogsView(job, text, text)),
        "logs-empty": ("logs.html", LogsView(job, text, "")),
        "share": ("share.html", share_view(text)),
        "share-none": (
            "share.html",
            share_view(
                text,
                shares=(),
                others=(),
                audit=(),
                groups=(),
                link="",
                said="",
                error="",
                error_field="",
                person="",
                warning="",
            ),
        ),
        "share-off": ("share.html", share_view(text, off=text, link="")),
        "share-gone": ("share.html", share_view(text, session=gone(text), shares=())),
        "join": ("join.html", JoinView(text, text, text, text, "2026-11-23T14:02:00Z", text)),
        "join-refused": ("join.html", JoinView("", "", "", "", "", refused=text)),
        "scripts": (
            "scripts.html",
            ScriptsView(client(text), text, (text,), local=True, local_name=text),
        ),
        "problem": ("problem.html", ProblemView(text, text, 503)),
    }


STATES = sorted(views())


def html(state: str, text: str = "M31 photometry", **changes: Any) -> str:
    template, view = views(text)[state]
    return frame(text, **changes).draw(template, user=text, xsrf="token", view=view)


def page(state: str, text: str = "M31 photometry", **changes: Any) -> Page:
    return Page(html(state, text, **changes))


def words(drawn: Page) -> str:
    return " ".join(" ".join(element.text.split()) for element in drawn.elements)


@pytest.mark.parametrize("state", STATES)
def test_hostile_text_stays_text(state: str) -> None:
    drawn = html(state, HOSTILE)
    assert "<script>alert" not in drawn
    assert "<img src=x" not in drawn
    assert "49" not in re.sub(r"<svg.*?</svg>|v=[0-9a-f]+", "", drawn, flags=re.DOTALL)
    found = Page(drawn)
    assert "onerror" not in {name for element in found.elements for name in element.attributes}


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_inline_and_every_file_is_the_managers_own(state: str) -> None:
    drawn = page(state)
    scripts = list(drawn.all("script"))
    assert not any(script.text.strip() for script in scripts)
    assert not list(drawn.all("style"))
    files = [script.attributes["src"] for script in scripts]
    files += [link.attributes["href"] for link in drawn.all("link")]
    assert len(files) == 5
    for file in files:
        assert file.startswith(f"{PREFIX}static/"), file
        assert not file.endswith("v=0"), "the file is not there"
    for element in drawn.elements:
        assert "style" not in element.attributes
        assert not [attribute for attribute in element.attributes if attribute.startswith("on")]


@pytest.mark.parametrize("state", STATES)
def test_identifiers_are_unique_and_references_hold(state: str) -> None:
    drawn = page(state)
    found = [element.attributes["id"] for element in drawn.elements if "id" in element.attributes]
    assert len(found) == len(set(found))
    for element in drawn.elements:
        for attribute in ("for", "aria-describedby", "aria-labelledby", "data-copy"):
            assert set(element.attributes.get(attribute, "").split()) <= set(found), element


@pytest.mark.parametrize("state", STATES)
def test_every_input_has_a_label_and_every_page_one_title(state: str) -> None:
    drawn = page(state)
    labelled = {label.attributes.get("for") for label in drawn.all("label")}
    for element in drawn.inputs():
        assert element.attributes.get("id") in labelled, element
    assert len(list(drawn.all("h1"))) == 1


@pytest.mark.parametrize("state", STATES)
def test_forms_carry_what_keeps_other_sites_out(state: str) -> None:
    drawn = html(state)
    for form in re.findall(r"<form\b.*?</form>", drawn, re.DOTALL):
        assert 'method="post"' in form
        assert 'name="_xsrf" value="token"' in form
        action = re.search(r'action="([^"]+)"', form)
        assert action
        assert action[1].startswith(PREFIX)


def hrefs(drawn: Page) -> set[str]:
    return {link.attributes["href"] for link in drawn.all("a")}


def test_the_hub_is_linked_where_it_is() -> None:
    assert "/hub/home" in hrefs(page("sessions"))
    assert "http://hub.example.org:8000/hub/home" in hrefs(page("sessions", own_origins=True))


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_done_by_a_link(state: str) -> None:
    for href in hrefs(page(state)):
        assert not re.search(r"/(extend|revoke|join|leave)", href), href


def test_a_list_offers_what_the_state_allows() -> None:
    drawn = html("sessions")
    rows = {
        found[1]: found[0]
        for found in re.finditer(r'<tr id="session-(\w+)">.*?</tr>', drawn, re.DOTALL)
    }

    def offers(session: str) -> set[str]:
        inside = Page(rows[session])
        return {" ".join(each.text.split()) for each in inside.all("a", "button")}

    assert offers("abcd1234") == {"Open", "Extend", "Share", "Stop"}
    assert offers("jobs1234") == {"Extend", "Logs", "Cancel"}
    assert offers("gone1234") == set()


def test_an_empty_list_shows_where_to_begin() -> None:
    drawn = page("sessions-empty")
    assert "Nothing of yours runs now." in words(drawn)
    assert f"{PREFIX}scripts" in hrefs(drawn)


def test_stop_says_what_is_lost_and_what_stays() -> None:
    lost = "14 files (2.3 GB) in /scratch will be wiped. Home and projects stay."
    drawn = Page(frame().draw("stop.html", user="ada", xsrf="token", view=StopView(row(), lost)))
    assert "Stop M31 photometry?" in words(drawn)
    assert lost in words(drawn)
    (form,) = drawn.all("form")
    assert form.attributes["action"] == f"{PREFIX}stop/abcd1234"


@pytest.mark.parametrize("state", ["stop-gone", "stop-stopping"])
def test_what_ends_already_cannot_be_stopped(state: str) -> None:
    assert not list(page(state).all("form"))


@pytest.mark.parametrize("state", ["share-off", "share-gone"])
def test_what_cannot_be_shared_offers_no_share(state: str) -> None:
    drawn = page(state)
    assert "how" not in {each.attributes.get("name") for each in drawn.all("input")}


def test_a_link_is_shown_once_it_is_made_and_never_again() -> None:
    made = page("share")
    assert "new-link" in {each.attributes.get("id") for each in made.elements}
    assert "new-link" not in {each.attributes.get("id") for each in page("share-none").elements}


def test_the_link_default_comes_first() -> None:
    hidden = [each for each in page("share").all("input") if each.attributes.get("name") == "how"]
    assert [each.attributes["value"] for each in hidden] == ["link", "person", "group"]


def code_of(drawn: Page, name: str) -> str:
    (found,) = (each for each in drawn.all("code") if each.attributes.get("id") == name)
    return found.text


def test_the_texts_of_the_page_are_those_of_the_command_line() -> None:
    drawn, setup = page("scripts"), client("M31 photometry").setup
    for name, text in setup.model_dump().items():
        assert code_of(drawn, f"setup-{name}") == text
    assert PLACEHOLDER in code_of(drawn, "setup-variables")


def test_a_pasted_token_belongs_to_no_form() -> None:
    (field,) = (
        each for each in page("scripts").all("input") if each.attributes.get("id") == "pasted-token"
    )
    assert "form" not in field.parents
    assert "name" not in field.attributes
    assert field.attributes["autocomplete"] == "off"


def test_a_browser_is_told_to_run_nothing_of_others() -> None:
    told = frame().policy
    assert "script-src 'self';" in told
    assert "default-src 'none'" in told
    assert "frame-ancestors 'none'" in told
    assert "unsafe" not in told
    assert "http://*.hub.example.org:8000" in frame(own_origins=True).policy
    assert "*" not in told


# Words


NOW = datetime(2026, 11, 23, 14, 2, tzinfo=UTC)


def record(**changes: Any) -> SessionRecord:
    made = plan({"container": "astroml"})
    values: dict[str, Any] = {
        "plan": made,
        "name": made.name,
        "asked": NOW,
        "ends": NOW + timedelta(days=3, hours=4),
        "url": "/user/ada/abcd1234/",
        "ready": NOW,
    }
    return SessionRecord(**values | changes)


@pytest.mark.parametrize(
    ("changes", "evidence", "word", "meaning"),
    [
        ({}, Evidence(life=Life.RUNNING, phase=Phase.READY), "Running", "good"),
        (
            {"ready": None},
            Evidence(life=Life.STARTING, phase=Phase.PULLING),
            "Fetching the image",
            "busy",
        ),
        ({}, Evidence(life=Life.UNKNOWN), "Unknown", "warn"),
        ({"ending": Reason.STOPPED}, Evidence(life=Life.RUNNING), "Stopping", "busy"),
        (
            {"ended": NOW, "reason": Reason.OUT_OF_MEMORY},
            Evidence(life=Life.ENDED),
            "Failed",
            "bad",
        ),
        ({"ended": NOW, "reason": Reason.EXPIRED}, Evidence(life=Life.ENDED), "Ended", "neutral"),
    ],
)
def test_a_state_has_a_word_and_a_meaning(
    changes: dict[str, Any], evidence: Evidence, word: str, meaning: str
) -> None:
    found = session_row(record(**changes), evidence, NOW)
    assert (found.state_word, found.state_meaning) == (word, meaning)


def test_a_row_says_how_long_is_left_and_why_it_waits() -> None:
    waiting = Evidence(
        life=Life.STARTING,
        phase=Phase.QUEUED,
        reason=Reason.WAITING_FOR_RESOURCES,
        detail="place 3 of 5 in the queue",
    )
    found = session_row(record(ready=None), waiting, NOW)
    assert found.time_left == "3 d 4 h"
    assert found.reason == "place 3 of 5 in the queue"
    assert found.state_word == "Waiting"


def test_what_ended_says_why_once() -> None:
    over = record(ended=NOW, reason=Reason.PROGRAM_FAILED, detail="exit code 3")
    found = session_row(over, Evidence(life=Life.ENDED), NOW)
    assert found.reason == "The session's program ended with an error. (exit code 3)"
    assert found.url == ""


def test_no_share_is_offered_for_longer_than_there_is() -> None:
    days = timedelta(days=1)
    assert [hours for hours, _ in lengths(30 * days, 4 * days)] == [1, 8, 24, None]
    assert [hours for hours, _ in lengths(30 * days, timedelta(minutes=30))] == [None]
    assert [hours for hours, _ in lengths(timedelta(hours=2), 4 * days)] == [1, None]


def test_who_came_and_went_is_named() -> None:
    line = Line(at=NOW, session=SESSION, owner="ada", by="ben", deed=Deed.CAME)
    assert happened(line) == "ben came in"
    joined = line.model_copy(update={"deed": Deed.JOINED, "whom": "ben", "how": How.LINK})
    assert happened(joined) == "ben came by a link"


@pytest.mark.parametrize("deed", Deed)
@pytest.mark.parametrize("how", [None, *How])
def test_every_deed_has_a_sentence(deed: Deed, how: How | None) -> None:
    # A name may look like what stands for one.
    whom = "%(by)s {by} 100%"
    line = Line(at=NOW, session=SESSION, owner="ada", by="ada", deed=deed, whom=whom, how=how)
    found = happened(line)
    assert whom in found or deed is Deed.LINKED
    assert "%(" not in found.replace(whom, "")


@pytest.mark.parametrize("how", How)
def test_every_share_has_a_title(how: How) -> None:
    share = Share(
        id="s1", session=SESSION, owner="ada", how=how, whom="100%", until=NOW, made=NOW, by="ada"
    )
    assert title(share) == {"link": "A link", "group": "The group 100%"}.get(how, "100%")


def test_words_wait_for_one_page_of_one_person() -> None:
    now = [NOW]
    said = Said(lambda: now[0])
    key = said.leave("ada", "abcd1234", {"link": "a secret"})
    assert said.take(key, "ben", "abcd1234") == {}
    assert said.take(key, "ada", "other123") == {}
    assert said.take(key, "ada", "abcd1234") == {"link": "a secret"}
    assert said.take(key, "ada", "abcd1234") == {}
    late = said.leave("ada", "", {"said": "Done."})
    now[0] += KEPT + timedelta(seconds=1)
    assert said.take(late, "ada", "") == {}
    keys = [said.leave("ada", "", {"said": str(number)}) for number in range(600)]
    assert said.take(keys[0], "ada", "") == {}, "memory is bounded"
    assert said.take(keys[-1], "ada", "") == {"said": "599"}
