"""``canfar-hub client-config``: what it makes, what it may do, what it leaves where."""

from __future__ import annotations

import io
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from canfar_spawner.cli.main import main
from tests.support.hub import ROOT, Hub, Visitor

CANFAR_HUB = Path(sys.executable).parent / "canfar-hub"
pytestmark = pytest.mark.environment("proxy")
LASTING = True


def client_config(
    hub: Hub, home: Path, *arguments: str, given: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CANFAR_HUB), "client-config", *arguments],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "CANFAR_HUB_DATA": str(hub.data),
            "CANFAR_HUB_PORT": str(hub.port),
            **environ,
        },
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def token_in(text: str) -> str:
    found = re.search(r"CANFAR_TOKEN=(\S+)", text)
    assert found, text
    return found[1]


def said(hub: Hub, token: str, path: str = "/user") -> httpx.Response:
    return httpx.get(f"{hub.url}/hub/api{path}", headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def test_the_password_of_this_machine_makes_a_token_that_ends(hub: Hub, home: Path) -> None:
    done = client_config(hub, home, "--user", "ben", "--days", "7")
    assert done.returncode == 0, done.stderr
    token = token_in(done.stdout)
    model: dict[str, Any] = said(hub, token).json()
    assert model["name"] == "ben"
    kept = {scope for scope in model["scopes"] if not scope.startswith("read:users:name")}
    assert {
        "access:services!service=sessions",
        "custom:canfar:session!user=ben",
        "start:servers!user=ben",
    } <= kept
    for forbidden in ("self", "tokens!user=ben", "delete:servers!user=ben", "servers!user=ben"):
        assert forbidden not in kept
    (row,) = hub.rows(
        "SELECT expires_at, created FROM api_tokens WHERE note = 'canfar-hub client-config'"
    )
    assert row[0] is not None
    assert row[0][:10] > row[1][:10]
    # It cannot make another token, nor read what is not its own.
    for path in ("/users/ben/tokens", "/users", "/users/ada"):
        assert said(hub, token, path).status_code in (403, 404), path


def test_a_token_makes_another_from_the_environment_or_standard_input(
    hub: Hub, ada: Visitor, home: Path
) -> None:
    by_variable = client_config(
        hub, home, "--hub", hub.url, given="", JUPYTERHUB_API_TOKEN=ada.token
    )
    by_input = client_config(hub, home, "--hub", f"{hub.url}/hub/", given=f"{ada.token}\n")
    for done in (by_variable, by_input):
        assert done.returncode == 0, done.stderr
        token = token_in(done.stdout)
        assert token != ada.token
        assert said(hub, token).json()["name"] == "ada"


def test_the_file_is_for_its_owner_alone_and_the_one_before_is_kept(hub: Hub, home: Path) -> None:
    path = home / ".canfar" / "config.yaml"
    path.parent.mkdir()
    path.write_text("mine\n")
    done = client_config(hub, home, "--user", "ada", "--write")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = yaml.safe_load(path.read_text())
    token = written["authentication"]["srcnet"]["token"]["access"]
    assert said(hub, token).json()["name"] == "ada"
    assert token not in done.stdout + done.stderr, "it is in the file, and nowhere else"
    assert path.with_name("config.yaml.bak").read_text() == "mine\n"
    again = client_config(hub, home, "--user", "ada", "--write")
    assert again.returncode == 0
    kept = path.with_name("config.yaml.bak1")
    assert yaml.safe_load(kept.read_text()) == written
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_no_token_is_in_the_hubs_log(hub: Hub, home: Path) -> None:
    token = token_in(client_config(hub, home, "--user", "ada").stdout)
    assert token not in hub.log.read_text()
    assert hub.log.read_text().count(hub.password) == 1, "its start says it, nothing else"


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (("--days", "0", "--user", "ada"), {}, "from 1 to 365 days; you asked for 0"),
        (("--days", "366", "--user", "ada"), {}, "from 1 to 365 days; you asked for 366"),
        ((), {}, "Say for whom: --user ada."),
        (("--user", "nobody"), {}, "The hub refused"),
        (("--hub", "ftp://hub"), {}, "is not the address of a hub"),
        (("--hub", "http://127.0.0.1:9"), {"JUPYTERHUB_API_TOKEN": "x"}, "No hub answers at"),
        (("--user", "ada"), {"CANFAR_HUB_DATA": "/nonexistent"}, "nothing to ask the hub with"),
        (("--user", "ada"), {"JUPYTERHUB_API_TOKEN": "wrong"}, "The hub refused"),
        (("--user", "ada"), {"CANFAR_HUB_PORT": "80a"}, "CANFAR_HUB_PORT must be"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    hub: Hub,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    environ: dict[str, str],
    words: str,
) -> None:
    """The same command, in this process: nine more of their own would say nothing else."""
    given = {"HOME": str(home), "CANFAR_HUB_DATA": str(hub.data), "CANFAR_HUB_PORT": str(hub.port)}
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    for name, value in {**given, **environ}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["client-config", *arguments, "--write"]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert not (home / ".canfar").exists(), "nothing was written"


def test_nobody_makes_a_token_for_somebody_else(hub: Hub, ben: Visitor, home: Path) -> None:
    done = client_config(hub, home, "--user", "ada", JUPYTERHUB_API_TOKEN=ben.token)
    assert done.returncode == 2
    assert "may not make tokens for this user" in done.stderr
