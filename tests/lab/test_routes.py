"""Every route that the platform adds to a Jupyter server, asked by whoever must not be answered."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass

import httpx
import pytest

from canfar_spawner.local import environments
from tests.support.hub import ROOT
from tests.support.lab_server import LabServer

pytestmark = pytest.mark.environment("notebook")

TABLE = """
import json
from canfar_lab.preview import routes as previews
from canfar_lab.storage import routes as storage
from canfar_lab.storage.handler import StorageHandler
from canfar_lab.transfers import routes as transfers
from tornado.web import RequestHandler

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
found = []
for pattern, handler, *_ in [*storage.routes("/"), *transfers.routes("/"), *previews.routes("/")]:
    answered = [
        method for method in METHODS
        if getattr(handler, method.lower()) is not getattr(RequestHandler, method.lower())
    ]
    found.append([pattern, answered, issubclass(handler, StorageHandler), sorted(handler.visitors_may)])
print(json.dumps(found))
"""
"""What a server is given; the platform's part imports the server, which tests do not have."""
_SAMPLES = {
    r"([\w-]+)": "none",
    "([0-9a-f]{12})": "0123456789ab",
    "(pause|resume|cancel)": "cancel",
}


@dataclass(frozen=True)
class Listed:
    """One route, as the server is given it."""

    path: str
    methods: list[str]
    owned: bool
    """Whether it is of those that belong to the owner."""
    lent: list[str]
    """What a visitor may do whose share opens storage."""


@pytest.fixture(scope="module")
def table() -> list[Listed]:
    """Give all routes."""
    python = environments.location("notebook") / "bin" / "python"
    told = {**os.environ, "PYTHONPATH": str(ROOT / "labextension")}
    done = subprocess.run(
        [python, "-c", TABLE], env=told, capture_output=True, text=True, check=True
    )
    found = []
    for pattern, methods, owned, lent in json.loads(done.stdout):
        path = re.sub(r"\\(.)", r"\1", _filled(pattern))
        found.append(Listed(path.strip("/").removeprefix("canfar/"), methods, owned, lent))
    return found


def _filled(pattern: str) -> str:
    for group, sample in _SAMPLES.items():
        pattern = pattern.replace(group, sample)
    assert "(" not in pattern, f"a sample for {pattern} is missing above"
    return pattern


def test_every_route_is_the_owners_alone(table: list[Listed]) -> None:
    assert len(table) >= 15
    assert [route.path for route in table if not route.owned] == []
    assert [route.path for route in table if not route.methods] == []


def test_a_share_can_open_so_much_and_no_more(table: list[Listed]) -> None:
    assert {route.path: route.lent for route in table if route.lent} == {
        "storage/areas": ["GET"],
        "storage/list": ["GET"],
        "storage/entry": ["GET"],
        "storage/usage": ["GET"],
        # Searches and measures; a deletion is refused by what it is.
        "storage/tasks": ["POST"],
        "storage/tasks/none": ["DELETE", "GET"],
        "previews/fits": ["GET"],
        "previews/thumbnail": ["GET"],
        "previews/table": ["GET"],
    }


def test_nobody_is_answered_without_credentials(lab_server: LabServer, table: list[Listed]) -> None:
    asked = 0
    for route in table:
        path, methods = route.path, route.methods
        for method in methods:
            for headers in ({}, {"Authorization": "token wrong"}):
                # A connection of its own: one whose body was refused unread is closed.
                answer = httpx.request(
                    method,
                    f"{lab_server.url}/canfar/{path}?area=home&path=",
                    headers=headers,
                    content=b"{}",
                    timeout=60,
                )
                assert answer.status_code == 403, (method, path, answer.text)
                assert method == "HEAD" or set(answer.json()) == {"code", "message"}
                asked += 1
    assert asked >= 40


def test_another_method_is_refused_with_a_sentence(
    lab_server: LabServer, table: list[Listed]
) -> None:
    for route in table:
        path, methods = route.path, route.methods
        if "PATCH" not in methods:
            answer = lab_server.call("PATCH", path, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (405, "invalid"), path
