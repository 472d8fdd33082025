"""Sharing on a hub of one machine: what a visitor's presence gives away, and what outlives what."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support import shares as calls
from tests.support.guest import Guest, enter_page
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.lab import launch_lab

pytestmark = pytest.mark.environment("notebook")

SESSION = "system01"
DENIED = (403, 404)


def page_token(visitor: Visitor, owner: str, session: str) -> str:
    """Give the token that a visitor leaves in the owner's process."""
    page = enter_page(visitor, f"/user/{owner}/{session}/lab")
    found = re.search(r'"token":\s*"([^"]+)"', page.text)
    assert found, page.text[:2000]
    return found[1]


def hub_status(hub: Hub, token: str, method: str, path: str, **arguments: object) -> int:
    answer = httpx.request(
        method,
        f"{hub.url}/hub/api{path}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        **arguments,  # type: ignore[arg-type]
    )
    return answer.status_code


def hub_guests(admin: Visitor, session: str) -> set[str]:
    """Give whom the hub itself lets into ada's session."""
    answer = admin.api("GET", f"/shares/ada/{session}")
    if answer.status_code == 404:
        return set()
    return {each["user"]["name"] for each in answer.json()["items"] if each["user"]}


@pytest.fixture(scope="module")
def shared(ada: Visitor) -> Iterator[str]:
    launch_lab(ada, SESSION, container="notebook")
    yield SESSION
    ada.stop(SESSION)


def test_a_visitor_leaves_nothing_that_acts_for_her(
    hub: Hub, ada: Visitor, ben: Visitor, shared: str
) -> None:
    calls.share(ada, shared, user="ben")
    hers = page_token(ben, "ada", shared)
    assert hers != ben.token
    seen = calls.manager(ada, "GET", f"session/{shared}", token=hers)
    assert seen.status_code == 200, "a visitor sees whose it is and until when"
    assert seen.json()["userid"] == "ada"
    (let_in,) = calls.shares(ada, shared)
    assert seen.json()["visitUntil"] == let_in["until"]
    assert "visitUntil" not in calls.manager(ada, "GET", f"session/{shared}").json()
    assert "env" not in seen.text
    spec = json.loads((hub.launches()[shared] / "spec.json").read_text())
    own = spec["env"]["JUPYTERHUB_API_TOKEN"]
    code = calls.code_of(calls.share(ada, shared, link=True)["url"])
    try:
        for token in (hers, own):
            for method, path, body in (
                ("GET", f"session/{shared}/shares", None),
                ("POST", f"session/{shared}/shares", {"user": "admin"}),
                ("DELETE", f"session/{shared}/shares", None),
                ("GET", f"session/{shared}/audit", None),
                ("GET", f"session/{shared}/visitors", None),
                ("DELETE", f"session/{shared}", None),
                ("GET", "session", None),
                ("POST", "session", {"container": "probe", "name": "stolen"}),
                ("GET", "shared", None),
                ("POST", "links", {"code": code}),
            ):
                answer = calls.manager(ada, method, path, token=token, json=body)
                assert answer.status_code in DENIED, (method, path, answer.text)
            for user in ("ada", "ben"):
                for method, path, body in (
                    ("POST", f"/users/{user}/servers/stolen01", {"user_options": {}}),
                    ("DELETE", f"/users/{user}/servers/{shared}", None),
                    ("POST", f"/shares/{user}/{shared}", {"user": "admin"}),
                    ("GET", f"/shares/{user}/{shared}", None),
                    ("POST", f"/users/{user}/tokens", {}),
                    ("GET", f"/users/{user}/shared", None),
                ):
                    status = hub_status(hub, token, method, path, json=body)
                    assert status in DENIED, (method, path)
        assert set(calls.visitors(ada, shared)) <= {"ben"}
        assert ada.server(shared) is not None
    finally:
        calls.revoke(ada, shared)
    wait_for(
        lambda: hub_status(hub, hers, "GET", f"/users/ada/servers/{shared}") in DENIED,
        "the token to open nothing",
    )


def test_a_browser_of_a_revoked_visitor_is_sent_away(
    ada: Visitor, ben: Visitor, shared: str
) -> None:
    calls.share(ada, shared, user="ben")
    path = f"/user/ada/{shared}/api/contents"
    enter_page(ben, f"/user/ada/{shared}/lab")
    assert ben.client.get(path).status_code == 200
    calls.wait_here(ada, shared, "ben")
    calls.revoke(ada, shared)
    wait_for(lambda: ben.client.get(path).status_code == 403, "her cookie to open nothing")


def test_no_log_has_the_code_of_a_link(hub: Hub, ada: Visitor, ben: Visitor, shared: str) -> None:
    code = calls.code_of(calls.share(ada, shared, link=True)["url"])
    page = ben.client.get("/services/sessions/join", params={"code": code})
    assert page.status_code == 200, page.text
    assert "ada" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert calls.accept(ben, code).status_code == 200
    calls.revoke(ada, shared)
    for place, content in hub.evidence():
        assert code.encode() not in content, place


def test_a_page_that_is_not_signed_in_leads_back_to_the_link(
    hub: Hub, ada: Visitor, shared: str
) -> None:
    link = calls.share(ada, shared, link=True)["url"]
    with httpx.Client(timeout=60) as stranger:
        answer = stranger.get(link.replace(hub.public, hub.url))
        assert answer.status_code == 302
        assert calls.code_of(link) not in answer.headers["Location"]
    calls.revoke(ada, shared)


def test_shares_outlive_hub_and_manager(
    hub: Hub, ada: Visitor, ben: Visitor, admin: Visitor, shared: str
) -> None:
    guest = Guest(ben, "ada", shared)
    calls.share(ada, shared, user="ben")
    soon = datetime.now(UTC) + timedelta(seconds=3)
    code = calls.code_of(calls.share(ada, shared, link=True, until=soon.isoformat())["url"])
    hub.kill()
    hub.start()
    wait_for(lambda: guest.status() == 200, "ben to get in")
    assert [each["how"] for each in calls.shares(ada, shared)] == ["person"]
    assert calls.accept(ben, code).status_code == 400
    assert admin.api("POST", f"/shares/ada/{shared}", json={"user": "admin"}).status_code == 200
    wait_for(lambda: hub_guests(admin, shared) == {"ben"}, "what nobody shared to be taken back")
    assert ("removed at the hub: nobody shared it here", "admin") in calls.deeds(ada, shared)
    answer = admin.api("DELETE", f"/shares/ada/{shared}")
    assert answer.status_code == 204
    wait_for(lambda: hub_guests(admin, shared) == {"ben"}, "what is missing to be made again")
    calls.revoke(ada, shared)
    assert hub_guests(admin, shared) == set()


def test_all_sharing_ends_with_the_session(ada: Visitor, ben: Visitor, admin: Visitor) -> None:
    launch_lab(ada, "system02", container="probe")
    calls.share(ada, "system02", user="ben")
    code = calls.code_of(calls.share(ada, "system02", link=True)["url"])
    assert hub_guests(admin, "system02") == {"ben"}
    ada.stop("system02")
    wait_for(lambda: not calls.shared_with_me(ben), "the shares to end")
    wait_for(lambda: not hub_guests(admin, "system02"), "the hub to forget them")
    assert calls.accept(ben, code).status_code == 400
    wait_for(
        lambda: ("ended with the session", "ben") in calls.deeds(ada, "system02"),
        "the owner to be told",
    )
    assert calls.manager(
        ada, "POST", "session/system02/shares", json={"user": "ben"}
    ).status_code in (400, 404, 409)


def test_a_manager_that_is_stopped_lets_visitors_stay_and_ends_them_late(
    hub: Hub, ada: Visitor, ben: Visitor, shared: str
) -> None:
    guest = Guest(ben, "ada", shared)
    until = datetime.now(UTC) + timedelta(seconds=4)
    calls.share(ada, shared, user="ben", until=until.isoformat())
    wait_for(lambda: guest.status() == 200, "ben to get in")
    pid = hub.manager_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: datetime.now(UTC) > until, "the time to pass")
        assert guest.status() == 200, "a manager that does not answer ends nothing"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: guest.status() == 403, "ben to be out")


def test_without_origins_of_users_own_a_site_must_allow_it(
    ada: Visitor, shared: str, catalogue: Path
) -> None:
    before = catalogue.read_text()
    content = yaml.safe_load(before)
    content["sharing"] = {"allow_on_one_domain": False}
    catalogue.write_text(yaml.safe_dump(content, sort_keys=False))

    def answered(status: int) -> httpx.Response | None:
        calls.revoke(ada, shared)
        answer = calls.manager(ada, "POST", f"session/{shared}/shares", json={"user": "ben"})
        return answer if answer.status_code == status else None

    try:
        refused = wait_for(lambda: answered(400), "a changed catalogue to count")
        assert "web address of its own" in refused.text
    finally:
        catalogue.write_text(before)
    wait_for(lambda: answered(201), "the first one to count again")
    calls.revoke(ada, shared)
