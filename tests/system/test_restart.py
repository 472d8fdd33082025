"""The hub is killed without notice: no session is lost, and none outlives its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from canfar_spawner.local import run as supervisor
from tests.support.hub import Hub, Visitor, wait_for

pytestmark = pytest.mark.environment("notebook")


@pytest.fixture(autouse=True)
def nothing_left(hub: Hub, ada: Visitor) -> Iterator[None]:
    """End what a test has started: the hub is the same for all, however often it is killed."""
    yield
    for session in hub.launches():
        ada.stop(session)


def program(launch: Path) -> int:
    """Give the process id of a session's program, as its supervisor wrote it down."""
    state = supervisor.read_state(launch)
    assert state is not None
    assert state.program is not None
    return state.program.pid


def token_of(launch: Path) -> str:
    """Give the token that a session was started with."""
    spec = json.loads((launch / "spec.json").read_text())
    return str(spec["env"]["JUPYTERHUB_API_TOKEN"])


def carrying(launch: Path) -> list[int]:
    """Give every living process that carries the mark of a launch."""
    mark = f"CANFAR_LAUNCH_ID={launch.name}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def session_call(visitor: Visitor, session: str, method: str, path: str) -> httpx.Response:
    """Call the Jupyter API of a session."""
    return httpx.request(
        method,
        f"{visitor.hub.url}/user/{visitor.name}/{session}/{path}",
        headers={"Authorization": f"Bearer {visitor.token}"},
        timeout=60,
    )


def test_killed_while_one_starts_and_two_run(hub: Hub, ada: Visitor) -> None:
    for session in ("runsone1", "runstwo1"):
        assert ada.launch(session, container="notebook").status_code in (201, 202)
    for session in ("runsone1", "runstwo1"):
        ada.wait_ready(session)
    kernel = session_call(ada, "runsone1", "POST", "api/kernels")
    assert kernel.status_code == 201, kernel.text
    assert session_call(ada, "runsone1", "POST", "api/terminals").status_code == 200

    # The start of the third is under way: the request is sent and not waited for.
    with httpx.Client() as client, contextlib.suppress(httpx.ReadTimeout):
        client.post(
            f"{hub.url}/hub/api/users/ada/servers/startin1",
            json={"user_options": {"container": "notebook"}},
            headers={"Authorization": f"Bearer {ada.token}"},
            timeout=0.3,
        )
    wait_for(lambda: "startin1" in hub.launches(), "the third to be starting")
    server = ada.server("startin1")
    assert server is not None
    assert server["pending"] == "spawn", "it has not answered yet"
    before = hub.launches()
    assert set(before) == {"runsone1", "runstwo1", "startin1"}
    hub.kill()

    programs = {session: program(launch) for session, launch in before.items()}
    hub.start()
    for session in before:
        ada.wait_ready(session)
    assert hub.launches() == before, "the same launches"
    assert {session: program(launch) for session, launch in before.items()} == programs
    assert (
        session_call(ada, "runsone1", "GET", "api/kernels").json()[0]["id"] == kernel.json()["id"]
    )
    answer = session_call(ada, "startin1", "GET", "api/status")
    assert answer.status_code == 200, "the one that was starting is usable"

    token = token_of(before["runsone1"])
    assert token_status(hub, token) != 403, "the session's token still counts"
    assert len(carrying(before["runsone1"])) >= 3, "server, kernel and terminal run"
    ada.stop("runsone1")
    wait_for(lambda: not carrying(before["runsone1"]), "kernel and terminal to end")
    assert token_status(hub, token) == 403, "a stopped session's token is dead, also now"
    assert not list((hub.data / "scratch").glob("runsone1-*"))
    assert set(hub.launches()) == {"runstwo1", "startin1"}


def token_status(hub: Hub, token: str) -> int:
    """Ask the hub with a session's token who it is."""
    return httpx.get(
        f"{hub.url}/hub/api/user", headers={"Authorization": f"Bearer {token}"}
    ).status_code


def test_a_frozen_session_is_not_ended_by_a_restart(hub: Hub, ada: Visitor) -> None:
    assert ada.launch("frozens1", container="probe").status_code in (201, 202)
    ada.wait_ready("frozens1")
    launch = hub.launches()["frozens1"]
    frozen = carrying(launch)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    hub.kill()
    hub.start()
    server = ada.server("frozens1")
    assert server is not None
    assert server["pending"] == "check", "it is waited for"
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    ada.wait_ready("frozens1")
    assert carrying(launch), "the same processes go on"


def test_what_cannot_be_looked_at_is_not_dead(hub: Hub, ada: Visitor) -> None:
    """The directory of launches is away for a while: a poll that fails ends nothing."""
    assert ada.launch("hiddens1", container="probe").status_code in (201, 202)
    ada.wait_ready("hiddens1")
    runs, away = hub.data / "run", hub.data / "run-away"
    runs.rename(away)
    try:
        # The hub looks at a session when its owner opens home or asks to start it again.
        again = ada.launch("hiddens1", container="probe")
        assert again.status_code == 400, again.text
        assert "already running" in again.text
    finally:
        away.rename(runs)
    server = ada.server("hiddens1")
    assert server is not None
    assert server["ready"]
    assert "hiddens1" in hub.launches()
    assert "could not be looked at" in hub.log.read_text()


def test_a_lost_supervisor_leaves_nothing(hub: Hub, ada: Visitor) -> None:
    assert ada.launch("orphans1", container="notebook").status_code in (201, 202)
    ada.wait_ready("orphans1")
    launch = hub.launches()["orphans1"]
    assert session_call(ada, "orphans1", "POST", "api/terminals").status_code == 200
    state = supervisor.read_state(launch)
    assert state is not None
    os.kill(state.supervisor_pid, signal.SIGKILL)
    # Asking to start it again makes the hub look.
    ada.launch("orphans1", container="notebook")
    wait_for(lambda: not carrying(launch), "every process of it to end")

    def ended() -> bool:
        server = ada.server("orphans1")
        return server is None or not server["ready"]

    wait_for(ended, "the hub to notice")
    wait_for(lambda: not list((hub.data / "scratch").glob("orphans1-*")), "scratch to be wiped")
