"""Signing in at a real OpenID provider, by script: who is let in, and what a launch is judged by."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from canfar_spawner.local import environments
from tests.support.hub import wait_for
from tests.support.openid import OpenIdHub, Provider, running_openid_hub, through_provider

Need = Callable[[str, bool, str], None]
ADA = {"preferred_username": "ada", "uid": 21001, "gid": 21001, "groups": ["demo", "survey"]}


@pytest.fixture(scope="module")
def running(
    data_directory: Path, probe_catalogue: Path, need: Need
) -> Iterator[tuple[OpenIdHub, Provider]]:
    how = "get it with: python3 -m canfar_spawner.local.build prepare openid"
    need("openid", environments.is_ready("openid"), how)
    catalogue = {"CANFAR_HUB_CATALOGUE": str(probe_catalogue)}
    with running_openid_hub(data_directory, **catalogue) as found:
        yield found


@pytest.fixture
def hub(running: tuple[OpenIdHub, Provider]) -> OpenIdHub:
    return running[0]


@pytest.fixture
def provider(running: tuple[OpenIdHub, Provider]) -> Provider:
    running[1].account("ada", **ADA)
    return running[1]


def page_of(hub: OpenIdHub, subject: str) -> httpx.Response:
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        return through_provider(hub, client, subject)


def plan_of(hub: OpenIdHub, session: str) -> Any:
    [(state,)] = hub.rows(f"select state from spawners where name = '{session}'")  # noqa: S608
    return json.loads(state)["canfar"]["plan"]


def test_a_launch_has_the_groups_that_are_claimed_now(hub: OpenIdHub, provider: Provider) -> None:
    ada = hub.sign_in("ada")
    assert ada.launch("signin01", container="probe").status_code in (201, 202)
    ada.wait_ready("signin01")
    identity = plan_of(hub, "signin01")["identity"]
    assert (identity["uid"], identity["projects"]) == (21001, ["demo", "survey"])

    provider.account("ada", groups=["survey"])
    answer = ada.launch("signin02", container="probe")
    assert answer.status_code in (201, 202), answer.text
    ada.wait_ready("signin02")
    assert plan_of(hub, "signin02")["identity"]["projects"] == ["survey"]
    refused = ada.launch("signin03", container="probe", projects=["demo"])
    assert refused.status_code == 400
    assert "demo" in refused.json()["message"]

    # A claim that breaks while somebody is signed in.
    provider.account("ada", uid="21001")
    refused = ada.launch("signin03", container="probe")
    assert refused.status_code == 400, refused.text
    assert "its uid is not a number" in refused.json()["message"]
    for session in ("signin01", "signin02"):
        ada.stop(session)
    wait_for(lambda: not hub.launches(), "everything to end")
    assert "Traceback" not in hub.log.read_text()


def test_who_is_gone_at_the_provider_launches_nothing(hub: OpenIdHub, provider: Provider) -> None:
    provider.account("eve", preferred_username="eve", uid=21009, gid=21009, groups=[])
    eve = hub.sign_in("eve")
    assert eve.launch("eveone01", container="probe").status_code in (201, 202)
    eve.wait_ready("eveone01")
    provider.remove("eve")
    for session in ("evetwo01", "evetwo02"):
        refused = eve.launch(session, container="probe")
        assert refused.status_code == 400, refused.text
        assert "Your sign-in is no longer valid" in refused.json()["message"]
    assert (eve.server("eveone01") or {})["ready"], "what runs is not ended by this"
    page = eve.launch_by_form("evetwo03", {"container": "probe"})
    assert page.status_code == 400
    assert "Your sign-in is no longer valid" in page.text
    eve.stop("eveone01")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Ada", "no name that can be used here"),
        ("root", "no name that can be used here"),
        ("../ada", "no name that can be used here"),
        (None, "no name that can be used here"),
        ("ada", "belongs to another account"),
    ],
)
def test_a_name_is_not_somebody_elses(
    hub: OpenIdHub, provider: Provider, name: str | None, sentence: str
) -> None:
    hub.sign_in("ada")
    provider.account("mallory", **{**ADA, "uid": 21066})
    provider.account("mallory", preferred_username=name)
    page = page_of(hub, "mallory")
    assert page.status_code == 403
    assert sentence in page.text
    kept = json.loads((hub.data / "hub" / "claims" / "ada.json").read_text())
    assert (kept["subject"], kept["claims"]["uid"]) == ("ada", 21001)
    provider.remove("mallory")


def test_a_deleted_user_gives_her_name_free(hub: OpenIdHub, provider: Provider) -> None:
    provider.account("old", preferred_username="sam", uid=21020, gid=21020, groups=[])
    assert page_of(hub, "old").status_code == 200
    provider.remove("old")
    provider.account("new", preferred_username="sam", uid=21021, gid=21021, groups=[])
    assert page_of(hub, "new").status_code == 403
    assert hub.sign_in("admin").api("DELETE", "/users/sam").status_code == 204
    assert page_of(hub, "new").status_code == 200
    provider.remove("new")


def test_groups_make_administrators(hub: OpenIdHub, provider: Provider) -> None:
    assert hub.sign_in("admin").api("GET", "/users").status_code == 200
    assert hub.sign_in("ada").api("GET", "/users").status_code == 403
    provider.account("admin", groups=[])
    assert hub.sign_in("admin").api("GET", "/users").status_code == 403
    provider.account("admin", groups=["operators"])


def test_no_token_is_kept_in_the_clear(hub: OpenIdHub, provider: Provider) -> None:
    hub.sign_in("ada")
    kept = hub.data / "hub" / "claims"
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    for path in [hub.log, *(hub.data / "hub").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert provider.secret.encode() not in content, path
            assert b"eyJhbGci" not in content, f"{path} has something like a token"
            assert not re.search(rb"(access|refresh)_token[\"']?\s*[:=]", content), path
            found = re.findall(rb"[^\n]*[?&]code=(?!\[secret\])[^\n]*", content)
            assert not found, found[0].decode()


def test_the_hub_goes_on_while_the_provider_is_away(hub: OpenIdHub, provider: Provider) -> None:
    ada = hub.sign_in("ada")
    assert ada.launch("aways001", container="probe").status_code in (201, 202)
    ada.wait_ready("aways001")
    provider.end()
    refused = ada.launch("aways002", container="probe")
    assert refused.status_code == 503, refused.text
    assert "The sign-in service does not answer" in refused.json()["message"]
    assert ada.client.get("/hub/home").status_code == 200
    hub.kill()
    hub.start()
    wait_for(lambda: (ada.server("aways001") or {}).get("ready"), "the session to be found again")
    assert "Going on with what it said before" in hub.log.read_text()
    # It comes back without its memory: what was granted before is not honoured any more.
    provider.start()

    def answered() -> httpx.Response | None:
        answer = ada.launch("aways003", container="probe")
        return None if answer.status_code == 503 else answer

    refused = wait_for(answered, "the provider to be asked again")
    assert refused.status_code == 400, refused.text
    assert "Your sign-in is no longer valid" in refused.json()["message"]
    again = hub.sign_in("ada")
    assert again.launch("aways004", container="probe").status_code in (201, 202)
    again.wait_ready("aways004")
    for session in ("aways001", "aways004"):
        again.stop(session)
