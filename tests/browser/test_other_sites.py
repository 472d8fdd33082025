"""What a page of somebody else can make a signed-in browser do, and where it can send her."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.conftest import open_context, sign_in
from tests.support import shares as calls
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.v1 import V1

pytestmark = [pytest.mark.browser, pytest.mark.environment("proxy")]

SESSION = "steady01"
MANAGER = "/services/sessions/"
EVIL = ("http://evil.test", "http://127.0.0.1:9")
"""Another site, and another program of the same machine: to a browser that is the same site."""
FORMS: dict[str, dict[str, str]] = {
    "/hub/spawn/ada/evil0001": {"container": "probe"},
    "/hub/spawn": {"container": "probe"},
    "/hub/login?next=/hub/home": {"username": "ben", "password": "x"},
    "/hub/accept-share": {"code": "x"},
    "/hub/api/oauth2/authorize?client_id=service-sessions&response_type=code": {"scopes": "x"},
    f"{MANAGER}stop/{SESSION}": {},
    f"{MANAGER}extend/{SESSION}": {},
    f"{MANAGER}share/{SESSION}": {"how": "person", "person": "ben"},
    f"{MANAGER}share/{SESSION}/revoke": {"all": "yes"},
    f"{MANAGER}leave/{SESSION}": {},
    f"{MANAGER}join": {"code": "x"},
}
CALLS: dict[str, tuple[str, Any]] = {
    "/hub/api/users/ada/servers/evil0002": ("POST", {"user_options": {"container": "probe"}}),
    "/hub/api/users/ada/tokens": ("POST", {"note": "evil"}),
    f"/hub/api/users/ada/servers/{SESSION}": ("DELETE", {"remove": True}),
    f"/hub/api/share-codes/ada/{SESSION}": ("POST", {}),
    f"{MANAGER}v1/session/{SESSION}": ("DELETE", None),
    f"{MANAGER}v1/session/{SESSION}?action=renew": ("POST", None),
    f"{MANAGER}v1/session/{SESSION}/shares": ("POST", {"user": "ben"}),
}
SUBMIT = """([action, fields]) => {
  const form = document.createElement('form');
  Object.assign(form, { method: 'post', action });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement('input'), { name, value }));
  }
  document.body.append(form);
  form.submit();
}"""
SEND = """async calls => {
  const send = (url, init) => fetch(url, { credentials: 'include', ...init }).then(
    answer => `${answer.type} ${answer.status}`, () => 'held back');
  const found = {};
  for (const [url, method, body] of calls) {
    const text = { method: 'POST', mode: 'no-cors', body,
                   headers: { 'Content-Type': 'text/plain' } };
    const json = { method, body, headers: { 'Content-Type': 'application/json' } };
    found[url] = [await send(url, text), await send(url, json),
                  await send(url, { mode: 'no-cors' }),
                  await send(`${url}${url.includes('?') ? '&' : '?'}_method=POST`)];
  }
  return found;
}"""


@pytest.fixture(scope="module")
def ada(small_hub: Hub) -> Visitor:
    return small_hub.sign_in("ada")


@pytest.fixture(scope="module")
def window(small_hub: Hub, ada: Visitor, chromium: Browser) -> Iterator[BrowserContext]:
    """A browser in which ada is signed in everywhere, and a session of hers."""
    small_hub.sign_in("ben")
    assert ada.launch(SESSION, container="probe", name="Steady").status_code in (201, 202)
    ada.wait_ready(SESSION)
    v1 = V1.of(ada)
    wait_for(lambda: v1.status(SESSION) == "Running", "the session to be known")
    context = open_context(chromium)
    page = context.new_page()
    sign_in(page, small_hub, "ada")
    page.goto(f"{small_hub.url}{MANAGER}")
    yield context
    context.close()
    ada.stop(SESSION)


def state(hub: Hub, ada: Visitor) -> dict[str, object]:
    """Give what must not change."""
    row = V1.of(ada).row(SESSION) or {}
    return {
        "ends": row.get("expiryTime"),
        "status": row.get("status"),
        "shares": calls.shares(ada, SESSION),
        "sessions": sorted(hub.launches()),
        "rows": sorted(hub.rows("select name from spawners where name != ''")),
        # Pages make one of an hour each, and take it back.
        "tokens": hub.rows("select count(*) from api_tokens where note like '%evil%'"),
        "codes": hub.rows("select count(*) from share_codes"),
    }


@pytest.mark.parametrize("evil", EVIL)
def test_another_site_changes_nothing(
    small_hub: Hub, ada: Visitor, window: BrowserContext, evil: str
) -> None:
    hub = small_hub
    page = window.new_page()
    page.route(
        f"{evil}/**",
        lambda route: route.fulfill(content_type="text/html", body="<body>Look, kittens"),
    )
    before = state(hub, ada)
    for path, fields in FORMS.items():
        page.goto(f"{evil}/")
        with page.expect_navigation() as navigated:
            page.evaluate(SUBMIT, [f"{hub.url}{path}", fields])
        answer = navigated.value
        assert answer is not None
        assert answer.status == 403 or "/hub/login" in answer.url, (path, answer.status)
        assert state(hub, ada) == before, path
    page.goto(f"{evil}/")
    wanted = [
        [f"{hub.url}{path}", method, json.dumps(body)] for path, (method, body) in CALLS.items()
    ]
    wanted += [[f"{hub.url}{path}", "POST", "x=y"] for path in FORMS]
    told = page.evaluate(SEND, wanted)
    for url, (text, json_, get, method) in told.items():
        # What is opaque was sent, and its answer is for nobody; the rest the browser held back.
        assert text in ("opaque 0", "held back"), url
        assert get in ("opaque 0", "held back"), url
        assert (json_, method) == ("held back", "held back"), url
    assert state(hub, ada) == before
    page.close()


NEXT = (
    "//evil.test",
    "//evil.test/hub/home",
    "/\\evil.test",
    "\\\\evil.test",
    "/\\/evil.test",
    "///evil.test",
    "/\t/evil.test",
    "/\n/evil.test",
    "\t//evil.test",
    "https:evil.test",
    "https:/evil.test",
    "https://evil.test",
    "http://127.0.0.1@evil.test/",
    "http:///evil.test",
    "%2f%2fevil.test",
    "/%2fevil.test",
    "/%5cevil.test",
    "javascript:alert(1)",
    "data:text/html,x",
    "//evil%E3%80%82test",
    "/hub/../..//evil.test",
    "/user/../\\evil.test",
)
PATHS = (
    "//evil.test/",
    "/hub//evil.test",
    "/hub//evil.test/",
    "/hub/%2f%2fevil.test/",
    "/hub/%5cevil.test/",
    "//evil.test/%2e%2e",
    "/hub/user-redirect//evil.test",
    "/hub/user-redirect/%2f/evil.test",
    "/hub/user//evil.test",
    "/services/sessions//evil.test",
    "//evil.test/services/sessions",
)


def stays(page: Page, hub: Hub, location: str) -> bool:
    """Say whether a browser would go on to this hub from it."""
    found = page.evaluate(
        "([to, from]) => new URL(to, from).origin", [location, f"{hub.url}/hub/login"]
    )
    return bool(found == hub.url)


@pytest.mark.parametrize("where", NEXT)
def test_signing_in_leads_to_no_other_site(
    small_hub: Hub, window: BrowserContext, where: str
) -> None:
    hub = small_hub
    page = window.pages[0]
    for path in ("/hub/login?next=", "/hub/?next=", f"{MANAGER}oauth_callback?next="):
        page.goto(f"{hub.url}{path}{quote(where, safe='')}")
        assert page.url.startswith(f"{hub.url}/"), path
    with httpx.Client(base_url=hub.url) as client:
        login = client.get("/hub/login", params={"next": where}).text
        action = html.unescape(login.partition('action="')[2].partition('"')[0])
        token = login.partition('name="_xsrf" value="')[2].partition('"')[0]
        assert action.startswith("/hub/login")
        assert token
        answer = client.post(
            action, data={"username": "ada", "password": hub.password, "_xsrf": token}
        )
        assert answer.status_code == 302, answer.text
        assert stays(page, hub, answer.headers["Location"]), answer.headers["Location"]


@pytest.mark.parametrize("path", PATHS)
def test_no_address_leads_to_another_site(
    small_hub: Hub, ada: Visitor, window: BrowserContext, path: str
) -> None:
    hub = small_hub
    url = httpx.URL(hub.url).copy_with(raw_path=path.encode())
    for cookies in ({}, dict(ada.client.cookies)):
        answer = httpx.get(url, cookies=cookies)
        if "Location" in answer.headers:
            assert stays(window.pages[0], hub, answer.headers["Location"]), path
