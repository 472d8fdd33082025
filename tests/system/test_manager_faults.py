"""The session manager, its database and its hub fail: no session ends of it, and nobody sees a 500."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.hub import Hub, Visitor, running_hub, wait_for
from tests.support.v1 import OVER, PROBE, V1

LAB, JOB = "faultlab", "faultjob"
WITHIN = 60.0
"""Seconds within which what was lost or changed is known again."""

pytestmark = pytest.mark.environment("proxy")


@pytest.fixture(scope="module")
def catalogue(probe_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a catalogue that tests of this module change."""
    path = tmp_path_factory.mktemp("site") / "catalogue.yaml"
    path.write_bytes(probe_catalogue.read_bytes())
    return path


@pytest.fixture(scope="module")
def hub(data_directory: Path, catalogue: Path) -> Iterator[Hub]:
    """Run a hub whose manager the tests of this module kill."""
    with running_hub(data_directory, environ={"CANFAR_HUB_CATALOGUE": str(catalogue)}) as found:
        yield found


@pytest.fixture
def v1(ada: Visitor) -> V1:
    """Call as ada."""
    return V1.of(ada)


@pytest.fixture
def straight(ada: Visitor) -> V1:
    """Call as ada, past the proxy."""
    return V1.of(ada, direct=True)


def known(v1: V1) -> dict[str, dict[str, Any]]:
    """Give what is told of every live session, without what changes by itself."""
    kept = ("id", "name", "type", "image", "startTime", "expiryTime", "connectURL", "status")
    return {
        row["id"]: {field: row.get(field) for field in kept}
        for row in v1.rows()
        if row["status"] not in OVER
    }


@pytest.fixture
def two(hub: Hub, ada: Visitor, v1: V1) -> Iterator[tuple[str, str]]:
    """Have a session and a batch job that run, and find them running afterwards; they outlive a test."""
    live = {row["name"]: row["id"] for row in v1.rows() if row["status"] not in OVER}
    lab = live.get(LAB) or v1.created(type="notebook", name=LAB)
    job = live.get(JOB) or v1.created(name=JOB, cmd="sleep", args="3000")
    for session in (lab, job):
        v1.wait(session, "Running")
    wait_for(lambda: (ada.server(lab) or {}).get("ready"), "the hub to know it, too")
    before = hub.launches()
    assert {lab, job} <= set(before)
    yield lab, job
    assert {lab: before[lab], job: before[job]}.items() <= hub.launches().items()


def kill_manager(hub: Hub) -> None:
    """Kill the manager and wait until another one answers."""
    pid = hub.manager_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: hub.manager_pid() not in (None, pid), "another manager")
    wait_for(hub.manager_answers, "it to answer")


def has_read(v1: V1) -> bool:
    """Say whether the manager has read its records; until then it says nothing of sessions."""
    return v1.call("GET", "/v1/session").status_code != 503


def healthy(hub: Hub) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{hub.sessions_url()}/health", timeout=5).status_code == 200
    return False


def database(hub: Hub) -> Path:
    (found,) = (hub.data / "hub" / "sessions").glob("*.sqlite")
    return found


def test_a_killed_manager_comes_back_and_knows_everything(
    hub: Hub, v1: V1, two: tuple[str, str]
) -> None:
    before = known(v1)
    assert set(before) == set(two)
    kill_manager(hub)
    wait_for(lambda: has_read(v1), "its records to be read", seconds=WITHIN)
    assert known(v1) == before, "the client's next call is answered as the last"
    lab, job = two
    assert v1.call("POST", f"/v1/session/{lab}", params={"action": "renew"}).status_code == 200
    done = v1.created(name="after", cmd="printf", args="after")
    v1.wait(done, "Completed")
    assert v1.logs(done) == b"after"
    assert v1.status(job) == "Running"


def test_killed_again_and_again_while_jobs_wait(hub: Hub, v1: V1) -> None:
    """Each job runs once, whenever its manager is killed."""
    v1.clear()
    count = 8
    home = hub.data / "arc" / "home" / "ada"
    script = 'echo "$CANFAR_SESSION_ID" >> ran; sleep 0.5'
    ids = {v1.created(name="once", cmd="sh", args=f"-c '{script}'") for _ in range(count)}
    for _ in range(2):
        kill_manager(hub)
    for session in ids:
        assert v1.wait(session, *OVER)["status"] == "Completed"
    ran = (home / "ran").read_text().split()
    assert sorted(ran) == sorted(ids), "each once"
    (home / "ran").unlink()


def test_while_the_hub_is_away(hub: Hub, v1: V1, straight: V1, two: tuple[str, str]) -> None:
    """Without the hub nobody can be known: 503, not 500; jobs go on and finish all the same."""
    lab, job = two
    later = [v1.created(name="later", cmd="printf", args=f"told-{n}") for n in range(4)]
    manager = hub.manager_pid()
    hub.kill()
    try:
        nobody = V1(hub, "0" * 32, direct=True)

        def away() -> bool:
            answer = straight.call("GET", "/v1/session")
            # What was known of a token some seconds ago may be believed for that long.
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 503

        wait_for(away, "the manager to notice", seconds=30)
        for caller in (straight, nobody):
            for method, path in (
                ("GET", "/v1/session"),
                ("GET", f"/v1/session/{lab}"),
                ("POST", "/v1/session"),
                ("DELETE", f"/v1/session/{lab}"),
                ("POST", f"/v1/session/{lab}?action=renew"),
            ):
                answer = caller.call(method, path)
                assert answer.status_code == 503, (method, path, answer.text)
                assert int(answer.headers["Retry-After"]) > 0
                assert "Traceback" not in answer.text
        assert hub.manager_pid() == manager, "it went on"
        kept = hub.data / "hub" / "sessions" / "logs"
        wait_for(
            lambda: len([path for path in kept.glob("*") if b"told-" in path.read_bytes()]) == 4,
            "all jobs to be done without the hub",
        )
        assert {lab, job} <= set(hub.launches())
    finally:
        hub.start()
    for number, session in enumerate(later):
        assert v1.wait(session, *OVER)["status"] == "Completed"
        assert v1.logs(session) == f"told-{number}".encode()
    assert set(known(v1)) == {lab, job}


def test_a_second_start_takes_over_or_replaces(hub: Hub, v1: V1, two: tuple[str, str]) -> None:
    """What a killed hub has left holds a lock and a port; neither stops the next."""
    before = known(v1)
    hub.kill()
    left = hub.manager_pid()
    assert left is not None
    assert hub.manager_answers()
    hub.start()
    managers = managers_of(hub)
    assert managers == [hub.manager_pid()], "one, and no more"
    wait_for(lambda: healthy(hub), "all of it to work")
    assert known(v1) == before
    assert set(two) == set(before)


def managers_of(hub: Hub) -> list[int]:
    """Find the managers that work in a hub's directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"sessions" in words and (path / "cwd").samefile(hub.data / "hub"):
                found.append(int(path.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_ended_together(hub: Hub, two: tuple[str, str], number: int) -> None:
    """Hub, proxy and manager end; sessions and jobs go on."""
    assert hub.process is not None
    manager = hub.manager_pid()
    try:
        # The keyboard's interrupt reaches the whole foreground.
        os.killpg(hub.process.pid, number)
        assert hub.process.wait(timeout=60) == 0
        assert managers_of(hub) == []
        assert hub.manager_pid() is None
        assert manager is not None
        assert not Path(f"/proc/{manager}").exists()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{hub.url}/hub/health", timeout=5)
        assert set(two) <= set(hub.launches())
    finally:
        hub.start()


def test_a_locked_database(hub: Hub, v1: V1, two: tuple[str, str]) -> None:
    """What is known is still told; a job that could be lost is refused, and taken a moment later."""
    before = known(v1)
    lab, _ = two
    with contextlib.closing(sqlite3.connect(database(hub), timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert known(v1) == before
        refused = v1.create(name="refused", cmd="true")
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["Retry-After"]) > 0
        renewed = v1.call("POST", f"/v1/session/{lab}", params={"action": "renew"})
        assert renewed.status_code in (200, 503), renewed.text
        other.rollback()
    wait_for(lambda: healthy(hub), "the manager to be well again")
    session = v1.created(name="taken", cmd="true")
    v1.wait(session, "Completed")
    names = [row["name"] for row in v1.rows()]
    assert names.count("refused") == 0, "what was refused never runs"


def test_a_database_that_cannot_be_written(hub: Hub, v1: V1, two: tuple[str, str]) -> None:
    if subprocess.run(
        ["chattr", "+i", str(database(hub))], check=False, capture_output=True
    ).returncode:
        pytest.skip("this file system has no files that nobody may change")
    try:
        kill_manager(hub)
        for path in ("", *(f"/{session}" for session in two)):
            answer = v1.call("GET", f"/v1/session{path}")
            assert answer.status_code == 503, "nobody is told that there are none"
            assert answer.headers["Retry-After"]
        assert v1.create(name="refused", cmd="true").status_code == 503
    finally:
        subprocess.run(["chattr", "-i", str(database(hub))], check=True)
    wait_for(lambda: healthy(hub), "the manager to be well again", seconds=WITHIN)
    wait_for(lambda: has_read(v1), "its records to be read", seconds=WITHIN)
    wait_for(lambda: set(two) <= set(known(v1)), "everything to be known", seconds=WITHIN)


def test_a_lost_database(hub: Hub, v1: V1, two: tuple[str, str]) -> None:
    """Sessions and jobs are found again where they run, with the ends they were promised."""
    lab, job = two
    assert v1.call("POST", f"/v1/session/{lab}", params={"action": "renew"}).status_code == 200
    before = known(v1)
    for path in (hub.data / "hub" / "sessions").glob("*.sqlite*"):
        path.unlink()
    kill_manager(hub)
    wait_for(lambda: has_read(v1), "its records to be read", seconds=WITHIN)
    wait_for(lambda: {lab, job} <= set(known(v1)), "both to be known again", seconds=WITHIN)
    wait_for(
        lambda: all(row["status"] == "Running" for row in known(v1).values()),
        "both to be known as running",
        seconds=WITHIN,
    )
    after = known(v1)
    for session in (lab, job):
        for field in ("name", "type", "image", "expiryTime", "connectURL"):
            assert after[session][field] == before[session][field], field
    # Who is who comes from the hub again; until then nobody is refused for good.
    taken: list[str] = []

    def create() -> bool:
        answer = v1.create(name="another", cmd="true")
        assert answer.status_code in (200, 503), answer.text
        taken.append(answer.text.strip())
        return answer.status_code == 200

    wait_for(create, "a job to be taken", seconds=WITHIN)
    v1.wait(taken[-1], "Completed")


def test_the_same_create_twice(v1: V1, ben: Visitor) -> None:
    """A client that was not answered asks again with the same key: one session, one id."""
    v1.clear()
    for kind in ("headless", "notebook"):
        fields: dict[str, str] = {"cmd": "sleep", "args": "600"} if kind == "headless" else {}
        pairs = {"name": "twice", "image": PROBE, "type": kind, **fields}
        key = {"Idempotency-Key": f"key-{kind}"}

        def once(
            caller: V1, pairs: dict[str, str] = pairs, key: dict[str, str] = key
        ) -> httpx.Response:
            return caller.call("POST", "/v1/session", params=pairs, headers=key)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(once, [v1] * 8))
        assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
        (session,) = {answer.text for answer in answers}
        assert len(v1.rows(type=kind)) >= 1
        assert [row["id"] for row in v1.rows(type=kind) if row["name"] == "twice"] == [
            session.strip()
        ]
        other = V1.of(ben)
        foreign = once(other)
        assert foreign.status_code == 200
        assert foreign.text != session, "a key is its sender's"
        other.clear()
    v1.clear()


def test_killed_in_the_middle_of_requests(hub: Hub, v1: V1) -> None:
    """Every create is answered or can be asked again, and none is done twice."""
    count = 16

    def one(number: int) -> str:
        key = {"Idempotency-Key": f"middle-{number}"}
        pairs = {"name": f"middle-{number}", "image": PROBE, "type": "headless", "cmd": "true"}
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                answer = v1.call("POST", "/v1/session", params=pairs, headers=key)
                if answer.status_code == 200:
                    return answer.text.strip()
                assert answer.status_code in (502, 503, 504), (answer.status_code, answer.text)
            time.sleep(0.2)
        raise AssertionError(f"create {number} was never answered")

    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(one, number) for number in range(count)]
        wait_for(lambda: any(each.done() for each in asked), "the first answer")
        kill_manager(hub)
        ids = [each.result() for each in asked]
    assert len(set(ids)) == count
    rows = [row for row in v1.rows() if row["name"].startswith("middle-")]
    assert sorted(row["id"] for row in rows) == sorted(ids), "none twice, none lost"
    for session in ids:
        v1.wait(session, *OVER)


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file in one step, as editors do."""
    other = path.with_suffix(".new")
    other.write_text(yaml.safe_dump(content, sort_keys=False))
    other.replace(path)


def test_a_changed_catalogue_counts_everywhere(
    hub: Hub, ada: Visitor, v1: V1, catalogue: Path
) -> None:
    """Form, hub and manager take it without a restart; a broken one is refused by its key."""
    first = yaml.safe_load(catalogue.read_text())
    manager, pid = hub.manager_pid(), hub.pid()
    changed = yaml.safe_load(catalogue.read_text())
    containers = changed["catalogue"]["containers"]
    (probe,) = [each for each in containers if each["name"] == "probe"]
    added = {**probe, "name": "added", "title": "Freshly Added", "aliases": []}
    added["image"] = "canfar-hub/added"
    containers.append(added)
    changed["limits"]["interactive"] = 2
    image = "registry.example.org/canfar-hub/added:1"

    assert v1.create(image=image, cmd="true").status_code == 400
    assert ada.launch("catadd01", container="added").status_code == 400
    try:
        write(catalogue, changed)

        def everywhere() -> bool:
            listed = {each["id"] for each in v1.call("GET", "/v1/image").json()}
            context = v1.call("GET", "/v1/context").json()
            return (
                image in listed
                and int(context["maxInteractiveSessions"]) == 2
                and "Freshly Added" in ada.client.get("/hub/spawn").text
            )

        wait_for(everywhere, "the change to count", seconds=WITHIN)
        assert v1.create(image=image, cmd="true").status_code == 200
        assert ada.launch("catadd02", container="added").status_code in (201, 202)
        assert v1.create(type="notebook", image=image).status_code == 200
        assert v1.create(type="notebook", image=image).status_code in (400, 403, 409, 429)

        broken = yaml.safe_load(yaml.safe_dump(changed))
        broken["resources"]["default"]["cores"] = ["many"]
        broken["limits"]["interactive"] = 7
        write(catalogue, broken)
        wait_for(
            lambda: hub.log.read_text().count("resources.default.cores") >= 2,
            "hub and manager to name the key",
            seconds=WITHIN,
        )
        context = v1.call("GET", "/v1/context").json()
        assert int(context["maxInteractiveSessions"]) == 2, "the old one stays, whole"
        assert "Freshly Added" in ada.client.get("/hub/spawn").text
        assert v1.create(image=image, cmd="true").status_code == 200
    finally:
        write(catalogue, first)
    wait_for(
        lambda: image not in {each["id"] for each in v1.call("GET", "/v1/image").json()},
        "the first one again",
        seconds=WITHIN,
    )
    assert (hub.manager_pid(), hub.pid()) == (manager, pid), "without a restart"
    v1.clear()
