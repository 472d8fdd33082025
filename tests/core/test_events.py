from __future__ import annotations

import pytest
from pydantic import ValidationError

from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.status import Phase, Reason
from tests.core.world import LAUNCH, NOW, SESSION


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
