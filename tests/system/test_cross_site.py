"""What another site can make a signed-in browser do: look, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx
import pytest

from tests.support.hub import Hub, Visitor

pytestmark = pytest.mark.environment("proxy")
LASTING = True
LINK = (
    "opt-container=probe&opt-mode=fixed&opt-cores=2&opt-memory=4&opt-projects=survey&opt-name=M31"
)
FOREIGN: dict[str, dict[str, str]] = {
    "no headers": {},
    "foreign navigation": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Referer": "https://evil.example/",
    },
    "foreign script": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "no-cors",
        "Origin": "https://evil.example",
    },
}
URLS = (
    f"/hub/spawn?{LINK}",
    f"/hub/spawn/ada?{LINK}",
    f"/hub/spawn/ada/getlaun1?{LINK}",
    "/hub/spawn/ada/getlaun1",
    "/hub/spawn/ada/getlaun1?next=%2Fuser%2Fada%2Fgetlaun1%2F",
    f"/hub/spawn/ada/getlaun1?_method=POST&{LINK}",
    "/hub/spawn?container=probe&name=old",
    "/hub/spawn/ada/getlaun1?container=probe",
    f"/hub/spawn/ada/getlaun1?display_name=x&{LINK}",
    "/hub/spawn/ada",
    "/hub/spawn/ada/",
    "/hub/spawn-pending/ada/getlaun1",
    f"/hub/spawn-pending/ada/getlaun1?{LINK}",
    "/hub/spawn-pending/ada",
    "/hub/user/ada/getlaun1/",
    "/hub/user/ada/getlaun1/lab",
    "/hub/user/ada/",
    "/user/ada/getlaun1/",
    "/user/ada/getlaun1/api",
    "/hub/user-redirect/lab",
    f"/hub/user-redirect/getlaun1?{LINK}",
    "/hub/api/users/ada/servers/getlaun1",
    "/hub/api/users/ada/server",
    "/hub/api/users/ada/servers/getlaun1/progress",
    "/hub/spawn?opt-=x",
    "/hub/home",
)


class Filled(HTMLParser):
    """What a form has filled in."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self.action = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        name, value = found.get("name"), found.get("value") or ""
        if tag == "form" and found.get("id") == "launch":
            self.action = found.get("action") or ""
        elif tag == "input" and found.get("type") in ("radio", "checkbox"):
            if "checked" in found and name:
                self.values.setdefault(name, []).append(value)
        elif tag == "input" and name:
            self.values.setdefault(name, []).append(value)


def there(hub: Hub) -> set[object]:
    """Give what is there of sessions: rows, tokens, directories; others' may go meanwhile."""
    rows = hub.rows("select name, started from spawners where name != ''")
    runs = (path.name for path in (hub.data / "run").iterdir())
    return {*rows, *hub.rows("select id from api_tokens"), *runs}


@pytest.fixture(autouse=True)
def nothing_started(hub: Hub, ada: Visitor, ben: Visitor) -> Iterator[None]:
    del ada, ben
    start = hub.log.stat().st_size
    before = there(hub)
    yield
    assert not there(hub) - before
    assert not hub.launches()
    log = hub.log.read_bytes()[start:].decode()
    assert "Traceback" not in log, log


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", FOREIGN)
def test_looking_at_an_address_starts_nothing(ada: Visitor, headers: str, method: str) -> None:
    for url in URLS:
        answer = ada.client.request(method, url, headers=FOREIGN[headers])
        assert answer.status_code < 500 or answer.url.path.startswith("/hub/user/"), url
        with_xsrf = f"{url}{'&' if '?' in url else '?'}_xsrf={quote(ada.xsrf())}"
        ada.client.request(method, with_xsrf, headers=FOREIGN[headers])


def check_filled(page: str, projects: list[str]) -> None:
    filled = Filled(page).values
    assert filled["container"] == ["probe"]
    assert filled["mode"] == ["fixed"]
    assert filled["cores"] == ["2"]
    assert filled["memory"] == ["4"]
    assert filled["name"] == ["M31"]
    assert [project for project in filled["projects"] if project] == projects


@pytest.mark.parametrize("who", ["ada", "ben"])
def test_a_link_fills_the_form_of_whoever_is_signed_in(
    who: str, request: pytest.FixtureRequest
) -> None:
    visitor: Visitor = request.getfixturevalue(who)
    answer = visitor.client.get(f"/hub/spawn?{LINK}")
    assert answer.status_code == 200
    check_filled(answer.text, ["survey"])
    assert re.fullmatch(rf"/hub/spawn/{who}/[a-z][a-z0-9]{{7}}", Filled(answer.text).action)
    assert 'role="alert"' not in answer.text


def test_a_link_to_a_session_of_somebody_fills_ones_own_form(ben: Visitor) -> None:
    answer = ben.client.get(f"/hub/spawn/ben/getlaun1?{LINK}")
    assert answer.url.path == "/hub/spawn"
    check_filled(answer.text, ["survey"])


def test_a_link_is_followed_through_signing_in(hub: Hub) -> None:
    with httpx.Client(base_url=hub.url, follow_redirects=True, timeout=60) as client:
        page = client.get(f"/hub/spawn?{LINK}")
        assert page.url.path == "/hub/login"
        form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert form
        action = form[1].replace("&amp;", "&")
        token = re.search(r'name="_xsrf"\s+value="([^"]+)"', page.text)
        assert token
        answer = client.post(
            action, data={"username": "ben", "password": hub.password, "_xsrf": token[1]}
        )
        assert answer.url.path == "/hub/spawn", answer.url
        check_filled(answer.text, ["survey"])


def test_what_a_link_asks_for_in_vain_is_left_out_and_said(ben: Visitor) -> None:
    answer = ben.client.get(
        "/hub/spawn?opt-container=nosuch&opt-projects=demo&opt-projects=survey&opt-uid=0"
        "&opt-registry_secret=x"
    )
    assert answer.status_code == 200
    filled = Filled(answer.text).values
    assert "container" not in filled
    assert [project for project in filled["projects"] if project] == ["survey"]
    for words in ("The container nosuch is not offered", "not in demo", "cannot set uid"):
        assert words in answer.text


def test_a_link_cannot_carry_markup_into_the_page(ada: Visitor) -> None:
    hostile = quote('"><script>alert(1)</script>')
    for field in ("name", "container", "version", "image", "open", "env", "cores", "projects", "x"):
        answer = ada.client.get(f"/hub/spawn?opt-{field}={hostile}&opt-{hostile}=1")
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text


Send = Callable[[Visitor, Visitor, dict[str, str]], httpx.Response]
FORM = {"container": "probe"}
JSON = {"user_options": FORM}
API = "/hub/api/users/ada/servers/foreign1"


def _form(ada: Visitor, xsrf: str | None, headers: dict[str, str]) -> httpx.Response:
    data: dict[str, Any] = FORM if xsrf is None else {**FORM, "_xsrf": xsrf}
    return ada.client.post("/hub/spawn/ada/foreign1", data=data, headers=headers)


SENDS: dict[str, Send] = {
    "form without token": lambda ada, _, headers: _form(ada, None, headers),
    "form with an empty token": lambda ada, _, headers: _form(ada, "", headers),
    "form with a made-up token": lambda ada, _, headers: _form(ada, "2|aaaa|bbbb|1", headers),
    "form with another's token": lambda ada, ben, headers: _form(ada, ben.xsrf(), headers),
    "form in the wrong place": lambda ada, _, headers: ada.client.post(
        "/hub/spawn", data=FORM, headers=headers
    ),
    "API without token": lambda ada, _, headers: ada.client.post(API, json=JSON, headers=headers),
    "API as text": lambda ada, _, headers: ada.client.post(
        API,
        content=b'{"user_options": {"container": "probe"}}',
        headers={**headers, "Content-Type": "text/plain"},
    ),
    "API with another's token": lambda ada, ben, headers: ada.client.post(
        API, params={"_xsrf": ben.xsrf()}, json=JSON, headers=headers
    ),
    "API by PUT": lambda ada, _, headers: ada.client.put(API, json=JSON, headers=headers),
    "API by PATCH": lambda ada, _, headers: ada.client.patch(API, json=JSON, headers=headers),
    "stopping": lambda ada, _, headers: ada.client.delete(API, headers=headers),
    "a token for the API": lambda ada, _, headers: ada.client.post(
        "/hub/api/users/ada/tokens", headers=headers
    ),
}


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("send", SENDS)
def test_a_foreign_request_is_refused(ada: Visitor, ben: Visitor, send: str, headers: str) -> None:
    answer = SENDS[send](ada, ben, FOREIGN[headers])
    assert answer.status_code == 403, answer.text[:500]


NEXTS = (
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/\\/evil.example",
    "https:evil.example",
    "https://evil.example/",
    "http:///evil.example",
    "%2f%2fevil.example",
    "/%2fevil.example",
    "/%5cevil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "//127.0.0.1@evil.example/",
    "@evil.example",
    ".evil.example",
)


def _stays(hub: Hub, location: str) -> bool:
    # Browsers drop tabs and line ends and read a backslash as a slash.
    read = re.sub(r"[\t\r\n]", "", location).strip().replace("\\", "/")
    there = urlsplit(urljoin(hub.url, read))
    return (there.scheme, there.netloc) == ("http", f"127.0.0.1:{hub.port}")


@pytest.mark.parametrize("target", NEXTS)
def test_signing_in_stays_here(hub: Hub, ada: Visitor, target: str) -> None:
    for path in ("/hub/login", "/hub/", "/hub/spawn", "/hub/home"):
        answer = ada.client.get(path, params={"next": target}, follow_redirects=False)
        assert _stays(hub, answer.headers.get("Location", "/")), answer.headers["Location"]
    with httpx.Client(base_url=hub.url, timeout=60) as client:
        page = client.get("/hub/login", params={"next": target})
        token = re.search(r'name="_xsrf"\s+value="([^"]+)"', page.text)
        assert token
        answer = client.post(
            "/hub/login",
            params={"next": target},
            data={"username": "ben", "password": hub.password, "_xsrf": token[1]},
        )
        assert answer.status_code == 302
        assert _stays(hub, answer.headers["Location"]), answer.headers["Location"]
        answer = client.get("/hub/logout", params={"next": target})
        assert _stays(hub, answer.headers.get("Location", "/")), answer.headers["Location"]
