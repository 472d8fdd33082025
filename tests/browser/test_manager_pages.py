"""The session manager's pages and the page of tokens, in a browser, before a real hub."""

from __future__ import annotations

import ast
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, expect

from tests.browser.conftest import open_context, sign_in
from tests.browser.test_pages import NARROW, overflows
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.newcomer import Newcomer

pytestmark = [pytest.mark.browser, pytest.mark.environment("notebook")]

SESSIONS = "/services/sessions"
TALL = {"width": 1280, "height": 1500}


@pytest.fixture(scope="module")
def ada(small_hub: Hub) -> Visitor:
    return small_hub.sign_in("ada")


def launch(hub: Hub, ada: Visitor, session: str, name: str) -> None:
    """Launch a session and wait until the manager's pages know that it runs."""
    answer = ada.launch(session, container="probe", name=name)
    assert answer.status_code in (201, 202), answer.text
    ada.wait_ready(session)
    wait_for(lambda: known(hub, ada, session), f"the manager to know {session}")


def known(hub: Hub, ada: Visitor, session: str) -> bool:
    answer = httpx.get(
        f"{hub.sessions_url()}/v1/session/{session}",
        headers={"Authorization": f"Bearer {ada.token}"},
    )
    return answer.status_code == 200 and answer.json()["status"] == "Running"


def opened(page: Page, hub: Hub, path: str) -> Page:
    page.goto(f"{hub.url}{SESSIONS}/{path}")
    return page


@pytest.fixture
def plain(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser of one person, without JavaScript."""
    context = open_context(chromium, java_script_enabled=False)
    yield context
    context.close()


def sign_in_plainly(page: Page, hub: Hub, name: str) -> None:
    page.goto(f"{hub.url}/hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", hub.password)
    page.click("#login_submit")
    page.wait_for_url("**/hub/home")


# Tokens


def token_scopes(hub: Hub, token: str) -> set[str] | None:
    answer = httpx.get(f"{hub.url}/hub/api/user", headers={"Authorization": f"Bearer {token}"})
    return set(answer.json()["scopes"]) if answer.status_code == 200 else None


def test_a_token_is_made_shown_once_and_revoked(
    small_hub: Hub, page: Page, screenshots: Path
) -> None:
    hub = small_hub
    sign_in(page, hub, "ada")
    page.goto(f"{hub.url}/hub/token")
    form = page.locator("#request-token-form")
    form.get_by_label("What for").fill("Nightly reduction")
    expect(form.get_by_label("Ends in")).to_have_value(str(30 * 86400))
    form.get_by_role("button", name="Make a token").click()
    shown = page.get_by_label("Token", exact=True)
    expect(shown).to_be_visible()
    token = shown.input_value()
    variables = page.locator("#made-variables").inner_text()
    assert f"CANFAR_URL={hub.url}{SESSIONS}/v1" in variables.splitlines()[0]
    assert variables.splitlines()[1] == f"export CANFAR_TOKEN={token}"
    row = page.get_by_role("row", name=re.compile("Nightly reduction"))
    expect(row).to_contain_text("Scripts and batch")
    page.set_viewport_size(TALL)  # type: ignore[arg-type]
    shown.evaluate("input => { input.value = 'shown here, this once' }")
    page.locator("#made-variables").evaluate(
        "code => { code.textContent = code.textContent.replace(/TOKEN=.*/, 'TOKEN=…') }"
    )
    page.screenshot(path=screenshots / "token.png")
    scopes = token_scopes(hub, token)
    assert scopes is not None
    assert "start:servers!user=ada" in scopes
    assert not {
        scope for scope in scopes if scope.startswith(("self", "tokens", "admin", "delete"))
    }
    page.reload()
    expect(page.get_by_text(token)).to_have_count(0)
    row.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nightly reduction")
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(row).to_have_count(0)
    assert token_scopes(hub, token) is None


def test_a_token_with_other_permissions_and_a_refused_one(small_hub: Hub, page: Page) -> None:
    hub = small_hub
    sign_in(page, hub, "ada")
    page.goto(f"{hub.url}/hub/token")
    page.get_by_text("A token with other permissions").click()
    form = page.locator("#other-token-form")
    form.get_by_label("What for").fill("To look")
    form.get_by_label("Ends in").select_option("3600")
    form.get_by_label("Permissions").fill("admin:users")
    form.get_by_role("button", name="Make this token").click()
    expect(form.get_by_role("alert")).to_contain_text("No token was made.")
    form.get_by_label("Permissions").fill("read:users!user=ada, read:servers!user=ada")
    form.get_by_role("button", name="Make this token").click()
    token = page.get_by_label("Token", exact=True)
    expect(token).to_be_visible()
    scopes = token_scopes(hub, token.input_value())
    assert scopes is not None
    assert "read:servers!user=ada" in scopes


# Scripts and batch


def test_the_texts_of_the_page_work_word_by_word(
    small_hub: Hub, page: Page, tmp_path: Path, screenshots: Path
) -> None:
    hub, newcomer = small_hub, Newcomer(tmp_path)
    # Somebody who has no jobs of other tests, which the client would list, too.
    ben = hub.sign_in("ben")
    sign_in(page, hub, "ben")
    sent: list[str] = []

    def note(request: Request) -> None:
        sent.append(f"{request.url} {request.post_data or ''} {request.headers}")

    page.on("request", note)
    page.get_by_role("link", name="Scripts and batch").click()
    page.wait_for_url(f"**{SESSIONS}/scripts")
    page.set_viewport_size(TALL)  # type: ignore[arg-type]
    page.screenshot(path=screenshots / "scripts.png")
    page.get_by_label("Your token").fill(ben.token)
    expect(page.locator("#pasted-note")).to_contain_text("It stays in this page.")

    def text(name: str) -> str:
        return page.locator(f"#setup-{name}").evaluate("code => code.textContent")  # type: ignore[no-any-return]

    newcomer.types(text("install"))
    before = f"{text('variables')}\n"
    newcomer.types(before + text("create"))
    look, logs = before + text("look"), before + text("logs")
    wait_for(lambda: newcomer.types(look).count("Completed") == 2, "both jobs to be completed")
    shown = newcomer.types(look)
    assert {"hello-1", "hello-2"} <= set(re.findall(r"hello-\d", shown))
    assert {"1", "2"} <= set(newcomer.types(logs).split())
    told = newcomer.types(f"{before}python3 -c '{text('python')}'")
    (ids,) = (line for line in told.splitlines() if line.startswith("['"))
    assert len(ast.literal_eval(ids)) == 2
    # The file in place of the variables.
    newcomer.types(
        f"mkdir -m 700 ~/.canfar\ncat > ~/.canfar/config.yaml <<'END'\n{text('config')}END\n"
    )
    assert "Completed" in newcomer.types(text("look"))
    assert not [request for request in sent if ben.token in request]


def test_the_page_keeps_its_placeholder_without_javascript(
    small_hub: Hub, plain: BrowserContext
) -> None:
    page = plain.new_page()
    sign_in_plainly(page, small_hub, "ada")
    page.click("text=Scripts and batch")
    assert "PASTE-YOUR-TOKEN-HERE" in page.locator("#setup-variables").inner_text()
    expect(page.get_by_label("Your token")).to_be_hidden()
    expect(page.locator("main noscript p")).to_contain_text("in the place of PASTE-YOUR-TOKEN-HERE")
    expect(page.locator("main noscript p")).to_be_visible()


# Sessions


def test_a_session_is_extended_and_stopped_without_javascript(
    small_hub: Hub, ada: Visitor, plain: BrowserContext, screenshots: Path
) -> None:
    hub = small_hub
    launch(hub, ada, "plainone", "Without scripts")
    page = plain.new_page()
    sign_in_plainly(page, hub, "ada")
    opened(page, hub, "")
    row = page.locator("#session-plainone")
    expect(row).to_contain_text("Without scripts")
    expect(row).to_contain_text("Running")
    page.screenshot(path=screenshots / "manager-sessions.png")
    row.get_by_role("button", name="Extend").click()
    expect(page.get_by_role("status")).to_contain_text("Without scripts now ends")
    page.goto(f"{hub.url}/hub/home")
    page.locator("#session-plainone noscript a").click()
    page.wait_for_url(f"**{SESSIONS}/stop/plainone")
    expect(page.get_by_role("heading", name="Stop Without scripts?")).to_be_visible()
    expect(page.get_by_text("Home and projects stay")).to_be_visible()
    page.screenshot(path=screenshots / "stop.png")
    assert "plainone" in hub.launches(), "to look stops nothing"
    page.get_by_role("button", name="Stop").click()
    wait_for(lambda: "plainone" not in hub.launches(), "the session to end")

    def told() -> bool:
        opened(page, hub, "stop/plainone")
        return page.get_by_role("heading", name="Without scripts has ended").count() == 1

    wait_for(told, "the page to say that it has ended")
    expect(page.get_by_text("Stopped on request.")).to_be_visible()


def test_what_is_not_hers_is_not_there(small_hub: Hub, ada: Visitor, page: Page) -> None:
    hub = small_hub
    launch(hub, ada, "private1", "Private")
    sign_in(page, hub, "ben")
    for path in ("stop/private1", "share/private1", "logs/private1", "stop/neverwas"):
        answer = page.goto(f"{hub.url}{SESSIONS}/{path}")
        assert answer is not None
        assert answer.status == 404, path
        expect(page.get_by_role("heading", name="There is nothing at this address")).to_be_visible()
        assert "Private" not in page.content()
    ada.stop("private1")


def cookies_of(page: Page, hub: Hub) -> httpx.Client:
    """Give a client with the cookies of a browser and nothing else of it."""
    client = httpx.Client(base_url=hub.url)
    for cookie in page.context.cookies():
        client.cookies.set(cookie["name"], cookie["value"], path=cookie["path"])
    return client


def test_no_other_site_can_stop_or_share(small_hub: Hub, ada: Visitor, page: Page) -> None:
    hub = small_hub
    launch(hub, ada, "forgery1", "Forgery")
    sign_in(page, hub, "ada")
    opened(page, hub, "")
    client = cookies_of(page, hub)
    for path, form in (
        ("stop/forgery1", {}),
        ("extend/forgery1", {}),
        ("share/forgery1", {"how": "person", "person": "ben"}),
        ("share/forgery1/revoke", {"all": "yes"}),
        ("share/forgery1/revoke", {"user": "ben"}),
        ("leave/forgery1", {}),
        ("join", {"code": "x"}),
    ):
        for extra in ({}, {"_xsrf": "wrong"}):
            answer = client.post(f"{SESSIONS}/{path}", data={**form, **extra})
            assert answer.status_code == 403, path
            assert "nothing was changed" in answer.text
    # Without any cookie nothing is done either, and no page is given away.
    bare = httpx.post(f"{hub.url}{SESSIONS}/stop/forgery1")
    assert bare.status_code == 403
    first = httpx.get(f"{hub.url}{SESSIONS}/")
    assert first.status_code == 302
    assert "/hub/api/oauth2/authorize" in first.headers["Location"]
    assert "forgery1" in hub.launches()
    ada.stop("forgery1")


# Sharing


def test_a_link_shows_whose_session_it_opens_and_stays_secret(
    small_hub: Hub, ada: Visitor, page: Page, chromium: Browser, screenshots: Path
) -> None:
    hub = small_hub
    launch(hub, ada, "linked01", "M31 photometry")
    sign_in(page, hub, "ada")
    opened(page, hub, "share/linked01")
    expect(page.get_by_text("Whoever enters works as you")).to_be_visible()
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("Link", exact=True).input_value()
    code = urlsplit(link).query.partition("code=")[2]
    assert code
    page.reload()
    shares = page.get_by_role("list", name="Who may enter")
    expect(shares.get_by_text("A link", exact=True)).to_have_count(1)
    expect(page.get_by_label("Link", exact=True)).to_have_count(0)
    context = open_context(chromium)
    other = context.new_page()
    seen: list[str] = []

    def note(answer: Response) -> None:
        seen.append(str(answer.request.headers.get("referer", "")))

    other.on("response", note)
    other.goto(link)
    other.get_by_label("Name", exact=True).fill("ben")
    other.get_by_label("Password", exact=True).fill(hub.password)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("heading", name="ada shares a session with you")).to_be_visible()
    other.screenshot(path=screenshots / "join.png")
    other.get_by_role("button", name="Enter").click()
    # The hub asks once whether the session may know who comes.
    other.wait_for_url(re.compile(r"/user/ada/linked01/|/oauth2/authorize"))
    assert not [referer for referer in seen if code in referer]
    assert code not in hub.log.read_text()
    page.goto(f"{hub.url}{SESSIONS}/share/linked01")
    expect(shares).to_contain_text("ben")
    page.screenshot(path=screenshots / "share-page.png")
    page.get_by_role("button", name="Revoke all").click()
    expect(page.get_by_role("status")).to_contain_text("Revoked.")
    expect(page.get_by_text("Nobody: the session is yours alone.")).to_be_visible()
    other.goto(link)
    expect(other.get_by_role("heading", name="This link opens nothing")).to_be_visible()
    context.close()
    ada.stop("linked01")


def test_a_person_is_shared_with_without_javascript_and_a_wrong_name_is_told(
    small_hub: Hub, ada: Visitor, plain: BrowserContext
) -> None:
    hub = small_hub
    hub.sign_in("ben")
    launch(hub, ada, "person01", "With a person")
    page = plain.new_page()
    sign_in_plainly(page, hub, "ada")
    opened(page, hub, "share/person01")
    page.fill("#person", "nobody at all")
    page.check("#person-storage")
    page.get_by_role("button", name="Share with this person").click()
    expect(page.get_by_role("alert")).to_contain_text("Nobody called nobody at all is known here")
    expect(page.locator("#person")).to_have_value("nobody at all")
    expect(page.locator("#person-storage")).to_be_checked()
    expect(page.locator("#group-storage")).not_to_be_checked()
    page.fill("#person", "ben")
    page.get_by_role("button", name="Share with this person").click()
    expect(page.get_by_role("status")).to_contain_text("ben may enter now.")
    shares = page.get_by_role("list", name="Who may enter")
    expect(shares).to_contain_text("ben")
    expect(shares.get_by_text("with storage to read")).to_have_count(1)
    page.locator("#group").select_option("survey")
    page.get_by_role("button", name="Share with this group").click()
    expect(shares).to_contain_text("The group survey")
    expect(shares.get_by_text("with storage to read")).to_have_count(1)
    shares.get_by_role("button", name="Revoke The group survey").click()
    expect(page.get_by_role("status")).to_contain_text("Revoked.")
    expect(shares).not_to_contain_text("The group survey")
    expect(shares).to_contain_text("ben")
    expect(page.locator(".events")).to_contain_text("ada revoked the share with the group survey")
    ada.stop("person01")


# How they look


def test_nothing_overflows_on_a_phone_and_nothing_is_inline(
    small_hub: Hub, ada: Visitor, chromium: Browser, screenshots: Path
) -> None:
    hub = small_hub
    launch(hub, ada, "narrow01", "A" + "-very-long-name" * 5)
    context = open_context(chromium)
    page = context.new_page()
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    broken: list[str] = []
    page.on(
        "console", lambda message: broken.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: broken.append(str(error)))
    sign_in(page, hub, "ada")
    for path in ("", "scripts", "stop/narrow01", "share/narrow01"):
        opened(page, hub, path)
        assert not overflows(page), path
        assert page.locator("script:not([src])").count() == 0
        assert page.locator("style, [style]").count() == 0
    assert broken == [], "the browser was kept from nothing that the pages want"
    opened(page, hub, "")
    page.screenshot(path=screenshots / "manager-narrow.png")
    page.goto(f"{hub.url}/hub/token")
    assert not overflows(page), "tokens"
    for path in ("join?code=nothing", "stop/neverwas"):
        opened(page, hub, path)
        assert not overflows(page), path
    context.close()
    ada.stop("narrow01")


def test_focus_is_seen_and_every_control_has_a_name(
    small_hub: Hub, ada: Visitor, page: Page
) -> None:
    hub = small_hub
    launch(hub, ada, "keyboard", "Keyboard")
    sign_in(page, hub, "ada")
    for path in ("", "scripts", "stop/keyboard", "share/keyboard"):
        opened(page, hub, path)
        nameless = page.evaluate(
            "[...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary')]"
            ".filter(e => e.checkVisibility() && !(e.innerText || '').trim()"
            " && !e.ariaLabel && !e.labels?.length).map(e => e.outerHTML)"
        )
        assert nameless == [], path
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", path
    ada.stop("keyboard")


def test_answers_carry_the_headers_that_pages_need(small_hub: Hub, page: Page) -> None:
    sign_in(page, small_hub, "ada")
    answer = page.goto(f"{small_hub.url}{SESSIONS}/join?code=nothing")
    assert answer is not None
    assert answer.status == 400
    headers = answer.headers
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    (cookie,) = (each for each in page.context.cookies() if each["name"] == "service-sessions")
    assert cookie["path"] == f"{SESSIONS}/", "it goes to these pages alone"
    assert cookie["httpOnly"]


def test_when_the_manager_is_away_the_hub_says_so_and_the_pages_come_back(
    small_hub: Hub, page: Page
) -> None:
    hub = small_hub
    sign_in(page, hub, "ada")
    opened(page, hub, "")
    pid = hub.manager_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    answer = page.goto(f"{hub.url}{SESSIONS}/")
    if answer is not None and answer.status != 200:
        assert answer.status == 503
        expect(page.get_by_role("link", name="Go to home")).to_be_visible()

    def back() -> bool:
        again = page.goto(f"{hub.url}{SESSIONS}/")
        return again is not None and again.status == 200

    wait_for(back, "the pages to be there again")
    expect(page.get_by_role("heading", name="Sessions and batch jobs")).to_be_visible()


def test_while_the_hub_is_away_the_pages_say_so_and_look_right(small_hub: Hub, page: Page) -> None:
    hub = small_hub
    sign_in(page, hub, "ada")
    opened(page, hub, "scripts")
    hub.kill()
    try:

        def said() -> bool:
            answer = page.goto(f"{hub.url}{SESSIONS}/scripts")
            return answer is not None and answer.status == 503

        wait_for(said, "who is signed in to be forgotten")
        expect(page.get_by_text("The hub does not answer now.")).to_be_visible()
        styled = page.evaluate("getComputedStyle(document.body).display")
        assert styled == "flex", "the manager has files of its own"
    finally:
        hub.start()
