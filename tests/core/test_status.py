from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from canfar_spawner.core.status import (
    REASONS,
    STARTUP,
    Evidence,
    Life,
    Phase,
    Reason,
    Status,
    exit_reason,
    explained,
    is_over,
    status_of,
    unknown_for,
)
from tests.core.world import NOW

FAILURES = {
    Reason.PROGRAM_FAILED,
    Reason.PROGRAM_MISSING,
    Reason.OUT_OF_MEMORY,
    Reason.REVOKED,
    Reason.EVICTED,
    Reason.IMAGE_NOT_FOUND,
    Reason.IMAGE_REFUSED,
    Reason.IMAGE_FAILED,
    Reason.UNSCHEDULABLE,
    Reason.NOT_GUARANTEED,
    Reason.SCRATCH_FULL,
    Reason.STORAGE_FAILED,
    Reason.QUOTA,
    Reason.NODE_LOST,
    Reason.SUPERVISOR_LOST,
    Reason.NEVER_STARTED,
    Reason.START_TIMEOUT,
    Reason.NOT_ANSWERING,
}

# (life, answers) where the reason does not matter.
STATUS = {
    (Life.STARTING, False): Status.PENDING,
    (Life.STARTING, True): Status.PENDING,
    (Life.RUNNING, False): Status.PENDING,
    (Life.RUNNING, True): Status.RUNNING,
    (Life.ENDING, False): Status.TERMINATING,
    (Life.ENDING, True): Status.TERMINATING,
    (Life.UNKNOWN, False): Status.UNKNOWN,
    (Life.UNKNOWN, True): Status.UNKNOWN,
}


@pytest.mark.parametrize("reason", set(Reason) - {Reason.NONE}, ids=str)
def test_every_reason_has_words(reason: Reason) -> None:
    text = REASONS[reason]
    for words in (text.sentence, text.advice):
        assert words.endswith(".")
        assert words.isprintable()
        assert 10 < len(words) < 120


def test_the_table_has_every_reason_and_no_more() -> None:
    assert set(REASONS) == set(Reason)
    assert (REASONS[Reason.NONE].sentence, REASONS[Reason.NONE].advice) == ("", "")
    assert {reason for reason, text in REASONS.items() if text.failed} == FAILURES


def test_no_two_reasons_say_the_same() -> None:
    assert len({text.sentence for text in REASONS.values()}) == len(Reason)


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("life", Life)
def test_status_of_everything(life: Life, answers: bool) -> None:  # noqa: FBT001
    for reason, phase, code in itertools.product(Reason, Phase, (None, 0, 1, 137)):
        evidence = Evidence(life=life, phase=phase, reason=reason, exit_code=code)
        if life in (Life.ENDED, Life.ABSENT):
            expected = Status.FAILED if reason in FAILURES else Status.COMPLETED
            assert is_over(evidence)
        else:
            expected = STATUS[life, answers]
            assert not is_over(evidence)
        assert status_of(evidence, answers=answers) is expected


@pytest.mark.parametrize("life", Life)
def test_unknown_is_not_dead(life: Life) -> None:
    assert is_over(Evidence(life=life)) == (life in {Life.ENDED, Life.ABSENT})


@pytest.mark.parametrize(
    ("code", "out_of_memory", "asked", "reason"),
    [
        (0, False, False, Reason.FINISHED),
        (1, False, False, Reason.PROGRAM_FAILED),
        (-9, False, False, Reason.PROGRAM_FAILED),
        (None, False, False, Reason.PROGRAM_FAILED),
        (0, False, True, Reason.STOPPED),
        (143, False, True, Reason.STOPPED),
        (137, True, False, Reason.OUT_OF_MEMORY),
        (0, True, False, Reason.OUT_OF_MEMORY),
        (137, True, True, Reason.OUT_OF_MEMORY),
    ],
)
def test_why_a_program_ended(
    code: int | None,
    out_of_memory: bool,  # noqa: FBT001
    asked: bool,  # noqa: FBT001
    reason: Reason,
) -> None:
    assert exit_reason(code, out_of_memory=out_of_memory, asked_to_stop=asked) is reason


def test_a_start_goes_through_every_phase_but_the_last() -> None:
    assert tuple(phase for phase in Phase if phase is not Phase.ENDING) == STARTUP


def test_age_of_the_last_answer() -> None:
    minute = timedelta(minutes=1)
    assert unknown_for(Evidence(life=Life.UNKNOWN), NOW) == timedelta(0)
    assert unknown_for(Evidence(life=Life.UNKNOWN, seen=NOW - minute), NOW) == minute


def test_the_words_of_the_contract() -> None:
    assert [status.value for status in Status] == [
        "Pending",
        "Running",
        "Terminating",
        "Completed",
        "Failed",
        "Unknown",
    ]


@pytest.mark.parametrize(
    ("sentence", "detail", "told"),
    [
        ("It ended.", "exit code 3", "It ended. (exit code 3)"),
        ("It ended.", "The disk is full.", "It ended. (The disk is full.)"),
        ("It ended.", "It ended.", "It ended."),
        ("It ended.", "", "It ended."),
        ("", "place 3 of 5", "place 3 of 5"),
        ("", "", ""),
    ],
)
def test_more_that_is_known_stands_in_brackets(sentence: str, detail: str, told: str) -> None:
    assert explained(sentence, detail) == told
