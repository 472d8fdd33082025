"""Sessions behind the gateway on one machine: a real hub, real gateways, real programs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from canfar_spawner.local.processes import Process, look_at_all
from canfar_spawner.local.state import LaunchState, read_state
from tests.conftest import PROBE
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.launch import NOBODY, alive

SOCKET, PORT = "sockete1", "ported01"
RUNNING = (SOCKET, "sockete2", PORT)
ENDED = "Recently ended"
_CONNECT = """
import socket, sys
trial = socket.socket(socket.AF_UNIX)
try:
    trial.connect(sys.argv[1])
except OSError as error:
    sys.exit(type(error).__name__)
"""


def words(page: str) -> str:
    """Give what a person reads of a part of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.fixture(scope="module")
def catalogue(probe_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the catalogue with programs that know nothing of a hub."""
    content = yaml.safe_load(probe_catalogue.read_text())
    commands = {
        "socketed": ["python3", "-c", PROBE.read_text(), "{socket}"],
        "ported": ["python3", "-c", PROBE.read_text(), "{port}"],
        "failing": ["sh", "-c", "echo last words; exit 7", "{socket}"],
    }
    for name, command in commands.items():
        content["catalogue"]["containers"].append(
            {
                "name": name,
                "description": "A program with a web page.",
                "kinds": ["contributed"],
                "image": f"canfar-hub/{name}",
                "versions": [{"name": "1"}],
                "local": {"command": command},
            }
        )
    path = tmp_path_factory.mktemp("site") / "catalogue.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def running(hub: Hub, ada: Visitor) -> Iterator[dict[str, Path]]:
    """Start two sessions of one container and one of another."""
    containers = dict(zip(RUNNING, ("socketed", "socketed", "ported"), strict=True))
    for session, container in containers.items():
        answer = ada.launch(session, container=container)
        assert answer.status_code in (201, 202), answer.text
    for session in containers:
        ada.wait_ready(session)
    yield hub.launches()
    for session in hub.launches():
        ada.stop(session)


def ask(visitor: Visitor, session: str, path: str = "") -> httpx.Response:
    """Ask a session as a script does."""
    return httpx.get(
        f"{visitor.hub.url}/user/{visitor.name}/{session}/{path}",
        headers={"Authorization": f"Bearer {visitor.token}"},
        timeout=30,
    )


def told(visitor: Visitor, session: str, path: str = "") -> dict[str, Any]:
    """Give what the program of a session says of a request."""
    answer = ask(visitor, session, path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def state_of(launch: Path) -> LaunchState:
    found = read_state(launch)
    assert found is not None
    return found


def gateway_of(launch: Path) -> Process:
    found = state_of(launch).gateway
    assert found is not None
    return found


def beneath(pid: int) -> set[int]:
    """Give a process and all that descend from it."""
    seen = look_at_all()
    found, fresh = set[int](), {pid}
    while fresh:
        found |= fresh
        fresh = {each for each, look in seen.items() if look.parent in fresh} - found
    return found


def ports_of(launch: Path) -> list[int]:
    """Give the ports on which anything of a launch listens."""
    mine = beneath(state_of(launch).supervisor_pid)
    shown = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    return [
        int(line.split()[3].rpartition(":")[2])
        for line in shown.splitlines()
        if any(f"pid={pid}," in line for pid in mine)
    ]


def test_they_run_side_by_side_and_know_nothing_of_the_hub(
    ada: Visitor, ben: Visitor, running: dict[str, Path]
) -> None:
    for session in RUNNING:
        seen = told(ada, session, "page?word=a")
        assert (seen["session"], seen["path"]) == (session, "/page?word=a")
        assert "CANFAR_PROJECTS_DIR" in seen["names"]
        assert [name for name in seen["names"] if "HUB" in name or "GATEWAY" in name] == []
        assert "Authorization" not in seen["heard"]
        assert ask(ben, session).status_code in (302, 403), "to the hub's door, or nowhere"
        order = json.loads((running[session] / "spec.json").read_text())
        token = order["gateway"]["env"]["JUPYTERHUB_API_TOKEN"]
        assert token not in json.dumps({**order, "gateway": None})


def test_only_the_gateway_listens_where_a_program_takes_a_socket(
    running: dict[str, Path], need: Callable[[str, bool, str], None]
) -> None:
    assert ports_of(running[SOCKET]) == [state_of(running[SOCKET]).port]
    ports = ports_of(running[PORT])
    assert len(ports) == 2
    assert state_of(running[PORT]).port in ports
    path = running[SOCKET] / "session" / "gateway" / "app.sock"
    assert path.is_socket()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    log = running[SOCKET] / "gateway.log"
    assert (log.stat().st_mode & 0o777, log.stat().st_uid) == (0o600, os.geteuid())
    need("isolation", os.geteuid() == 0, "run these tests as root to cover other users")

    def connect(user: int | None) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _CONNECT, str(path)]
            if user is None
            else ["/usr/bin/python3", "-c", _CONNECT, str(path)],
            user=user,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr.strip()

    assert connect(None) == "", "it is there"
    assert connect(NOBODY) == "PermissionError"


def test_a_port_is_told_on_the_cards(ada: Visitor, running: dict[str, Path]) -> None:
    assert running
    notice = "listens on a port of this machine"
    form = ada.client.get("/hub/spawn").text.partition('id="found"')[0]
    cards = {part.partition('"')[0]: part for part in form.split('data-container="')[1:]}
    assert [name for name, card in cards.items() if notice in card] == ["ported"]
    home = ada.client.get("/hub/home").text.split('id="session-')
    assert [part[: len(PORT)] for part in home if notice in part] == [f"{PORT}"]


def test_a_killed_gateway_comes_back_alone(ada: Visitor, running: dict[str, Path]) -> None:
    launch = running[SOCKET]
    before, program = gateway_of(launch), state_of(launch).program
    os.kill(before.pid, signal.SIGKILL)

    def back() -> bool:
        return gateway_of(launch) != before and ask(ada, SOCKET).status_code == 200

    wait_for(back, "the session to answer again")
    assert state_of(launch).program == program
    assert told(ada, SOCKET)["session"] == SOCKET


def test_they_outlive_the_hub_and_its_database(
    hub: Hub, ada: Visitor, running: dict[str, Path]
) -> None:
    before = {each: (gateway_of(path), state_of(path).program) for each, path in running.items()}
    hub.kill()
    hub.start()
    for session in RUNNING:
        ada.wait_ready(session)
        assert told(ada, session)["session"] == session
    hub.kill()
    for path in (hub.data / "hub").glob("jupyterhub.sqlite*"):
        path.unlink()
    hub.start()
    # Its tokens went with the database, so she signs in anew.
    again = hub.sign_in("ada")
    ada.client, ada.token = again.client, again.token
    for session in RUNNING:
        wait_for(lambda session=session: (ada.server(session) or {}).get("ready"), session)
        wait_for(lambda session=session: ask(ada, session).status_code == 200, session)
    after = {each: (gateway_of(path), state_of(path).program) for each, path in running.items()}
    assert after == before, "nothing was started again"


def test_a_killed_program_ends_its_session_with_its_exit_code(
    hub: Hub, ada: Visitor, running: dict[str, Path]
) -> None:
    launch = running["sockete2"]
    program, gateway = state_of(launch).program, gateway_of(launch)
    assert program is not None
    [inner] = [pid for pid in beneath(program.pid) if not beneath(pid) - {pid}]
    os.kill(inner, signal.SIGKILL)
    wait_for(lambda: "sockete2" not in hub.launches(), "the session to end")
    assert not alive(gateway.pid)
    # JupyterHub looks every half minute, and when a session is asked for once more.
    ada.launch("sockete2", container="socketed")
    ended = wait_for(lambda: ada.home().partition(ENDED)[2], "the end to be told")
    assert "The session's program ended with an error. (exit code 137)" in words(ended)


def test_a_program_that_fails_says_so_as_others_do(hub: Hub, ada: Visitor) -> None:
    ada.stop(PORT)
    assert ada.launch("failing1", container="failing").status_code >= 200
    wait_for(lambda: "(exit code 7)" in words(ada.home().partition(ENDED)[2]), "the end to be told")
    assert "last words" in hub.log.read_text()
    assert "failing1" not in hub.launches()
