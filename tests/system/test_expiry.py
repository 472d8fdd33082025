"""Sessions and jobs of a site where they live for seconds: never earlier, hardly later."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.hub import Hub, Visitor, wait_for
from tests.support.v1 import V1

LIFETIME = timedelta(seconds=25)
LATE = timedelta(seconds=60)
SECONDS = f"PT{LIFETIME.seconds}S"
SITE = {"lifetimes": {"interactive": SECONDS, "headless": SECONDS, "longest": "PT10M"}}
"""A site where nothing lasts."""
WHY = "The session reached the end of its lifetime."

pytestmark = pytest.mark.environment("proxy")


def ends(v1: V1, session: str) -> datetime:
    row = v1.row(session)
    assert row is not None
    return datetime.fromisoformat(row["expiryTime"])


def ended_at(hub: Hub, session: str) -> datetime:
    """Wait until nothing of a session runs, and say when that was seen."""
    wait_for(lambda: session not in hub.launches(), f"{session} to end")
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def stories(hub: Hub, ada: Visitor) -> Iterator[dict[str, Future[None]]]:
    """Live through the ends of three side by side, each from its beginning."""
    tellers = {"session": session_story, "job": job_story, "extended": extended_story}
    with ThreadPoolExecutor(len(tellers)) as pool:
        yield {name: pool.submit(tell, hub, ada) for name, tell in tellers.items()}


def session_story(hub: Hub, ada: Visitor) -> None:
    v1 = V1.of(ada)
    assert ada.launch("mayfly01", container="probe", name="mayfly").status_code in (201, 202)
    ada.wait_ready("mayfly01")
    wait_for(lambda: v1.row("mayfly01"), "the manager to know it")
    promised = ends(v1, "mayfly01")
    at = ended_at(hub, "mayfly01")
    assert promised <= at <= promised + LATE
    wait_for(lambda: WHY in ada.home().partition("Recently ended")[2], "the reason at home")
    wait_for(lambda: ada.server("mayfly01") is None, "the hub to forget it")
    assert v1.wait("mayfly01", "Completed")["reason"] == "expired"


def job_story(hub: Hub, ada: Visitor) -> None:
    v1 = V1.of(ada)
    job = v1.created(name="long", cmd="sh", args="-c 'echo begun; exec sleep 1000'")
    v1.wait(job, "Running")
    promised = ends(v1, job)
    at = ended_at(hub, job)
    assert promised <= at <= promised + LATE
    assert v1.wait(job, "Failed")["reason"] == "expired"
    assert v1.logs(job) == b"begun\n"


def extended_story(hub: Hub, ada: Visitor) -> None:
    v1 = V1.of(ada)
    session = v1.created(type="notebook", name="longer")
    first = ends(v1, session)
    v1.wait(session, "Running")
    wait_for(lambda: datetime.now(UTC) > first - LIFETIME / 3, "most of its time to pass")
    for _ in range(2):
        assert v1.call("POST", f"/v1/session/{session}?action=renew").status_code == 200
    later = ends(v1, session)
    assert later > first
    wait_for(lambda: datetime.now(UTC) > first + timedelta(seconds=2), "its first end to pass")
    assert session in hub.launches()
    assert ended_at(hub, session) >= later
    assert v1.wait(session, "Completed")["reason"] == "expired"


def test_a_session_ends_in_time_and_says_why(stories: dict[str, Future[None]]) -> None:
    stories["session"].result()


def test_a_job_ends_in_time_and_keeps_what_it_wrote(stories: dict[str, Future[None]]) -> None:
    stories["job"].result()


def test_an_extended_session_lasts_as_long_as_was_said(stories: dict[str, Future[None]]) -> None:
    stories["extended"].result()


def test_without_a_manager_it_ends_all_the_same(hub: Hub, v1: V1) -> None:
    """Every launch keeps its own promise; whichever comes first, it has expired."""
    session = v1.created(type="notebook", name="alone")
    job = v1.created(name="alone", cmd="sleep", args="1000")
    for each in (session, job):
        v1.wait(each, "Running")
        assert v1.call("POST", f"/v1/session/{each}?action=renew").status_code == 200
    promised = {each: ends(v1, each) for each in (session, job)}
    manager = hub.manager_pid()
    assert manager is not None
    os.kill(manager, signal.SIGSTOP)
    try:
        for each in (session, job):
            at = ended_at(hub, each)
            assert promised[each] <= at <= promised[each] + LATE
    finally:
        os.kill(manager, signal.SIGCONT)
    for each in (session, job):
        row = v1.wait(each, "Completed", "Failed")
        assert row["reason"] == "expired", each


def test_what_has_ended_is_not_extended(v1: V1) -> None:
    for session in ("mayfly01", "zzzzzzz9"):
        answer = v1.call("POST", f"/v1/session/{session}?action=renew")
        assert answer.status_code == 400
        assert "has no active session or job with the id" in answer.text
