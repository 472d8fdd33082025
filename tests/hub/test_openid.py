"""What the hub accepts of a provider, and what it is told of one."""

from __future__ import annotations

import json
import logging
import runpy
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from tornado import web

from canfar_spawner.hub.openid import OpenIdAuthenticator, SignInError, discover, safe_url
from tests.support.hub import ROOT, free_port

LOG = logging.getLogger("tests.hub")
ISSUER = "https://sign-in.example.org"
KEY = "a key that nobody looks at, as TLS stands for the signature"


class Server(ThreadingHTTPServer):
    """Answers every question with the same JSON."""

    answer: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        body = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), _Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def token(**changes: Any) -> str:
    said = {"iss": ISSUER, "aud": "canfar-hub", "sub": "1", **changes}
    return jwt.encode({claim: said[claim] for claim in said if said[claim] is not None}, KEY)


def authenticator(server: Server) -> OpenIdAuthenticator:
    return OpenIdAuthenticator(
        issuer=ISSUER,
        client_id="canfar-hub",
        userdata_url=f"{server.url}/me",
        username_claim="preferred_username",
    )


async def test_claims_of_the_right_account_are_accepted(server: Server) -> None:
    server.answer = {"sub": "1", "uid": 20001}
    # Older than its end, as it is when a launch asks again.
    for id_token in (token(), token(exp=1), token(aud=["other", "canfar-hub"])):
        info = {"access_token": "x", "token_type": "Bearer", "id_token": id_token}
        assert await authenticator(server).token_to_user(info) == server.answer


@pytest.mark.parametrize(
    ("id_token", "claims"),
    [
        (token(iss="https://other.example.org"), {"sub": "1"}),
        (token(iss=f"{ISSUER}/"), {"sub": "1"}),
        (token(iss=None), {"sub": "1"}),
        (token(aud="other"), {"sub": "1"}),
        (token(aud=None), {"sub": "1"}),
        (token(sub="2"), {"sub": "1"}),
        (token(sub=None), {"sub": "1"}),
        ("nonsense", {"sub": "1"}),
        (token(), {"sub": "1", "iss": "https://other.example.org"}),
        (token(), {"sub": 1}),
        (token(), {}),
        (token(), ["sub"]),
        ("", {"sub": "1", "iss": "https://other.example.org"}),
    ],
)
async def test_claims_of_another_account_or_issuer_are_refused(
    server: Server, id_token: str, claims: object
) -> None:
    server.answer = claims
    info = {"access_token": "x", "token_type": "Bearer", "id_token": id_token}
    with pytest.raises(web.HTTPError) as caught:
        await authenticator(server).token_to_user(info)
    assert caught.value.status_code == 403


@pytest.mark.parametrize("name", ["Ada", "ada ", "root", "", None, 7, ["ada"], "ä", "a" * 33])
def test_a_name_is_never_changed(server: Server, name: object) -> None:
    found = authenticator(server)
    assert found.user_info_to_username({"preferred_username": "ada"}) == "ada"
    with pytest.raises(web.HTTPError) as caught:
        found.user_info_to_username({"preferred_username": name, "email": "ada@example.org"})
    assert caught.value.status_code == 403
    assert "example.org" not in str(caught.value)


# What the hub is told at its start.


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "ftp://example.org", "example.org", "https://", "http://127.1.evil"],
)
def test_nobody_listens_on_the_way(url: str) -> None:
    with pytest.raises(SignInError):
        safe_url(url, "The issuer")


def described(server: Server, **changes: Any) -> dict[str, Any]:
    return {
        "issuer": server.url,
        "authorization_endpoint": f"{server.url}/auth",
        "token_endpoint": f"{server.url}/token",
        "userinfo_endpoint": f"{server.url}/me",
        **changes,
    }


def test_a_provider_is_remembered_for_when_it_is_away(server: Server, tmp_path: Path) -> None:
    kept = tmp_path / "openid.json"
    server.answer = described(server, more="than is used")
    found = discover(server.url, kept, LOG)
    assert found.basic_auth
    # Nobody listens there.
    away = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(SignInError, match="cannot be read"):
        discover(away, kept, LOG)
    kept.write_text(kept.read_text().replace(server.url, away))
    assert discover(away, kept, LOG).token_endpoint == f"{away}/token"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example.org"},
        {"token_endpoint": "http://example.org/token"},
        {"userinfo_endpoint": 5},
    ],
)
def test_a_provider_that_describes_another_is_refused(
    server: Server, tmp_path: Path, changes: dict[str, Any]
) -> None:
    server.answer = described(server)
    discover(server.url, tmp_path / "openid.json", LOG)
    server.answer = described(server, **changes)
    with pytest.raises(SignInError):
        discover(server.url, tmp_path / "openid.json", LOG)


@pytest.fixture(scope="module")
def read() -> Callable[[dict[str, str]], dict[str, str]]:
    found: Callable[[dict[str, str]], dict[str, str]] = runpy.run_path(
        str(ROOT / "hub_config" / "auth" / "oidc.py")
    )["read"]
    return found


GOOD = {
    "CANFAR_OIDC_ISSUER": ISSUER,
    "CANFAR_OIDC_CLIENT_ID": "canfar-hub",
    "CANFAR_OIDC_CLIENT_SECRET": "hunter2",
    "CANFAR_OIDC_ALLOW": "astronomers, guests",
    "JUPYTERHUB_CRYPT_KEY": "0" * 64,
}


def test_settings_are_read(
    read: Callable[[dict[str, str]], dict[str, str]], tmp_path: Path
) -> None:
    found = read(GOOD)
    assert (found["UID_CLAIM"], found["SCOPE"]) == ("uid", "openid profile")
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    assert read({**GOOD, "CANFAR_OIDC_CLIENT_SECRET_FILE": str(secret)})["CLIENT_SECRET"] == (
        "from a file"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"CANFAR_OIDC_ISSUER": ""}, "CANFAR_OIDC_ISSUER must be set"),
        ({"CANFAR_OIDC_CLIENT_SECRET": ""}, "CANFAR_OIDC_CLIENT_SECRET must be set"),
        ({"CANFAR_OIDC_CLIENT_SECRET_FILE": "nowhere"}, "cannot be read"),
        ({"CANFAR_OIDC_UID_CLAIM": ""}, "CANFAR_OIDC_UID_CLAIM must be set"),
        ({"CANFAR_OIDC_ALLOW": " , "}, "separated by commas, or be everybody"),
        ({"CANFAR_OIDC_ALOW": "everybody"}, "Did you mean CANFAR_OIDC_ALLOW?"),
        ({"CANFAR_OIDC_SCOPE": "profile"}, "must have openid in it"),
        ({"JUPYTERHUB_CRYPT_KEY": ""}, "JUPYTERHUB_CRYPT_KEY must be set"),
    ],
)
def test_a_wrong_setting_is_named(
    read: Callable[[dict[str, str]], dict[str, str]], changes: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SignInError) as caught:
        read({**GOOD, **changes})
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)
