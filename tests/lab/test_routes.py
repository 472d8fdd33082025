"""Every route that the platform adds to a Jupyter server, asked by whoever must not be answered."""

from __future__ import annotations

import json
import os
import re
import subprocess

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
    found.append([pattern, answered, issubclass(handler, StorageHandler)])
print(json.dumps(found))
"""
"""What a server is given; the platform's part imports the server, which tests do not have."""
_SAMPLES = {
    r"([\w-]+)": "none",
    "([0-9a-f]{12})": "0123456789ab",
    "(pause|resume|cancel)": "cancel",
}


@pytest.fixture(scope="module")
def table() -> list[tuple[str, list[str], bool]]:
    """Give path, methods, and whether it is of those that belong to the owner."""
    python = environments.location("notebook") / "bin" / "python"
    told = {**os.environ, "PYTHONPATH": str(ROOT / "labextension")}
    done = subprocess.run(
        [python, "-c", TABLE], env=told, capture_output=True, text=True, check=True
    )
    found = []
    for pattern, methods, owned in json.loads(done.stdout):
        path = re.sub(r"\\(.)", r"\1", _filled(pattern))
        found.append((path.strip("/").removeprefix("canfar/"), methods, owned))
    return found


def _filled(pattern: str) -> str:
    for group, sample in _SAMPLES.items():
        pattern = pattern.replace(group, sample)
    assert "(" not in pattern, f"a sample for {pattern} is missing above"
    return pattern


def test_every_route_is_the_owners_alone(table: list[tuple[str, list[str], bool]]) -> None:
    assert len(table) >= 15
    assert [path for path, _, owned in table if not owned] == []
    assert [path for path, methods, _ in table if not methods] == []


def test_nobody_is_answered_without_credentials(
    lab_server: LabServer, table: list[tuple[str, list[str], bool]]
) -> None:
    asked = 0
    for path, methods, _ in table:
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
    lab_server: LabServer, table: list[tuple[str, list[str], bool]]
) -> None:
    for path, methods, _ in table:
        if "PATCH" not in methods:
            answer = lab_server.call("PATCH", path, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (405, "invalid"), path
