"""Batch jobs on the real hub of one machine: replicas, outputs, logs, killed hub and manager."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from canfar_spawner.local import state as supervisor
from tests.support.hub import Hub, wait_for
from tests.support.v1 import V1

OVER = ("Completed", "Failed")
# Bytes that a query, a shell, a template or a careless parser would change.
HOSTILE = {
    "EQUALS": "a=b==c",
    "QUOTES": "'single' \"double\" `back`",
    "LINES": "line\nline\ttab",
    "WOULD_BE": "$(touch /tmp/x) $(VAR) ${HOME} $$",
    "FORMATS": "{username} {port} %s %41",
    "SIGNS": "Ångström ✓ 🜨 &?#+;",
    "SPACES": "  two  spaces  ",
}


@pytest.fixture(scope="module")
def v1(hub: Hub) -> V1:
    return V1.of(hub.sign_in("ada"))


@pytest.fixture(scope="module")
def home(hub: Hub, v1: V1) -> Path:
    """Give ada's home, which her first job has made."""
    v1.wait(v1.created(cmd="true"), "Completed")
    return hub.data / "arc" / "home" / "ada"


def put(home: Path, name: str, text: str) -> None:
    """Write a file into a home, as its owner would."""
    path = home / name
    path.write_text(text)
    os.chown(path, home.stat().st_uid, home.stat().st_gid)


def kill_both(hub: Hub) -> None:
    """Kill manager and hub without notice."""
    manager = hub.manager_pid()
    assert manager is not None
    os.kill(manager, signal.SIGKILL)
    hub.kill()


def overlapping(spans: list[tuple[float, float]]) -> int:
    """Say how many spans of time there were at once, at most."""
    return max(sum(begun <= at < ended for begun, ended in spans) for at, _ in spans)


@pytest.mark.parametrize("replicas", [16, pytest.param(64, marks=pytest.mark.long)])
def test_many_replicas_and_a_hub_and_a_manager_that_are_killed(
    hub: Hub, v1: V1, home: Path, replicas: int
) -> None:
    """Each writes its own output once, no more run than fit, and every log can be read."""
    script = (
        "date +%s.%N >> begun-$REPLICA_ID\n"
        "echo replica $REPLICA_ID of $REPLICA_COUNT in $PWD\n"
        "sleep 0.3\n"
        "echo result $REPLICA_ID > out-$REPLICA_ID\n"
        "date +%s.%N >> ended-$REPLICA_ID\n"
    )
    put(home, "replica.sh", script)

    def submit(number: int) -> str:
        return v1.created(
            f"REPLICA_ID={number}",
            f"REPLICA_COUNT={replicas}",
            name=f"many-{number}",
            cmd="sh",
            args="replica.sh",
        )

    with ThreadPoolExecutor(16) as threads:
        sessions = list(threads.map(submit, range(1, replicas + 1)))
    assert len(set(sessions)) == replicas

    def outputs() -> int:
        return len(list(home.glob("out-*")))

    for some in (replicas // 8, replicas // 2):
        wait_for(lambda some=some: outputs() >= some, f"{some} outputs")
        kill_both(hub)
        hub.start()
        wait_for(hub.manager_answers, "the manager to answer")
    wait_for(
        lambda: sum(row["status"] in OVER for row in v1.rows(type="headless")) > replicas,
        "all to be over",
        seconds=300,
    )

    rows = {row["id"]: row for row in v1.rows(type="headless")}
    assert {rows[session]["status"] for session in sessions} == {"Completed"}
    for number, session in enumerate(sessions, 1):
        where = "/arc/home/ada" if (hub.data / "run").stat().st_uid == 0 else None
        told = v1.logs(session).decode()
        assert re.fullmatch(rf"replica {number} of {replicas} in (\S+)\n", told), told
        assert where is None or told.endswith(f"{where}\n")
        assert (home / f"out-{number}").read_text() == f"result {number}\n"
        for name in ("begun", "ended"):
            assert len((home / f"{name}-{number}").read_text().split()) == 1, "it ran once"
    spans = [
        (float((home / f"begun-{n}").read_text()), float((home / f"ended-{n}").read_text()))
        for n in range(1, replicas + 1)
    ]
    assert overlapping(spans) <= max(1, os.cpu_count() or 1), "each asks for one core"
    left = [path.name for path in (hub.data / "run").iterdir()]
    wait_for(lambda: not list((hub.data / "run").iterdir()), f"what is left to be removed: {left}")
    assert not list((hub.data / "scratch").iterdir())
    assert len(list((hub.data / "hub" / "sessions" / "logs").iterdir())) == replicas


def test_variables_arrive_byte_for_byte(v1: V1, home: Path) -> None:
    del home
    session = v1.created(
        *(f"{name}={text}" for name, text in HOSTILE.items()), cmd="env", args="-0"
    )
    v1.wait(session, "Completed")
    told = v1.logs(session).split(b"\0")
    for name, text in HOSTILE.items():
        assert f"{name}={text}".encode() in told, name
    assert not any(b"JUPYTERHUB_API_TOKEN" in each for each in told)


def test_a_job_that_fails_says_so(v1: V1, home: Path) -> None:
    put(home, "fails.sh", "echo no more; exit 7\n")
    row = v1.wait(v1.created(cmd="sh", args="fails.sh"), *OVER)
    assert row["status"] == "Failed"
    assert v1.logs(row["id"]) == b"no more\n"
    missing = v1.create(cmd="frobnicate")
    assert missing.status_code >= 400
    assert "frobnicate" in missing.text


def test_running_and_waiting_jobs_are_cancelled(hub: Hub, v1: V1, home: Path) -> None:
    put(home, "long.sh", "echo begun; exec sleep 1000\n")
    cores = os.cpu_count() or 1
    sessions = [v1.created(cmd="sh", args="long.sh") for _ in range(cores + 2)]
    for session in sessions[:cores]:
        v1.wait(session, "Running")
    assert {v1.status(session) for session in sessions[cores:]} == {"Pending"}
    # The last leaves the queue without ever having run, the first makes room for the next.
    v1.delete(sessions[-1])
    assert v1.logs(sessions[-1]) == b""
    v1.delete(sessions[0])
    assert v1.logs(sessions[0]) == b"begun\n"
    v1.wait(sessions[cores], "Running")
    for session in sessions[1:-1]:
        v1.delete(session)
    wait_for(lambda: not hub.launches(), "all to end")


def test_time_that_is_over_while_nobody_is_here(
    hub: Hub, v1: V1, home: Path, catalogue: Path
) -> None:
    """The supervisor alone ends a job in time; hub and manager learn of it when they are back."""
    put(home, "long.sh", "echo begun; exec sleep 1000\n")
    content = yaml.safe_load(catalogue.read_text())
    before = catalogue.read_text()
    content["lifetimes"] = {"kinds": {"headless": "PT15S"}}
    catalogue.write_text(yaml.safe_dump(content, sort_keys=False))

    def short() -> str | None:
        session = v1.created(cmd="sh", args="long.sh")
        row = v1.wait(session, "Running", *OVER)
        ends = datetime.fromisoformat(row["expiryTime"])
        if (ends - datetime.now(UTC)).total_seconds() < 60:
            return session
        v1.delete(session)
        return None

    session = wait_for(short, "the new policy to count")
    path = hub.launches()[session]
    kill_both(hub)
    wait_for(lambda: not supervisor.is_alive(path), "the job to be ended")
    state = supervisor.read_state(path)
    assert state is not None
    assert state.reason == "deadline"
    catalogue.write_text(before)
    hub.start()
    wait_for(hub.manager_answers, "the manager to answer")
    row = v1.wait(session, *OVER)
    # What its end cuts off is no success.
    assert (row["status"], row["reason"]) == ("Failed", "expired")
    ended = state.ended_at or 0.0
    assert 0 <= ended - datetime.fromisoformat(row["expiryTime"]).timestamp() + 1 <= 61
    assert v1.logs(session) == b"begun\n"


def test_what_ends_all_sessions_takes_waiting_jobs_back(hub: Hub, v1: V1, home: Path) -> None:
    put(home, "long.sh", "echo begun; exec sleep 1000\n")
    cores = os.cpu_count() or 1
    sessions = [v1.created(cmd="sh", args="long.sh") for _ in range(cores + 2)]
    for session in sessions[:cores]:
        v1.wait(session, "Running")
    command = [str(Path(sys.executable).parent / "canfar-hub"), "stop"]
    told = subprocess.run(
        command,
        env={**os.environ, "CANFAR_HUB_DATA": str(hub.data)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "2 waiting jobs were taken back." in told.stdout
    assert not hub.launches()
    assert hub.process is not None
    hub.process.wait(timeout=60)
    hub.start()
    wait_for(hub.manager_answers, "the manager to answer")
    for session in sessions:
        v1.wait(session, *OVER)
    assert not hub.launches(), "nothing that waited was started after all"
