"""What is told of a session's end: what is written down, and before that why it was told to end."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from canfar_spawner.core.backend import BackendEvent
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.manager import wire
from canfar_spawner.manager.pages_views import session_row
from canfar_spawner.manager.records import SessionRecord
from tests.core.world import NOW
from tests.manager.recorded import job, recorded


@pytest.mark.parametrize("life", [Life.ENDED, Life.ABSENT])
def test_why_it_was_told_to_end_is_the_reason_before_its_end_is_written_down(life: Life) -> None:
    seen = Evidence(life=life, reason=Reason.STOPPED, exit_code=137)
    row = wire.session_json(job(1, ending=Reason.EXPIRED), seen)
    assert (row["status"], row["reason"]) == ("Failed", "expired")
    row = wire.session_json(job(1, ending=Reason.REVOKED), seen)
    assert (row["status"], row["reason"]) == ("Failed", "revoked")


@pytest.mark.parametrize(
    ("made", "word", "warning"), [(job, "Failed", True), (recorded, "Completed", False)]
)
def test_a_job_that_its_end_cuts_off_has_failed_and_a_session_has_not(
    made: Callable[..., SessionRecord], word: str, *, warning: bool
) -> None:
    record = made(1, ready=NOW, ended=NOW, reason=Reason.EXPIRED, exit_code=143)
    seen = wire.evidence_of(record, Evidence(life=Life.RUNNING))
    row = wire.session_json(record, seen)
    assert (row["status"], row["state"]) == (word, word)
    assert wire.own_events(record, seen)[-1].warning is warning
    assert session_row(record, seen, NOW).state_word == ("Failed" if warning else "Ended")


def test_an_event_that_was_seen_again_says_since_when() -> None:
    first, last = NOW, NOW + timedelta(minutes=40)
    seen = BackendEvent(at=last, first=first, warning=True, reason="BackOff", message="again")
    once = BackendEvent(at=last, warning=False, reason="Pulled", message="once")
    rows = wire.events_table([seen, once]).splitlines()[1:]
    assert re.split(" {2,}", rows[0])[-2:] == [wire.moment(first), wire.moment(last)]
    assert re.split(" {2,}", rows[1])[-2:] == [wire.moment(last), wire.moment(last)]


def test_what_is_known_without_a_back_end() -> None:
    ended = job(1, ready=NOW, ended=NOW, reason=Reason.PROGRAM_FAILED, detail="exit code 3")
    found = wire.own_events(ended, wire.evidence_of(ended, Evidence(life=Life.RUNNING)))
    assert [event.reason for event in found] == ["Asked", "Ready", "Ended"]
    assert found[-1].warning
    assert "exit code 3" in found[-1].message
    # Seen to have ended, and not yet written down: the caller is told "Completed" already.
    seen = Evidence(life=Life.ENDED, reason=Reason.FINISHED, at=NOW)
    last = wire.own_events(job(1), seen)[-1]
    assert (last.reason, last.at) == ("Ended", NOW)
    waiting = Evidence(
        life=Life.STARTING,
        phase=Phase.QUEUED,
        reason=Reason.WAITING_FOR_RESOURCES,
        detail="place 3 of 5 in the queue",
    )
    last = wire.own_events(job(1), waiting)[-1]
    assert last.reason == "Queued"
    assert "place 3 of 5" in last.message
