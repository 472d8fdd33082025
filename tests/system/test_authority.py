"""Who may do what, for every route and every kind of token, against a table that was read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.callers import ABSENT, CALLERS, Crowd, crowded_hub, matrix, routes
from tests.support.hub import Hub
from tests.support.v1 import V1
from tests.system.authority_golden import GOLDEN

pytestmark = pytest.mark.environment("proxy")

NOT_KNOWN = ("nobody", "garbage", "expired", "revoked")
NOT_HERS = (*NOT_KNOWN, "read-only", "stranger")


@pytest.fixture(scope="module")
def hub(
    data_directory: Path, probe_catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    """Run a hub with a user more."""
    with crowded_hub(data_directory, probe_catalogue, tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def crowd(hub: Hub) -> Crowd:
    """Gather everybody around a session of ada's."""
    return Crowd.gather(hub)


@pytest.fixture(scope="module")
def table(crowd: Crowd) -> dict[str, dict[str, Any]]:
    """Ask everything of everybody, once."""
    return matrix(crowd)


def test_the_table_is_the_one_that_was_read(table: dict[str, dict[str, Any]]) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert table.keys() == golden.keys(), (
        "routes: renew it with python -m tests.system.authority_golden"
    )
    changed = {
        f"{title}, {caller}": (golden[title].get(caller), cell)
        for title, cells in table.items()
        for caller, cell in cells.items()
        if golden[title].get(caller) != cell
    }
    assert not changed, "(as read, as it is)"


def test_the_table_holds_what_must_be_true(table: dict[str, dict[str, Any]]) -> None:
    """The rules themselves, so that a table renewed in a hurry cannot give rights away."""
    public = {title for title, cells in table.items() if cells["nobody"][0] in (200, 204)}
    assert public <= {
        "HEAD /",
        "GET /",
        "GET /health",
        "GET /metrics",
        "GET /capabilities",
        "GET /availability",
        "GET /v1/openapi.json",
    }, "nothing of anybody's is among them"
    for title, cells in table.items():
        statuses = {cell[0] for cell in cells.values()}
        assert not {301, 302, 303, 307, 308} & statuses, f"{title} sends a script to a page"
        assert not {500, 502} & statuses, title
        if title in public:
            continue
        for caller in NOT_KNOWN:
            assert cells[caller][0] == 401, (title, caller)
        if "{" not in title or "/links/" in title:
            continue
        for caller in ("stranger", "read-only"):
            assert cells[caller][-1] == "same", f"{title} tells {caller} that the session is there"
        if not title.startswith(("GET", "DELETE /v1/shared")):
            for caller in (*NOT_HERS, "visitor"):
                # An end of what is not one's own is no end: an id that is none is ended already.
                assert cells[caller][0] != 200 or title.startswith("DELETE"), (title, caller)


def test_nobody_but_who_may_has_ended_or_changed_it(
    crowd: Crowd, table: dict[str, dict[str, Any]]
) -> None:
    assert len(table) >= 10
    row = V1.of(crowd.ada).row(crowd.session)
    assert row is not None
    assert row["status"] == "Running"
    assert crowd.session in crowd.hub.launches()


def test_a_list_has_nobody_elses(crowd: Crowd) -> None:
    for caller in ("stranger", "read-only", "service", "session's own", "visitor"):
        answer = crowd.v1(caller).call("GET", "/v1/session")
        if answer.status_code == 200:
            assert crowd.session not in answer.text, caller
        else:
            assert answer.status_code in (401, 403), caller


def test_what_is_not_yours_is_like_what_is_not(crowd: Crowd) -> None:
    stranger = crowd.v1("stranger")
    for view in ("", "logs", "events"):
        query = {"view": view} if view else {}
        there = stranger.call("GET", f"/v1/session/{crowd.session}", params=query)
        nowhere = stranger.call("GET", f"/v1/session/{ABSENT}", params=query)
        assert there.status_code == nowhere.status_code == 404
        assert there.content.replace(crowd.session.encode(), ABSENT.encode()) == nowhere.content
        kept = ("content-type", "content-length", "www-authenticate")
        for name in kept:
            assert there.headers.get(name) == nowhere.headers.get(name), name


@pytest.mark.parametrize("caller", NOT_KNOWN)
def test_without_a_token_that_counts(crowd: Crowd, caller: str) -> None:
    answer = crowd.v1(caller).call("GET", "/v1/session", follow_redirects=False)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text.strip().endswith(".")


def test_the_cookie_of_a_page_opens_no_api(crowd: Crowd) -> None:
    """The pages have a cookie of their own; a site that lures her browser gets nothing here."""
    crowd.ada.client.get("/services/sessions/")
    answer = crowd.ada.client.get("/services/sessions/v1/session", follow_redirects=False)
    assert answer.status_code == 401
    answer = crowd.ada.client.request(
        "DELETE", f"/services/sessions/v1/session/{crowd.session}", follow_redirects=False
    )
    assert answer.status_code == 401
    other = crowd.v1("owner").call(
        "GET", "/v1/session", headers={"Origin": "https://evil.example.org"}
    )
    assert "Access-Control-Allow-Origin" not in other.headers


def test_a_service_token_that_leaked_starts_nothing(crowd: Crowd) -> None:
    """It sees and ends sessions, as its work is; it acts for nobody and makes no tokens."""
    hub, token = crowd.hub, crowd.tokens["service"]

    def call(method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(
            method, f"{hub.url}/hub/api{path}", headers=headers, timeout=60, **arguments
        )

    assert {"ada", "ben"} <= {user["name"] for user in call("GET", "/users").json()}
    before = set(hub.launches())
    for method, path, body in (
        ("POST", "/users/ada/servers/svclaun1", {"user_options": {"container": "probe"}}),
        ("POST", "/users/ada/server", {"user_options": {"container": "probe"}}),
        ("POST", "/users/ada/tokens", {}),
        ("POST", "/users/eve", {}),
        ("PATCH", "/users/ada", {"admin": True}),
        ("GET", "/users/ada/tokens", None),
        ("POST", "/shutdown", {}),
        ("GET", "/proxy", None),
    ):
        answer = call(method, path, json=body)
        assert answer.status_code in (403, 404), (method, path, answer.text)
    model = call("GET", "/users/ada").json()
    assert not model.get("auth_state"), "secrets of users are not among what it sees"
    answer = crowd.v1("service").create(cmd="true")
    assert answer.status_code in (401, 403), answer.text
    answer = crowd.v1("service").create(cmd="true", type="notebook")
    assert answer.status_code in (400, 401, 403), answer.text
    assert set(hub.launches()) == before


def test_a_sessions_own_token_tells_of_itself_and_does_nothing_else(crowd: Crowd) -> None:
    own = crowd.v1("session's own")
    now = datetime.now(UTC).isoformat()
    beat = {"activity": now, "busy_kernels": 1, "terminals_busy": 0, "visitors": []}
    answer = own.call("POST", "/v1/heartbeat", json=beat)
    assert answer.status_code in (200, 204), answer.text
    for caller in CALLERS:
        if caller != "session's own":
            refused = crowd.v1(caller).call("POST", "/v1/heartbeat", json=beat)
            assert refused.status_code in (401, 403), (caller, refused.text)
    assert own.create(cmd="true").status_code == 403
    assert own.create(type="notebook").status_code == 403
    for path in ("/shares", ""):
        answer = own.call("POST", f"/v1/session/{crowd.session}{path}", json={"user": "cyd"})
        assert answer.status_code in (400, 403, 404), answer.text
    assert V1.of(crowd.cyd).row(crowd.session) is None
    own.call("DELETE", f"/v1/session/{crowd.session}")
    assert V1.of(crowd.ada).status(crowd.session) == "Running"


def test_a_visitor_sees_and_leaves_and_no_more(crowd: Crowd) -> None:
    crowd.invite()
    visitor = V1.of(crowd.ben)
    row = visitor.row(crowd.session)
    assert row is not None
    assert row["userid"] == "ada"
    path = f"/v1/session/{crowd.session}"
    for method, tail, body in (
        ("POST", "?action=renew", None),
        ("POST", "/shares", {"user": "cyd"}),
        ("PATCH", "", {"name": "mine"}),
        ("GET", "/shares", None),
        ("GET", "/audit", None),
    ):
        answer = visitor.call(method, f"{path}{tail}", json=body)
        assert answer.status_code in (400, 403, 404), (method, tail, answer.text)
    visitor.call("DELETE", path)
    assert V1.of(crowd.ada).status(crowd.session) == "Running"
    assert V1.of(crowd.cyd).row(crowd.session) is None


def test_every_route_of_the_document_is_asked(
    crowd: Crowd, table: dict[str, dict[str, Any]]
) -> None:
    document = crowd.v1("owner").call("GET", "/v1/openapi.json").json()
    assert {route.title for route in routes(document)} == set(table)
