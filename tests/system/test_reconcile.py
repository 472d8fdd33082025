"""Records, processes and the hub agree again on a real hub, whatever was lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.hub import ROOT, Hub, Visitor, running_hub, wait_for
from tests.support.v1 import V1

WITHIN = 60.0
AGREE = "Records, back end and hub agree."

pytestmark = pytest.mark.environment("proxy")


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a users file that a test changes."""
    path = tmp_path_factory.mktemp("site") / "users.yaml"
    path.write_bytes((ROOT / "hub_config" / "users.yaml").read_bytes())
    return path


@pytest.fixture(scope="module")
def hub(data_directory: Path, probe_catalogue: Path, users: Path) -> Iterator[Hub]:
    """Run a hub that these tests rob of one thing after another."""
    environ = {"CANFAR_HUB_CATALOGUE": str(probe_catalogue), "CANFAR_HUB_USERS": str(users)}
    with running_hub(data_directory, environ=environ) as found:
        yield found


@pytest.fixture
def v1(ada: Visitor) -> V1:
    """Call as ada."""
    return V1.of(ada)


def check(hub: Hub) -> str:
    """Give what an operator is told."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "canfar-hub"), "reconcile", "--check"],
        env={**os.environ, "CANFAR_HUB_DATA": str(hub.data), "CANFAR_HUB_PORT": str(hub.port)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def promises(v1: V1, *sessions: str) -> dict[str, str]:
    found = {}
    for session in sessions:
        row = v1.row(session)
        found[session] = "" if row is None else row["expiryTime"]
    return found


def kept(hub: Hub, session: str) -> dict[str, Any]:
    """Read a record from the manager's database."""
    path = hub.data / "hub" / "sessions" / "sessions.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        (text,) = db.execute("select record from sessions where id = ?", [session]).fetchone()
    return dict(json.loads(text))


def wait_ended(hub: Hub, session: str) -> None:
    """Wait until a job has ended and that is written down."""
    wait_for(lambda: session not in hub.launches(), f"{session} to end", seconds=240)
    wait_for(lambda: kept(hub, session)["ended"], "that to be written down")


def test_where_all_agree_that_is_said(hub: Hub, v1: V1) -> None:
    v1.wait(v1.created(type="notebook", name="agreed"), "Running")
    v1.wait(v1.created(name="agreed", cmd="sleep", args="1000"), "Running")
    wait_for(lambda: check(hub).strip() == AGREE, "nothing to differ")
    v1.clear()


def test_a_manager_without_its_database_takes_everything_up(hub: Hub, v1: V1) -> None:
    """Sessions and jobs alike, until when they were promised."""
    session = v1.created(type="notebook", name="kept")
    job = v1.created(name="kept", cmd="sleep", args="1000")
    for each in (session, job):
        v1.wait(each, "Running")
        assert v1.call("POST", f"/v1/session/{each}?action=renew").status_code == 200
    before = promises(v1, session, job)
    launches = hub.launches()
    pid = hub.manager_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for path in (hub.data / "hub" / "sessions").glob("*.sqlite*"):
        path.unlink()
    wait_for(lambda: hub.manager_pid() not in (None, pid), "another manager")
    wait_for(
        lambda: hub.manager_answers() and promises(v1, session, job) == before,
        "both to be known again",
        seconds=WITHIN,
    )
    assert hub.launches() == launches
    wait_for(lambda: v1.status(session) == "Running", "the session to run")
    assert v1.status(job) == "Running"
    v1.delete(job)
    v1.delete(session)


def test_what_the_hub_has_lost_is_listed_and_goes_on(hub: Hub, v1: V1) -> None:
    session = v1.created(type="notebook", name="orphan")
    job = v1.created(name="orphan", cmd="sleep", args="1000")
    for each in (session, job):
        v1.wait(each, "Running")
    launches = hub.launches()
    hub.kill()
    for path in (hub.data / "hub").glob("jupyterhub.sqlite*"):
        path.unlink()
    hub.start()
    wait_for(lambda: f"unowned: {launches[session].name} of ada" in check(hub), "it to be listed")
    assert launches[job].name not in check(hub)
    assert hub.launches() == launches
    # Her old token is lost with the database; she signs in, and all is hers again.
    again = V1.of(hub.sign_in("ada"))
    wait_for(lambda: again.status(session) == "Running", "her session")
    wait_for(lambda: "unowned" not in check(hub), "nothing to be unowned")
    assert hub.launches() == launches
    again.clear()


def test_jobs_end_with_the_right_to_run_them(hub: Hub, users: Path) -> None:
    """One account is deleted, and one loses a project."""
    ada, ben = V1.of(hub.sign_in("ada")), V1.of(hub.sign_in("ben"))
    hers = ada.created(name="hers", cmd="sleep", args="1000")
    lab = ada.created(type="notebook", name="lab")
    his = ben.created(name="his", cmd="sleep", args="1000")
    for v1, session in ((ada, hers), (ada, lab), (ben, his)):
        v1.wait(session, "Running")
    content = yaml.safe_load(users.read_text())
    content["users"]["ada"]["groups"].remove("demo")
    users.write_text(yaml.safe_dump(content))
    # The database is another one than when the module began.
    deleted = hub.sign_in("admin").api("DELETE", "/users/ben")
    assert deleted.status_code == 204, deleted.text
    for session in (hers, his):
        wait_ended(hub, session)
        record = kept(hub, session)
        assert (record["reason"], record["ending_by"]) == ("revoked", "reconcile")
    assert lab in hub.launches(), "a session keeps what it has until its end"
    assert ada.wait(hers, "Failed")["reason"] == "revoked"
    assert ben.create(name="again", cmd="true").status_code == 401
    ada.clear()
