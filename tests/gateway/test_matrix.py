"""Who gets through a gateway, by which credential, over HTTP and WebSocket: each cell a test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import PORTS
from tests.support import shares as calls
from tests.support.gateway import Gated, gated
from tests.support.guest import enter_page
from tests.support.hub import Visitor, wait_for
from tests.support.wire import Answer, told

pytestmark = pytest.mark.environment("proxy")

STRANGERS = (
    "nobody",
    "nobody in a browser",
    "garbage",
    "another's cookies",
    "another's cookie, renamed",
    "another's token",
    "another's token in the address",
    "a token without the scope",
    "an expired token",
    "a revoked token",
)
ORIGINS = {
    "foreign": "http://evil.example",
    "ours and more": "{origin}.evil.example",
    "another port": "http://{name}:1",
    "no port": "http://{name}",
    "another scheme": "https://{host}",
    "null": "null",
    "below ours": "http://evil.{host}",
    "with a prefix": "http://evil{host}",
    "ours as a name": "http://{host}@evil.example",
    "ours as a path": "http://evil.example/{host}",
    "with a dot": "http://{name}.:{port}",
    "empty": "",
    "two": "{origin} http://evil.example",
}
WELCOME = ("owner's cookie", "owner's token", "visitor's cookie", "visitor's token", "service")
WAYS = ("GET", "HEAD", "POST", "DELETE", "WebSocket")


@dataclass
class Matrix:
    """Everybody's headers for one session."""

    gated: Gated
    headers: dict[str, dict[str, str]]
    queries: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        caller: str,
        way: str,
        path: str = "echo",
        headers: dict[str, str] | None = None,
        *,
        direct: bool = False,
    ) -> Answer:
        """Ask for something, in one of the ways; by the hub's proxy or past it."""
        given = {**self.headers[caller], **(headers or {})}
        path += self.queries.get(caller, "")
        if way == "WebSocket":
            with self.gated.direct() if direct else self.gated.wire() as opened:
                return opened.upgrade(f"{self.gated.prefix}{path}", given)
        body = b"{}" if way == "POST" else None
        return self.gated.ask(way, path, given, body, direct=direct)


def cookies(visitor: Visitor, url: str) -> str:
    """Give the header with the cookies that a browser would send."""
    return str(visitor.client.build_request("GET", url).headers["Cookie"])


def _token(visitor: Visitor, **request: Any) -> dict[str, Any]:
    answer = visitor.api("POST", f"/users/{visitor.name}/tokens", json=request)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def matrix(behind: Gated) -> Iterator[Matrix]:
    """Sign everybody in, share the session with ben, and make the tokens."""
    hub, ada = behind.hub, behind.owner
    ben, cyd = hub.sign_in("ben"), hub.sign_in("cyd")
    address = f"{behind.origin}{behind.prefix}"
    calls.share(ada, behind.session, user="ben")
    for visitor in (ada, ben):
        enter_page(visitor, f"{address}echo")
    with (
        tempfile.TemporaryDirectory() as place,
        gated(cyd, "other", PORTS["other"], Path(place)) as hers,
    ):
        enter_page(cyd, f"{hers.origin}{hers.prefix}echo")
        page = cyd.client.get(f"{address}echo", headers={"Accept": "text/html"})
        assert page.status_code == 403, page.url
        own = next(
            each for each in cyd.client.cookies.jar if hers.session in each.name and each.value
        )
    every = "; ".join(f"{each.name}={each.value}" for each in cyd.client.cookies.jar)
    renamed = own.name.replace(hers.session, behind.session).replace("user-cyd", "user-ada")
    assert renamed in cookies(ada, address), "the name is that of the owner's cookie"
    expired, revoked = _token(ada, expires_in=1), _token(ada)
    assert ada.api("DELETE", f"/users/ada/tokens/{revoked['id']}").status_code == 204
    reading = ["access:services!service=sessions", "read:users!user", "read:servers!user"]
    same = {"Origin": behind.origin}
    found = Matrix(
        behind,
        {
            "nobody": {},
            "nobody in a browser": {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"},
            "garbage": {**_bearer("0" * 32), "Cookie": f"{renamed}=garbage"},
            "another's cookies": {"Cookie": every, **same},
            "another's cookie, renamed": {"Cookie": f"{renamed}={own.value}", **same},
            "another's token": _bearer(cyd.token),
            "another's token in the address": {},
            "a token without the scope": _bearer(_token(ada, scopes=reading)["token"]),
            "an expired token": _bearer(expired["token"]),
            "a revoked token": _bearer(revoked["token"]),
            "owner's cookie": {"Cookie": cookies(ada, address), **same},
            "owner's token": _bearer(ada.token),
            "visitor's cookie": {"Cookie": cookies(ben, address), **same},
            "visitor's token": _bearer(ben.token),
            "service": _bearer((hub.data / "hub" / "sessions_token").read_text().strip()),
        },
        {"another's token in the address": f"?token={cyd.token}"},
    )
    wait_for(
        lambda: found.ask("an expired token", "GET").status in (401, 403),
        "the expired token to be refused",
        seconds=30,
    )
    yield found
    calls.revoke(ada, behind.session)


def refused(answer: Answer) -> None:
    """See that an answer is a refusal, or leads to the hub's login."""
    assert answer.status in (302, 401, 403), (answer.status, answer.body[:500])
    if answer.status == 302:
        assert "/hub/api/oauth2/authorize?" in answer.get("Location"), answer.get("Location")
    assert b"sec-websocket" not in answer.body.lower()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("caller", STRANGERS)
def test_strangers_are_refused(matrix: Matrix, caller: str, way: str) -> None:
    refused(matrix.ask(caller, way))


@pytest.mark.parametrize("way", ["POST", "DELETE", "WebSocket"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_other_origins_are_refused(matrix: Matrix, origin: str, way: str) -> None:
    behind = matrix.gated
    name, _, port = behind.host.partition(":")
    words = {"origin": behind.origin, "host": behind.host, "name": name, "port": port}
    given = {"Origin": ORIGINS[origin].format(**words)}
    for caller in ("owner's cookie", "visitor's cookie"):
        assert matrix.ask(caller, way, headers=given).status == 403, caller


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("caller", WELCOME)
def test_whoever_may_gets_through(matrix: Matrix, caller: str, way: str) -> None:
    if way == "WebSocket":
        with matrix.gated.wire() as opened:
            path = f"{matrix.gated.prefix}socket"
            assert opened.upgrade(path, matrix.headers[caller]).status == 101
            opened.say(b"hello")
            assert opened.hear() == (1, b"hello")
        return
    answer = matrix.ask(caller, way)
    assert answer.status == 200, answer.body
    assert way == "HEAD" or b'"target": "/echo"' in answer.body


def _everything(matrix: Matrix) -> dict[tuple[str, str, str], object]:
    """Ask everything that strangers may ask."""
    found: dict[tuple[str, str, str], object] = {}
    for caller in STRANGERS:
        for way in ("GET", "POST", "WebSocket"):
            for path in ("", "echo", "say?SFRUUC8xLjEgNDA0IE5vdCBGb3VuZA0KDQo"):
                found[caller, way, path] = told(matrix.ask(caller, way, path, direct=True))
    evil = {"Origin": "http://evil.example"}
    for way in ("POST", "WebSocket"):
        answer = matrix.ask("owner's cookie", way, headers=evil, direct=True)
        found["owner", way, "echo"] = told(answer)
    return found


def test_nothing_of_the_application_leaks(matrix: Matrix) -> None:
    """Whether it answers, answers no more or never did: refusals are the same byte for byte."""
    behind = matrix.gated
    answering = _everything(matrix)
    assert not [asked for asked, found in answering.items() if "Misbehaving" in repr(found)]
    behind.end_application()
    ended = _everything(matrix)
    behind.end_gateway()
    behind.start_gateway()
    never = _everything(matrix)
    behind.start_application()
    wait_for(
        lambda: matrix.ask("owner's token", "GET").status == 200, "the application to be reached"
    )
    for found in (ended, never):
        differing = {asked: (answering[asked], found[asked]) for asked in found}
        assert not {asked: two for asked, two in differing.items() if two[0] != two[1]}


def test_what_is_for_the_hub_is_not_for_the_application(matrix: Matrix) -> None:
    """Cookies and tokens by which the hub knows somebody end at the gateway."""
    behind = matrix.gated
    for caller in WELCOME:
        own = {"X-Own": "1"}
        given = matrix.headers[caller]
        if "Cookie" in given:
            own["Cookie"] = f"{given['Cookie']}; theirs=kept"
        for way in ("GET", "POST", "WebSocket"):
            matrix.ask(caller, way, "socket" if way == "WebSocket" else "echo", own)
            seen = behind.ask("GET", "seen", behind.token).body.decode()
            assert '"X-Own"' in seen
            hubs = [each for each in given.get("Cookie", "").split("; ") if "jupyterhub" in each]
            secrets = [each.partition("=")[2] for each in hubs]
            for secret in (*secrets, given.get("Authorization", " ").rpartition(" ")[2]):
                assert not secret or secret not in seen, (caller, way)
            assert "uthorization" not in seen
            assert "Cookie" not in own or "theirs=kept" in seen, (caller, way)


def test_a_credential_that_was_good_is_bad_once_it_is_revoked(matrix: Matrix) -> None:
    """For the owner's scripts too, for whom nobody waits."""
    ada = matrix.gated.owner
    token = _token(ada)
    own = _bearer(token["token"])
    assert matrix.gated.ask("GET", "echo", own).status == 200
    assert ada.api("DELETE", f"/users/ada/tokens/{token['id']}").status_code == 204
    wait_for(
        lambda: matrix.gated.ask("GET", "echo", own).status in (401, 403),
        "the revoked token to be refused",
        seconds=30,
    )


@pytest.mark.parametrize("credential", ["token", "cookie"])
def test_a_visitor_is_out_when_her_share_is_revoked(matrix: Matrix, credential: str) -> None:
    """What she has open is closed, idle or busy: a WebSocket, a body that comes, one that goes."""
    behind = matrix.gated
    calls.share(behind.owner, behind.session, user="ben")
    caller = f"visitor's {credential}"
    wait_for(lambda: matrix.ask(caller, "GET").status == 200, "ben to get in", seconds=30)
    given = matrix.headers[caller]
    # The proxy of the hub does not hang up where a body ends before its end: it only falls silent.
    with behind.wire() as silent, behind.direct() as coming, behind.direct() as going:
        assert silent.upgrade(f"{behind.prefix}socket", given).status == 101
        coming.ask("GET", f"{behind.prefix}trickle", given)
        assert coming.head().status == 200
        length = {"Content-Length": str(1 << 30)}
        going.ask("POST", f"{behind.prefix}count", {**given, **length})
        going.send(b"begun")
        calls.revoke(behind.owner, behind.session)
        for opened in (silent, coming, going):
            assert opened.closed()
    assert matrix.ask(caller, "GET").status in (302, 401, 403)
    assert matrix.ask(caller, "WebSocket").status in (302, 401, 403)
    calls.share(behind.owner, behind.session, user="ben")
    wait_for(lambda: matrix.ask(caller, "GET").status == 200, "ben to get in again", seconds=30)


def test_secrets_stay_out_of_the_log(matrix: Matrix) -> None:
    log = matrix.gated.log.read_text()
    for caller, headers in matrix.headers.items():
        for secret in headers.get("Cookie", "").split("; "):
            assert len(secret) < 40 or secret.partition("=")[2] not in log, caller
        token = headers.get("Authorization", "").rpartition(" ")[2]
        assert not token or token not in log, caller
    assert matrix.queries["another's token in the address"].partition("=")[2] not in log
