"""Everybody who may call the session manager, each with a token that is really theirs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from canfar_spawner.core.client_setup import client_scopes
from tests.support.hub import ROOT, Hub, Visitor, running_hub, wait_for
from tests.support.v1 import V1

ABSENT = "zzzzzzz9"
"""A session that there is not."""
CALLERS = (
    "nobody",
    "garbage",
    "expired",
    "revoked",
    "read-only",
    "stranger",
    "service",
    "session's own",
    "visitor",
    "administrator",
    "client of the owner",
    "owner",
)
"""From those who may do least; so what the last may end is there for all before."""


def users_with_a_third(path: Path) -> Path:
    """Write the demo users and one more of the same project."""
    content = yaml.safe_load((ROOT / "hub_config" / "users.yaml").read_text())
    content["users"]["cyd"] = {"uid": 20004, "groups": ["survey"]}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@contextlib.contextmanager
def crowded_hub(data: Path, catalogue: Path, place: Path) -> Iterator[Hub]:
    """Run a hub with a user who is nobody's guest."""
    environ = {
        "CANFAR_HUB_CATALOGUE": str(catalogue),
        "CANFAR_HUB_USERS": str(users_with_a_third(place / "users.yaml")),
    }
    with running_hub(data, environ=environ) as hub:
        yield hub


@dataclass
class Crowd:
    """A session of ada's, and everybody's way to it."""

    hub: Hub
    ada: Visitor
    ben: Visitor
    cyd: Visitor
    admin: Visitor
    session: str = ""
    tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def gather(cls, hub: Hub) -> Crowd:
        """Sign everybody in, start the session, share it and make the tokens."""
        people = {name: hub.sign_in(name) for name in ("ada", "ben", "cyd", "admin")}
        found = cls(hub, **people)
        owner = V1.of(found.ada)
        found.session = owner.created(type="notebook", name="matrix")
        owner.wait(found.session, "Running")
        expired = _token(found.ada, expires_in=1)
        revoked = _token(found.ada)
        path = f"/users/ada/tokens/{revoked['id']}"
        assert found.ada.api("DELETE", path).status_code == 204
        launch = hub.launches()[found.session]
        spec = json.loads((launch / "spec.json").read_text())
        reading = ["access:services!service=sessions", "read:users!user"]
        found.tokens = {
            "nobody": "",
            "garbage": "0" * 32,
            "expired": expired["token"],
            "revoked": revoked["token"],
            "read-only": _token(found.ada, scopes=reading)["token"],
            "stranger": found.cyd.token,
            "service": (hub.data / "hub" / "sessions_token").read_text().strip(),
            "session's own": spec["env"]["JUPYTERHUB_API_TOKEN"],
            "visitor": found.ben.token,
            "administrator": found.admin.token,
            "client of the owner": _token(found.ada, scopes=list(client_scopes()))["token"],
            "owner": found.ada.token,
        }
        assert tuple(found.tokens) == CALLERS
        for name in ("expired", "revoked"):
            wait_for(
                lambda name=name: found.v1(name).call("GET", "/v1/session").status_code == 401,
                f"the {name} token to be refused",
                seconds=20,
            )
        found.invite()
        return found

    def v1(self, caller: str) -> V1:
        """Call as somebody."""
        return V1(self.hub, self.tokens[caller])

    def invite(self) -> None:
        """Let ben in, until he is."""
        path = f"/v1/session/{self.session}"
        visitor = V1.of(self.ben)
        if visitor.call("GET", path).status_code == 200:
            return
        answer = V1.of(self.ada).call("POST", f"{path}/shares", json={"user": "ben"})
        assert answer.status_code in (200, 201), answer.text
        wait_for(
            lambda: visitor.call("GET", path).status_code == 200, "ben to be a visitor", seconds=20
        )


def _token(visitor: Visitor, **request: Any) -> dict[str, Any]:
    answer = visitor.api("POST", f"/users/{visitor.name}/tokens", json=request)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@dataclass(frozen=True)
class Route:
    """One address and method of the document."""

    method: str
    path: str

    @property
    def title(self) -> str:
        """What it is called in the table."""
        return f"{self.method} {self.path}"

    @property
    def of_a_session(self) -> bool:
        """Whether it is about one session."""
        return bool(re.search(r"/(session|shared|history)/\{", self.path))


def routes(document: dict[str, Any]) -> list[Route]:
    """Read the routes of the OpenAPI document; what ends something comes last."""
    found = [
        Route(method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method in ("get", "post", "put", "patch", "delete", "head")
    ]
    return sorted(found, key=lambda route: (route.method == "DELETE", route.path, route.method))


BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/session": {
        "params": {
            "name": "matrix",
            "image": "registry.example.org/canfar-hub/probe:1",
            "type": "headless",
            "cmd": "true",
        }
    },
    "POST /v1/session/{}": {"params": {"action": "renew"}},
    "PATCH /v1/session/{}": {"json": {"name": "matrix"}},
    "POST /v1/session/{}/shares": {"json": {"user": "ben"}},
    "POST /v1/links": {"json": {"code": "no-such-code"}},
    "POST /v1/heartbeat": {"json": {}},
    "POST /v1/events": {
        "json": {"epoch": "", "cursor": 0, "events": [], "identities": [], "complete": False}
    },
}
"""What is sent where an empty request would say nothing about rights."""

Cell = list[int | str]


def ask(crowd: Crowd, route: Route, caller: str, session: str) -> tuple[int, str]:
    """Send one request of the table; gives the status and the text."""
    path = re.sub(r"\{owner\}", "ada", route.path)
    path = re.sub(r"\{id\}", session, path)
    path = re.sub(r"\{[a-z_]+\}", "999999", path)
    key = f"{route.method} {re.sub(r'{[a-z_]+}', '{}', route.path)}"
    answer = crowd.v1(caller).call(
        route.method, path, follow_redirects=False, **BODIES.get(key, {})
    )
    text = answer.text.replace(session, "SESSION")
    return answer.status_code, text


def row(crowd: Crowd, route: Route) -> dict[str, Cell]:
    """Ask everybody's question of one route: about ada's session, and about one that is none.

    Where somebody may not know that the session is there, both answers must be the same, byte for
    byte; the table then says ``same``.
    """
    found: dict[str, Cell] = {}
    ends = route.method == "DELETE" and route.path.endswith("{id}")
    for caller in CALLERS:
        crowd.invite()
        target = crowd.session
        mighty = caller in ("administrator", "client of the owner", "owner")
        if ends and mighty and not route.path.startswith("/v1/shared"):
            # Something to end, so that the session of the table is there for the next.
            target = V1.of(crowd.ada).created(name="ended", cmd="sleep", args="600")
        status, text = ask(crowd, route, caller, target)
        if not route.of_a_session:
            found[caller] = [status]
            continue
        nothing, other = ask(crowd, route, caller, ABSENT)
        found[caller] = [status, nothing]
        if (status, text) == (nothing, other):
            found[caller].append("same")
    return found


def matrix(crowd: Crowd) -> dict[str, dict[str, Cell]]:
    """Ask everything of everybody."""
    document = crowd.v1("owner").call("GET", "/v1/openapi.json").json()
    return {route.title: row(crowd, route) for route in routes(document)}
