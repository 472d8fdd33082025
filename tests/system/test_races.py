"""Fifty at once: a limit of three is a limit of three, whichever way the requests come."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.support.hub import Hub, Visitor, running_hub, wait_for
from tests.support.v1 import OVER, V1

LIMIT = 3
AT_ONCE = 50
REPETITIONS = int(os.environ.get("CANFAR_RACES", "100"))
"""Of the long test."""

pytestmark = pytest.mark.environment("proxy")


@pytest.fixture(scope="module")
def hub(
    data_directory: Path, probe_catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    """Run a hub with a limit of three for sessions and for jobs alike."""
    content = yaml.safe_load(probe_catalogue.read_text())
    content["limits"] = {"interactive": LIMIT, "batch": LIMIT}
    path = tmp_path_factory.mktemp("site") / "catalogue.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with running_hub(data_directory, environ={"CANFAR_HUB_CATALOGUE": str(path)}) as found:
        yield found


@dataclass
class Watch:
    """Counts what lives, all the time, from three sides."""

    hub: Hub
    ada: Visitor
    v1: V1
    most: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    def look(self) -> None:
        """Count once."""
        servers = self.ada.api("GET", "/users/ada").json()["servers"].values()
        rows = self.v1.rows(type="notebook")
        counts = {
            "processes": len(self.hub.launches()),
            "servers of the hub": sum(
                bool(server["ready"] or server["pending"]) for server in servers
            ),
            "sessions of the manager": sum(row["status"] not in OVER for row in rows),
        }
        for what, count in counts.items():
            self.most[what] = max(self.most.get(what, 0), count)
        self.looks += 1

    @contextmanager
    def on(self) -> Iterator[Watch]:
        """Count until the block is over."""
        over = threading.Event()
        failed: list[BaseException] = []

        def look() -> None:
            try:
                while not over.is_set():
                    self.look()
            except BaseException as error:
                failed.append(error)
                raise

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
        assert not failed, failed
        self.look()


def together(calls: list[Callable[[], int]]) -> list[int]:
    """Do all of it at once, as nearly as threads can; gives what each was answered."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], int]) -> int:
        gate.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def a_session() -> str:
    return f"r{secrets.token_hex(4)[:7]}"


def by_manager(v1: V1) -> int:
    return v1.create(type="notebook", name="race").status_code


def by_hub(ada: Visitor) -> int:
    answer = ada.launch(a_session(), container="probe")
    return 200 if answer.status_code in (201, 202) else answer.status_code


def by_form(ada: Visitor) -> int:
    answer = ada.client.post(
        f"/hub/spawn/ada/{a_session()}",
        data={"container": "probe", "_xsrf": ada.xsrf()},
        follow_redirects=False,
    )
    # A form that is refused comes back with its reason.
    return 200 if answer.status_code == 302 else answer.status_code


def ways(ada: Visitor, v1: V1) -> list[Callable[[], int]]:
    return [lambda: by_manager(v1), lambda: by_hub(ada), lambda: by_form(ada)]


def nothing_lives(hub: Hub, ada: Visitor, v1: V1) -> None:
    """End everything and wait for it, on all sides."""
    v1.clear()
    wait_for(lambda: not hub.launches(), "all processes to end")
    wait_for(lambda: not ada.api("GET", "/users/ada").json()["servers"], "the hub's rows to go")


def accepted(answers: list[int]) -> int:
    assert set(answers) <= {200, 400, 403, 409, 429}, answers
    return answers.count(200)


def repetition(hub: Hub, ada: Visitor, v1: V1) -> dict[str, int]:
    """Fifty creates with extensions among them, then creates, ends and extensions against each other."""
    watch = Watch(hub, ada, v1)

    def renewed() -> int:
        for row in v1.rows(type="notebook"):
            answer = v1.call("POST", f"/v1/session/{row['id']}", params={"action": "renew"})
            assert answer.status_code in (200, 400, 404, 409), answer.text
        return 0

    with watch.on():
        creates = [ways(ada, v1)[number % 3] for number in range(AT_ONCE)]
        answers = together([*creates, renewed, renewed])
        assert accepted(answers[:AT_ONCE]) == LIMIT

        def live_ones() -> list[str]:
            found = [row["id"] for row in v1.rows(type="notebook") if row["status"] not in OVER]
            return found if len(found) == LIMIT else []

        # Of those that the hub was asked for itself, the manager hears a moment later.
        live = wait_for(live_ones, "the manager to know them all")

        def ended(session: str) -> Callable[[], int]:
            return lambda: v1.call("DELETE", f"/v1/session/{session}").status_code

        calls = [ways(ada, v1)[number % 3] for number in range(15)]
        mixed = together([*calls, *map(ended, live), renewed, renewed])
        assert set(mixed[15:18]) == {200}
        assert accepted(mixed[:15]) <= LIMIT
    assert watch.looks > 3
    assert max(watch.most.values()) == LIMIT, watch.most
    nothing_lives(hub, ada, v1)
    return watch.most


@pytest.fixture
def v1(ada: Visitor) -> V1:
    """Call as ada."""
    return V1.of(ada)


def test_fifty_creates_by_the_manager(hub: Hub, ada: Visitor, v1: V1) -> None:
    """Exactly as many are taken as may live, and each id that was given is one of a session."""
    watch = Watch(hub, ada, v1)
    with watch.on():
        answers = together([lambda: by_manager(v1)] * AT_ONCE)
    assert accepted(answers) == LIMIT
    assert max(watch.most.values()) == LIMIT, watch.most
    refusal = v1.create(type="notebook", name="more")
    assert refusal.status_code in (400, 403, 409, 429)
    assert str(LIMIT) in refusal.text, refusal.text
    nothing_lives(hub, ada, v1)


def test_create_end_and_extend_race(hub: Hub, ada: Visitor, v1: V1) -> None:
    repetition(hub, ada, v1)


def test_fifty_jobs_at_a_limit_of_three(hub: Hub, ada: Visitor, v1: V1) -> None:
    """Jobs are counted where they are kept, in one transaction; sessions are not counted."""
    session = v1.created(type="notebook", name="beside")

    def job() -> int:
        return v1.create(name="job", cmd="sleep", args="600").status_code

    answers = together([job] * AT_ONCE)
    assert accepted(answers) == LIMIT
    live = [row for row in v1.rows(type="headless") if row["status"] not in OVER]
    assert len(live) == LIMIT
    v1.delete(live[0]["id"])
    assert accepted(together([job] * 10)) == 1
    assert v1.status(session) in ("Pending", "Running")
    nothing_lives(hub, ada, v1)


@pytest.mark.long
def test_a_hundred_repetitions(hub: Hub, ada: Visitor, v1: V1) -> None:
    most: dict[str, int] = {}
    for number in range(REPETITIONS):
        for what, count in repetition(hub, ada, v1).items():
            most[what] = max(most.get(what, 0), count)
        if number % 10 == 9:
            print(f"{number + 1} repetitions, at most {most}", flush=True)
