"""The texts for the public client: what a shell, YAML and Python make of them."""

from __future__ import annotations

import ast
import shlex
from datetime import UTC, datetime
from pathlib import Path

import yaml

from canfar_spawner.core.authority import Action, authority
from canfar_spawner.core.client_setup import (
    PLACEHOLDER,
    REQUIREMENTS,
    ClientSetup,
    client_scopes,
    client_setup,
)

ROOT = Path(__file__).parents[2]
BASE = "https://hub.example.org/services/sessions"
IMAGE = "registry.example.org/canfar-hub/astroml:26.11"


def setup(**changes: object) -> ClientSetup:
    return client_setup(**{"service_url": BASE, "image": IMAGE, **changes})  # type: ignore[arg-type]


def test_a_shell_reads_the_lines_as_they_are_meant() -> None:
    texts = setup(token="abc")
    assert shlex.split(texts.install) == ["pip", "install", *REQUIREMENTS]
    assert [shlex.split(line) for line in texts.variables.splitlines()] == [
        ["export", f"CANFAR_URL={BASE}/v1"],
        ["export", "CANFAR_TOKEN=abc"],
    ]
    assert shlex.split(texts.create)[-4:] == [IMAGE, "--", "printenv", "REPLICA_ID"]


def test_the_file_names_the_server_without_its_version() -> None:
    expires = datetime(2026, 12, 1, tzinfo=UTC)
    found = yaml.safe_load(setup(token='a"b', expires=expires).config)
    record = found["authentication"]["srcnet"]
    assert record["token"] == {"access": 'a"b'}
    assert record["expiry"] == {"access": expires.timestamp()}
    server = found["servers"][found["active"]["server"]]
    assert (server["url"], server["version"]) == (BASE, "v1")


def test_an_address_may_end_in_a_slash() -> None:
    assert setup(service_url=f"{BASE}/") == setup()


def test_python_is_python() -> None:
    tree = ast.parse(setup().python)
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {IMAGE, "headless"} <= words


def test_the_workflow_takes_the_token_from_a_secret() -> None:
    text = setup(token="abc").workflow
    assert "abc" not in text
    job = yaml.safe_load(text)["jobs"]["submit"]
    assert job["env"] == {
        "CANFAR_URL": f"{BASE}/v1",
        "CANFAR_TOKEN": "${{ secrets.CANFAR_TOKEN }}",
    }
    assert job["steps"][0] == {"run": setup().install}


def test_without_a_token_every_text_that_needs_one_says_so() -> None:
    texts = setup()
    needing = {name for name, text in texts.model_dump().items() if PLACEHOLDER in text}
    assert needing == {"variables", "config"}


def test_the_users_page_has_the_texts_word_by_word() -> None:
    page = (ROOT / "docs" / "user" / "client.md").read_text()
    local = setup(service_url="http://127.0.0.1:8000/services/sessions")
    for name, text in local.model_dump().items():
        assert f"```\n{text.rstrip()}\n```" in page, name


def test_the_scopes_create_see_and_stop_for_one_user_alone() -> None:
    # The hub expands !user to the token's own user.
    held = [scope.replace("!user", "!user=ada") for scope in client_scopes()]
    mine = authority(held, owner="ada", session=None)
    assert {Action.CREATE, Action.SEE, Action.STOP, Action.EXTEND} <= mine.actions
    assert not authority(held, owner="ben", session=None).actions
