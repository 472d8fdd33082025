"""Who may do what on a real hub: a stranger, an administrator, and a session's own token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.hub import Hub, Visitor, wait_for

SESSION = "adasess1"
SERVER = f"/users/ada/servers/{SESSION}"
AUTHORIZE = "/hub/api/oauth2/authorize"
OPTIONS = {"user_options": {"container": "probe"}}


@pytest.fixture(scope="module")
def token(hub: Hub, ada: Visitor) -> Iterator[str]:
    """Start a session of ada and give the token it has."""
    answer = ada.launch(SESSION, container="probe")
    assert answer.status_code in (201, 202), answer.text
    ada.wait_ready(SESSION)
    yield session_token(hub, SESSION)
    if SESSION in hub.launches():
        ada.stop(SESSION)


def session_token(hub: Hub, session: str) -> str:
    spec = json.loads((hub.launches()[session] / "spec.json").read_text())
    found: str = spec["env"]["JUPYTERHUB_API_TOKEN"]
    return found


def call(hub: Hub, token: str, method: str, path: str, **arguments: Any) -> httpx.Response:
    headers = {"Authorization": f"token {token}"}
    return httpx.request(
        method, f"{hub.url}/hub/api{path}", headers=headers, timeout=60, **arguments
    )


BY_TOKEN: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/users", None),
    ("GET", "/users/ada", None),
    ("GET", SERVER, None),
    ("GET", f"{SERVER}/progress", None),
    ("GET", "/users/ada/tokens", None),
    ("POST", "/users/ada/tokens", {}),
    ("POST", "/users/ada/servers/bylaunch", OPTIONS),
    ("POST", SERVER, OPTIONS),
    ("POST", "/users/ada/server", OPTIONS),
    ("PUT", "/users/ada/servers/bylaunch", OPTIONS),
    ("PATCH", SERVER, {"name": "bylaunch"}),
    ("PATCH", SERVER, OPTIONS),
    ("DELETE", SERVER, None),
    ("DELETE", SERVER, {"remove": True}),
    ("GET", f"/shares/ada/{SESSION}", None),
    ("POST", f"/shares/ada/{SESSION}", {"user": "ben"}),
    ("GET", f"/share-codes/ada/{SESSION}", None),
    ("POST", f"/share-codes/ada/{SESSION}", {}),
    ("POST", "/users/ada/activity", {"last_activity": "2030-01-01T00:00:00Z"}),
    ("DELETE", "/users/ada", None),
    ("PATCH", "/users/ada", {"admin": True}),
    ("POST", "/users/eve", None),
    ("GET", "/services", None),
    ("GET", "/proxy", None),
    ("GET", "/groups", None),
    ("POST", "/shutdown", {}),
)
TITLES = [f"{method} {path} {body or ''}" for method, path, body in BY_TOKEN]


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(("method", "path", "body"), BY_TOKEN, ids=TITLES)
def test_a_stranger_is_refused_by_the_api(
    hub: Hub, ada: Visitor, ben: Visitor, method: str, path: str, body: object
) -> None:
    answer = ben.api(method, path, json=body)
    if (method, path) in (("GET", "/services"), ("GET", "/users"), ("GET", "/groups")):
        assert answer.status_code in (200, 403)
        assert "ada" not in answer.text
        return
    assert answer.status_code in (403, 404), answer.text
    assert set(hub.launches()) == {SESSION}
    assert (ada.server(SESSION) or {})["ready"]
    assert [row for (row,) in hub.rows("select name from spawners where name != ''")] == [SESSION]


@pytest.mark.usefixtures("token")
def test_a_stranger_cannot_tell_a_session_from_none(ben: Visitor) -> None:
    for path in ("/users/ada", "/users/{}/servers/adasess1", "/users/{}/servers/adasess1/progress"):
        there = ben.api("GET", path.replace("{}", "ada"))
        nowhere = ben.api(
            "GET", path.replace("{}", "nobody").replace("/users/ada", "/users/nobody")
        )
        assert there.status_code == nowhere.status_code == 404
        assert there.text.replace("ada", "nobody") == nowhere.text


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    "path",
    [
        "/hub/spawn/ada",
        f"/hub/spawn/ada/{SESSION}",
        "/hub/spawn/ada?opt-container=probe",
        f"/hub/spawn-pending/ada/{SESSION}",
        f"/hub/user/ada/{SESSION}/",
        "/hub/admin",
    ],
)
def test_a_stranger_is_refused_by_the_pages(hub: Hub, ben: Visitor, path: str) -> None:
    answer = ben.client.get(path)
    own = answer.url.path.startswith(("/hub/spawn", "/hub/home")) and "/ada" not in answer.url.path
    assert answer.status_code in (403, 404) or own, (answer.status_code, answer.url)
    assert SESSION not in answer.text.replace(path, "")
    assert set(hub.launches()) == {SESSION}


@pytest.mark.usefixtures("token")
def test_a_stranger_cannot_launch_for_somebody_by_the_form(hub: Hub, ben: Visitor) -> None:
    for path in ("/hub/spawn/ada/benlaun1", "/hub/spawn/ada", f"/hub/spawn/ada/{SESSION}"):
        answer = ben.client.post(path, data={"container": "probe", "_xsrf": ben.xsrf()})
        assert answer.status_code in (403, 404), answer.text[:500]
    assert set(hub.launches()) == {SESSION}


def authorize(hub: Hub, visitor: Visitor) -> httpx.Response:
    """Ask for what a session asks for when somebody opens it."""
    del hub
    client = f"jupyterhub-user-ada-{SESSION}"
    return visitor.client.get(
        AUTHORIZE,
        params={
            "client_id": client,
            "redirect_uri": f"/user/ada/{SESSION}/oauth_callback",
            "response_type": "code",
            "state": "x",
        },
        follow_redirects=False,
    )


@pytest.mark.usefixtures("token")
def test_a_stranger_cannot_enter(hub: Hub, ada: Visitor, ben: Visitor) -> None:
    answer = authorize(hub, ada)
    assert answer.status_code == 302, answer.text
    assert "code=" in answer.headers["Location"]
    answer = authorize(hub, ben)
    assert answer.status_code == 403, answer.text
    assert "code=" not in answer.headers.get("Location", "")


@pytest.mark.usefixtures("token")
def test_an_administrator_sees_and_launches_and_stops(
    hub: Hub, admin: Visitor, ada: Visitor
) -> None:
    assert admin.api("GET", "/users/ada").json()["servers"][SESSION]["ready"]
    assert admin.api("GET", SERVER).status_code == 200
    answer = admin.api("POST", "/users/ada/servers/byadmin1", json=OPTIONS)
    assert answer.status_code in (201, 202), answer.text
    ada.wait_ready("byadmin1")
    assert admin.api("DELETE", "/users/ada/servers/byadmin1").status_code in (202, 204)
    wait_for(lambda: set(hub.launches()) == {SESSION}, "the session to end")
    page = admin.client.post(
        "/hub/spawn/ada/byadmin2", data={"container": "nosuch", "_xsrf": admin.xsrf()}
    )
    assert page.status_code == 400
    assert "This session will belong to ada" in page.text
    wait_for(
        lambda: not hub.rows("select 1 from spawners where name = 'byadmin1'"), "its row to go"
    )


ITS_OWN = {("GET", "/users/ada"), ("POST", "/users/ada/activity")}
ONLY_ACTIVITY = [each for each in BY_TOKEN if each[:2] not in ITS_OWN]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    ONLY_ACTIVITY,
    ids=[f"{method} {path} {body or ''}" for method, path, body in ONLY_ACTIVITY],
)
def test_a_sessions_token_is_for_activity_only(
    hub: Hub, ada: Visitor, token: str, method: str, path: str, body: object
) -> None:
    answer = call(hub, token, method, path, json=body)
    assert answer.status_code in (403, 404), answer.text
    assert set(hub.launches()) == {SESSION}
    assert (ada.server(SESSION) or {})["ready"]


def test_a_sessions_token_reports_activity_of_its_owner_alone(hub: Hub, token: str) -> None:
    body = {"servers": {SESSION: {"last_activity": "2026-01-01T00:00:00Z"}}}
    assert call(hub, token, "POST", "/users/ada/activity", json=body).status_code == 200
    for name in ("ben", "admin", "nobody"):
        answer = call(hub, token, "POST", f"/users/{name}/activity", json=body)
        assert answer.status_code in (403, 404), answer.text
    assert set(call(hub, token, "GET", "/user").json()["scopes"]) == {
        f"access:servers!server=ada/{SESSION}",
        "users:activity!user=ada",
        # JupyterHub lets every token say whose it is.
        "read:users:activity!user=ada",
        "read:users:groups!user=ada",
        "read:users:name!user=ada",
    }
    model = call(hub, token, "GET", "/users/ada").json()
    assert not {"servers", "server", "roles", "auth_state"} & model.keys()


def test_the_hub_knows_no_other_token_of_a_session(hub: Hub, token: str) -> None:
    for path in ("/user", "/users/ada/activity"):
        assert call(hub, token[:-1] + "x", "GET", path).status_code in (403, 405)


@pytest.mark.usefixtures("token")
def test_a_stopped_sessions_token_is_dead(hub: Hub, ada: Visitor) -> None:
    """Also where the hub was killed between start and stop, and has only its database left."""

    def answers(secret: str) -> int:
        body = {"last_activity": "2026-01-01T00:00:00Z"}
        return call(hub, secret, "POST", "/users/ada/activity", json=body).status_code

    assert ada.launch("tokdead1", container="probe").status_code in (201, 202)
    assert ada.launch("tokdead2", container="probe").status_code in (201, 202)
    ada.wait_ready("tokdead1")
    ada.wait_ready("tokdead2")
    first, second = session_token(hub, "tokdead1"), session_token(hub, "tokdead2")
    assert answers(first) == answers(second) == 200
    ada.stop("tokdead1")
    wait_for(lambda: answers(first) == 403, "the token to die", seconds=5)
    assert answers(second) == 200

    hub.kill()
    hub.start()
    assert set(hub.launches()) == {SESSION, "tokdead2"}
    assert answers(first) == 403
    wait_for(lambda: (ada.server("tokdead2") or {}).get("ready"), "the hub to find the session")
    assert answers(second) == 200
    ada.stop("tokdead2")
    wait_for(lambda: answers(second) == 403, "the token to die", seconds=5)
    assert hub.rows("select count(*) from api_tokens where note like '%tokdead%'") == [(0,)]
