"""Calls of the session manager about sharing, as a script or a panel makes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.support.hub import DEADLINE, Visitor, wait_for


def manager(
    visitor: Visitor, method: str, path: str, *, token: str = "", **arguments: Any
) -> httpx.Response:
    """Call the session manager's API, with somebody's token or another."""
    hub = visitor.hub
    # With origins of users' own the service has one too, which Python does not find.
    base = f"{hub.url}/services/sessions" if hub.host == "127.0.0.1" else hub.sessions_url()
    return httpx.request(
        method,
        f"{base}/v1/{path}",
        headers={"Authorization": f"Bearer {token or visitor.token}"},
        timeout=DEADLINE,
        **arguments,
    )


def share(visitor: Visitor, session: str, **what: Any) -> dict[str, Any]:
    """Share a session: ``user``, ``group`` or ``link``, and ``until``."""
    answer = manager(visitor, "POST", f"session/{session}/shares", json=what)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def revoke(visitor: Visitor, session: str, share_id: str = "") -> None:
    """Revoke one share, or all."""
    path = f"session/{session}/shares" + (f"/{share_id}" if share_id else "")
    answer = manager(visitor, "DELETE", path)
    assert answer.status_code == 204, answer.text


def shares(visitor: Visitor, session: str) -> list[dict[str, Any]]:
    """List the shares of a session."""
    answer = manager(visitor, "GET", f"session/{session}/shares")
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def visitors(visitor: Visitor, session: str) -> dict[str, dict[str, Any]]:
    """Give everybody who may enter, or is in, by name."""
    answer = manager(visitor, "GET", f"session/{session}/visitors")
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()}


def deeds(visitor: Visitor, session: str) -> list[tuple[str, str]]:
    """Give what happened, and to whom."""
    answer = manager(visitor, "GET", f"session/{session}/audit")
    assert answer.status_code == 200, answer.text
    return [(each["deed"], each["whom"] or each["by"]) for each in answer.json()]


def shared_with_me(visitor: Visitor) -> dict[str, dict[str, Any]]:
    """Give what others share with somebody, by session."""
    answer = manager(visitor, "GET", "shared")
    assert answer.status_code == 200, answer.text
    return {each["session"]: each for each in answer.json()}


def code_of(link: str) -> str:
    """Give the code in a link."""
    return parse_qs(urlsplit(link).query)["code"][0]


def accept(visitor: Visitor, code: str, *, token: str = "") -> httpx.Response:
    """Take up a link."""
    return manager(visitor, "POST", "links", token=token, json={"code": code})


def wait_here(visitor: Visitor, session: str, name: str) -> None:
    """Wait until somebody is listed as in the session now."""
    wait_for(
        lambda: visitors(visitor, session).get(name, {}).get("here"),
        f"{name} to be listed as in {session}",
    )
