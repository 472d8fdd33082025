"""Cookies of an application: they stay in its session, in both origin models."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gated, ok, say
from tests.support.guest import enter_page

pytestmark = [pytest.mark.environment("proxy"), pytest.mark.usefixtures("unharmed")]

HUBS_COOKIES = (
    "jupyterhub-session-id",
    "jupyterhub-hub-login",
    "_xsrf",
    "jupyterhub-user-ada-{session}",
    "jupyterhub-user-ada-{session}-oauth-state",
    "jupyterhub-services",
    "__Host-_xsrf",
    "JUPYTERHUB-session-id",
)
ATTRIBUTES = (
    "",
    "; Path=/",
    "; Path=/hub/",
    "; Path=/user/cyd/other/",
    "; path = /hub",
    "; Path=/; Path=/hub/",
    "; Domain=hub.localhost",
    "; Domain=.127.0.0.1; Path=/",
    "; Path=/\\thub",
)


def test_cookies_of_an_application_stay_in_its_session(behind: Gated) -> None:
    """Whatever it sets: no page of the hub or of another session is sent it, and none is lost."""
    ada = behind.owner
    enter_page(ada, f"{behind.origin}{behind.prefix}echo")

    def of_others() -> set[tuple[object, ...]]:
        return {
            (each.domain, each.path, each.name, each.value)
            for each in ada.client.cookies.jar
            if not each.path.startswith(behind.prefix) or "jupyterhub" in each.name
        }

    before = of_others()
    names = [name.format(session=behind.session) for name in HUBS_COOKIES]
    lines = [f"Set-Cookie: {name}=evil{rest}" for name in ("own", *names) for rest in ATTRIBUTES]
    answer = ada.client.get(f"{behind.origin}{behind.prefix}{say(ok(*lines))}")
    assert answer.text == "body"
    for line in answer.headers.get_list("Set-Cookie"):
        attributes = [each.strip().lower() for each in line.split(";")[1:]]
        assert not [each for each in attributes if each.startswith("domain")], line
        paths = [each for each in attributes if each.startswith("path")]
        assert paths
        assert all(each.startswith(f"path={behind.prefix}") for each in paths), line
        # An application may have an `_xsrf` of its own, as Jupyter has, below its own address.
        assert line.startswith(("own=", "_xsrf=")), line
    assert of_others() == before
    assert ada.client.get("/hub/home").url.path == "/hub/home"
    assert ada.client.get(f"{behind.origin}{behind.prefix}echo").status_code == 200
