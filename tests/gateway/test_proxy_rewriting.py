"""What is changed in requests and answers on their way, as values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canfar_spawner.gateway.rewriting import Rewriting, sent_cookies

PREFIX = "/user/ada/abcd1234/"
HOST = "hub.example.org"
ASKED = "/a/b"
"""What the application was asked for, below what it takes for its own address."""


def rules(**changes: Any) -> Rewriting:
    given = {
        "prefix": PREFIX,
        "keeps_prefix": False,
        "secret_header": None,
        "application": "127.0.0.1:5000",
        **changes,
    }
    return Rewriting(**given)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("/", PREFIX),
        ("/a/b?c#d", f"{PREFIX}a/b?c#d"),
        (f"{PREFIX}a", f"{PREFIX}a"),
        ("a/b", "a/b"),
        ("?page=2", "?page=2"),
        ("", ""),
        # The application's own choice of another site.
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        # Its own address, by whatever name it knows it.
        ("http://127.0.0.1:5000/a", f"{PREFIX}a"),
        ("http://localhost:5000/a", f"{PREFIX}a"),
        (f"https://{HOST}/a", f"{PREFIX}a"),
        (f"https://{HOST}", PREFIX),
        (f"https://{HOST}?a", f"{PREFIX}?a"),
        # Another host without a scheme, and what browsers take for that.
        ("//evil.example/x", f"{PREFIX}evil.example/x"),
        ("///evil.example", f"{PREFIX}evil.example"),
        ("/\\evil.example", f"{PREFIX}evil.example"),
        ("\\\\evil.example", f"{PREFIX}evil.example"),
        ("/\t/evil.example", f"{PREFIX}evil.example"),
        (f"http://{HOST}//evil.example", f"{PREFIX}evil.example"),
        ("/..//evil.example", f"{PREFIX}evil.example"),
    ],
)
def test_where_an_answer_leads_to(said: str, seen: str) -> None:
    assert rules().location(said, host=HOST, path=ASKED) == seen


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("/a", "/a"),
        (f"{PREFIX}a", f"{PREFIX}a"),
        ("//evil.example/x", "/evil.example/x"),
        (f"http://{HOST}{PREFIX}a", f"{PREFIX}a"),
        ("/..//evil.example/x", "/evil.example/x"),
    ],
)
def test_where_it_leads_to_with_the_prefix_kept(said: str, seen: str) -> None:
    assert rules(keeps_prefix=True).location(said, host=HOST, path=f"{PREFIX}a/b") == seen


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("../login", "login"),
        ("../login?next=../a/..#../b", "login?next=../a/..#../b"),
        ("%2e%2E/login", "login"),
        (".%2e\\login", "login"),
        ("c/./../login", "a/login"),
        ("..", ""),
        ("c/..", "a/"),
        ("..\t/login", "login"),
        # What only looks like going up.
        ("..login", None),
        ("c..", None),
        ("./login", None),
        ("?next=../login", None),
        ("#../login", None),
        ("%2e%2e%2flogin", None),
        ("mailto:../login", None),
    ],
)
@pytest.mark.parametrize("keeps", [False, True], ids=["stripped", "kept"])
def test_going_up_is_read_from_what_was_asked(said: str, seen: str | None, *, keeps: bool) -> None:
    given = rules(keeps_prefix=keeps)
    found = given.location(said, host=HOST, path=given.path("a/b"))
    assert found == (said if seen is None else f"{PREFIX}{seen}")


@pytest.mark.parametrize(
    "said",
    [
        "../../../hub/logout",
        "../../../../../../hub/logout",
        "x/../../../../hub/logout",
        "..\\..\\../hub/logout",
        "%2e%2E/.%2e/%2E./hub/logout",
        ".\t./../../hub/logout",
        "../../..//hub/logout",
    ],
)
def test_going_up_leads_no_further_than_a_path_of_its_own(said: str) -> None:
    assert rules().location(said, host=HOST, path="/rel") == f"{PREFIX}hub/logout"
    kept = rules(keeps_prefix=True)
    found = kept.location(said, host=HOST, path=f"{PREFIX}rel")
    assert found == kept.location("/hub/logout", host=HOST, path=f"{PREFIX}rel")


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("a=1", f"a=1; Path={PREFIX}"),
        ("a=1; Path=/", f"a=1; Path={PREFIX}"),
        ("a=1; path=/b; HttpOnly", f"a=1; HttpOnly; Path={PREFIX}b"),
        ("a=1; Path=/; Path=/user/", f"a=1; Path={PREFIX}user/"),
        ("a=1; Path=/../..", f"a=1; Path={PREFIX}"),
        ("a=1; Domain=example.org; Secure", f"a=1; Secure; Path={PREFIX}"),
        ("a=1; DOMAIN = .example.org ; SameSite=None", f"a=1; SameSite=None; Path={PREFIX}"),
        ("a=1;\r\n Path=/", f"a=1; Path={PREFIX}"),
        # Names by which the hub and sessions know people, and cookies of whole origins.
        ("jupyterhub-session-id=1; Path=/", None),
        ("JupyterHub-user-ada-abcd1234=1", None),
        ("__Host-a=1; Path=/; Secure", None),
        ("nameless", None),
        ("=value", None),
    ],
)
def test_cookies_stay_with_the_session(said: str, seen: str | None) -> None:
    assert rules().cookie(said) == seen


def test_with_the_prefix_kept_a_cookie_stays_below_it_too() -> None:
    kept = rules(keeps_prefix=True)
    assert kept.cookie("a=1; Path=/") == f"a=1; Path={PREFIX}"
    assert kept.cookie("a=1; Path=/user/ben/x/") == f"a=1; Path={PREFIX}"
    assert kept.cookie(f"a=1; Path={PREFIX}lab") == f"a=1; Path={PREFIX}lab"


def test_answers_speak_for_the_session_only() -> None:
    said = [
        ("Content-Type", "text/html"),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "timeout=5"),
        ("Clear-Site-Data", '"cookies"'),
        ("Strict-Transport-Security", "max-age=1; includeSubDomains"),
        ("Alt-Svc", 'h3=":443"'),
        ("NEL", "{}"),
        ("Service-Worker-Allowed", "/"),
        ("Content-Security-Policy", "default-src 'self'"),
        ("Bad\x00Name", "1"),
        ("X-Odd", "a\x01b"),
    ]
    assert dict(rules().answer_headers(said, host=HOST, path=ASKED)) == {
        "Content-Type": "text/html",
        "Service-Worker-Allowed": PREFIX,
        "Content-Security-Policy": "default-src 'self'",
        "X-Odd": "a b",
    }


def asked(*headers: tuple[str, str], keeps: bool = True, **changes: Any) -> dict[str, str]:
    return dict(
        rules(**changes).request_headers(
            headers, remote_ip="10.0.0.1", scheme="https", keeps_authorization=keeps
        )
    )


@pytest.mark.parametrize(
    ("headers", "name", "port"),
    [
        ({"Host": "127.0.0.1:8000"}, "127.0.0.1", "8000"),
        ({"Host": "127.0.0.1:8000", "X-Forwarded-Port": "1"}, "127.0.0.1", "8000"),
        ({"Host": "[::1]:8000"}, "[::1]", "8000"),
        ({"Host": "[::1]"}, "[::1]", "443"),
        ({"Host": "a:1", "X-Forwarded-Host": "b", "X-Forwarded-Port": "8443"}, "b", "8443"),
        ({"Host": "hub.example.org", "X-Forwarded-Server": "elsewhere"}, "hub.example.org", "443"),
    ],
)
def test_name_and_port_are_said_apart_too(headers: dict[str, str], name: str, port: str) -> None:
    found = asked(*headers.items())
    assert (found["X-Forwarded-Server"], found["X-Forwarded-Port"]) == (name, port)


def test_the_application_learns_who_asks_and_no_more() -> None:
    found = asked(
        ("Host", HOST),
        ("Cookie", "jupyterhub-session-id=1; a=2; jupyterhub-user-ada-x=3; _xsrf=4"),
        ("Connection", "keep-alive, X-Hop, Host"),
        ("X-Hop", "1"),
        ("Upgrade", "h2c"),
        ("Authorization", "Basic eA=="),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Prefix", "/elsewhere"),
        ("Forwarded", "for=192.0.2.1"),
        ("X-Real-IP", "192.0.2.1"),
        ("Expect", "100-continue"),
    )
    assert found == {
        "Host": HOST,
        "Cookie": "a=2; _xsrf=4",
        "Authorization": "Basic eA==",
        "X-Forwarded-Port": "443",
        "X-Forwarded-For": "192.0.2.1, 10.0.0.1",
        "X-Forwarded-Host": HOST,
        "X-Forwarded-Server": HOST,
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": PREFIX.rstrip("/"),
    }


def test_a_kept_prefix_is_not_told_twice() -> None:
    assert "X-Forwarded-Prefix" not in asked(("Host", HOST), keeps_prefix=True)


def test_the_hubs_tokens_stay_here() -> None:
    assert "Authorization" not in asked(("Authorization", "token hubs"), keeps=False)


def test_nobody_but_the_gateway_shows_the_secret() -> None:
    found = asked(
        ("carta-auth-token", "guessed"),
        ("Authorization", "Basic eA=="),
        secret_header=("Carta-Auth-Token", "right"),
    )
    assert found["Carta-Auth-Token"] == "right"
    assert "carta-auth-token" not in found
    assert found["Authorization"] == "Basic eA=="


def test_a_cookie_header_with_nothing_for_the_application_is_left_out() -> None:
    assert "Cookie" not in asked(("Cookie", "jupyterhub-session-id=1"))
    assert sent_cookies("a=1;b=2") == "a=1;b=2"
    assert sent_cookies("__Host-jupyterhub-user-ada=1; b=2") == "b=2"


def test_cartas_configuration_names_addresses_that_the_client_finds() -> None:
    given = rules(rewrites=("carta-config",))
    content = {"apiAddress": "/api", "dashboardAddress": "https://x.example/", "other": "/x"}
    assert given.changes_body("/config")
    assert not given.changes_body("/config.js")
    assert not rules().changes_body("/config")
    assert json.loads(given.body(json.dumps(content).encode())) == {
        **content,
        "apiAddress": f"{PREFIX}api",
    }
    for odd in (b"[]", b"<html>", b"\xff"):
        assert given.body(odd) == odd


def test_a_configuration_without_measure_stays_as_it_is() -> None:
    given = rules(rewrites=("carta-config",))
    deep = b"[" * 200_000
    assert given.body(deep) == deep
