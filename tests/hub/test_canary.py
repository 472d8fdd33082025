"""The canary itself: it finds a secret in every place where none may be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.canary import Canary
from tests.support.hub import Hub

TOKEN = "token-of-a-session-4711"


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    data = tmp_path / "data"
    launch = data / "run" / "abcdefgh-000000000000"
    launch.mkdir(parents=True)
    (data / "hub").mkdir()
    found = Canary(Hub(data))
    found.hub.log.write_text(f"Sign in as ada; the password is {found.hub.password}\n")
    spec = launch / "spec.json"
    spec.write_text(json.dumps({"env": {"JUPYTERHUB_API_TOKEN": TOKEN, "CANARY": found.env}}))
    spec.chmod(0o600)
    password = data / "hub" / "password"
    password.write_text(found.hub.password)
    password.chmod(0o600)
    answer(found, b"nothing")
    return found


def answer(canary: Canary, content: bytes, sent: bytes = b"", kind: str = "text/html") -> None:
    request = httpx.Request("POST", "http://127.0.0.1/hub/spawn", content=sent)
    canary.note(
        httpx.Response(200, content=content, headers={"Content-Type": kind}, request=request)
    )


def test_it_is_silent_where_all_is_well(canary: Canary) -> None:
    canary.sweep()
    answer(canary, f"<textarea>CANARY={canary.env}".encode(), f"env={canary.env}".encode())
    canary.sweep()


def _file(name: str) -> Callable[[Canary, str], None]:
    def write(canary: Canary, secret: str) -> None:
        with (canary.hub.data / name).open("ab") as file:
            file.write(b"\x00\xff" + secret.encode() + b"\x00")

    return write


LEAKS: dict[str, Callable[[Canary, str], None]] = {
    "log": _file("../data.log"),
    "database": _file("hub/jupyterhub.sqlite"),
    "journal": _file("hub/jupyterhub.sqlite-wal"),
    "outbox": _file("hub/outbox.jsonl"),
    "state": _file("run/abcdefgh-000000000000/state.json"),
    "session log": _file("run/abcdefgh-000000000000/session.log"),
    "page": lambda canary, secret: answer(canary, secret.encode()),
    "answer": lambda canary, secret: answer(
        canary, secret.encode(), secret.encode(), "application/json"
    ),
}


@pytest.mark.parametrize("secret", ["env", "registry", "password", "token"])
@pytest.mark.parametrize("leak", LEAKS)
def test_it_finds(canary: Canary, leak: str, secret: str) -> None:
    secrets = {"password": canary.hub.password, "token": TOKEN}
    LEAKS[leak](canary, secrets.get(secret) or getattr(canary, secret))
    with pytest.raises(AssertionError, match="secrets where none may be"):
        canary.sweep()


def test_it_finds_arguments_of_processes(canary: Canary) -> None:
    program = [sys.executable, "-c", "print(flush=True); input()", canary.env]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Until it says something, the kernel may still be setting its arguments up.
        process.stdout.readline()
        with pytest.raises(AssertionError, match="the arguments of"):
            canary.sweep()
        process.stdin.write(b"\n")
    canary.sweep()


@pytest.mark.parametrize("name", ["hub/password", "run/abcdefgh-000000000000/spec.json"])
def test_it_finds_files_open_to_others(canary: Canary, name: str) -> None:
    (canary.hub.data / name).chmod(0o640)
    with pytest.raises(AssertionError, match="has mode 640"):
        canary.sweep()
