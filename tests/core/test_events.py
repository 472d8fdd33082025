from __future__ import annotations

import pytest
from pydantic import ValidationError

from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.status import Phase, Reason
from tests.core.world import LAUNCH, NOW, SESSION, plan


def event(**changes: object) -> SessionEvent:
    base = {"launch": LAUNCH, "owner": "ada", "session": SESSION, "at": NOW, "what": "asked"}
    return SessionEvent.model_validate({**base, **changes})


def test_the_same_event_is_equal_and_counted_once() -> None:
    again = SessionEvent.model_validate_json(event().model_dump_json())
    assert again == event()
    assert len({again, event()}) == 1


@pytest.mark.parametrize(
    "changes", [{"what": What.ENDED}, {"phase": Phase.PULLING}, {"reason": Reason.EXPIRED}], ids=str
)
def test_other_events_differ(changes: dict[str, object]) -> None:
    assert event(**changes) != event()


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValidationError):
        event(what="exploded")
    with pytest.raises(ValidationError):
        event(secret="x")


def test_a_line_of_an_earlier_outbox_is_an_event() -> None:
    """A hub that is updated finds what the one before it has not delivered yet."""
    line = (
        f'{{"launch":"{LAUNCH}","owner":"ada","session":"{SESSION}",'
        '"at":"2026-11-01T12:00:00Z","what":"ended","phase":null,"reason":"expired","by":"hub"}'
    )
    found = SessionEvent.model_validate_json(line)
    assert (found.plan, found.url, found.exit_code) == (None, "", None)
    asked = event(
        plan=plan({"container": "astroml"}), url="https://hub.example.org/user/ada/abcdefgh/"
    )
    assert SessionEvent.model_validate_json(asked.model_dump_json()) == asked
