"""Signing in at a real OpenID provider, as a person does: the claims are who she is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from canfar_spawner.local import environments
from tests.browser.conftest import open_context
from tests.browser.test_first_session import in_terminal, launch, stop_from_home
from tests.support.openid import Provider, SignIn, running_openid_hub

pytestmark = pytest.mark.browser
Need = Callable[[str, bool, str], None]


@pytest.fixture(scope="module")
def running(
    data_directory: Path, requires: Callable[[str], None], need: Need
) -> Iterator[tuple[SignIn, Provider]]:
    requires("astroml")
    how = "get it with: python3 -m canfar_spawner.local.build prepare openid"
    need("openid", environments.is_ready("openid"), how)
    with running_openid_hub(data_directory) as found:
        yield found


def sign_in(page: Page, hub: SignIn, account: str) -> None:
    page.goto(f"{hub.public}/")
    page.get_by_role("link", name="Sign in with the test institute").click()
    page.get_by_label("Account").fill(account)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/hub/home")


def told(page: Page, hub: SignIn, session: str) -> tuple[str, str]:
    """Give what ``id`` says in a session, and which projects are there."""
    base = f"{hub.public}/user/ada/{session}/"
    page.goto(f"{base}lab?reset")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible()
    seen = in_terminal(page, base, 'echo "ids=$(id)"; echo projects=$(ls /arc/projects)')
    ids = re.findall(r"ids=(uid=[^\r\n]*)", seen)
    projects = re.findall(r"projects=([a-z ]*)\r?\n", seen)
    assert ids, seen
    assert projects, seen
    return ids[-1], projects[-1]


def test_claims_are_who_somebody_is_at_each_launch(
    running: tuple[SignIn, Provider], page: Page
) -> None:
    hub, provider = running
    claims = {"preferred_username": "ada", "uid": 21001, "gid": 21001}
    provider.account("ada", **claims, groups=["demo", "survey", "/of/no/meaning"])
    sign_in(page, hub, "ada")
    session = launch(page, hub)
    ids, projects = told(page, hub, session)
    assert projects == "demo survey"
    assert "uid=21001(ada) gid=21001(g21001)" in ids
    assert set(re.findall(r"\d+(?=\(\w+\)(?:,|$))", ids.partition("groups=")[2])) == {
        "21001",
        "30001",
        "30002",
    }
    stop_from_home(page, hub, session)

    # She is taken out of demo while she fills in the form, which still has it.
    page.goto(f"{hub.public}/hub/spawn")
    provider.account("ada", groups=["survey"])
    page.get_by_role("radio", name="AstroML").check(force=True)
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="demo")).to_be_visible()
    assert not hub.launches()
    session = launch(page, hub)
    ids, projects = told(page, hub, session)
    assert projects == "survey"
    assert "30002(survey)" in ids
    assert "demo" not in ids
    assert "30001" not in ids
    stop_from_home(page, hub, session)


def test_without_a_uid_nothing_is_launched(
    running: tuple[SignIn, Provider], chromium: Browser
) -> None:
    hub, provider = running
    provider.account("ben", preferred_username="ben", gid=21002, groups=["survey"])
    context = open_context(chromium)
    page = context.new_page()
    sign_in(page, hub, "ben")
    sentence = "gives no uid (claim uid)"
    expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    expect(page.get_by_role("link", name="Launch a session")).to_have_count(0)

    page.goto(f"{hub.public}/hub/spawn")
    expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    page.get_by_role("radio", name="AstroML").check(force=True)
    with page.expect_response(re.compile(r"/hub/spawn/ben/")) as answered:
        page.get_by_role("button", name="Launch", exact=True).click()
    assert answered.value.status == 400
    expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    assert not hub.launches()
    assert hub.rows("select * from spawners where name != ''") == []
    assert "Traceback" not in hub.log.read_text()
    context.close()
