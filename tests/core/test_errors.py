from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core import errors
from canfar_spawner.core.errors import SessionError, listing, shown

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize(
    ("name", "parent", "code", "status"),
    [
        ("RequestRefused", "SessionError", "refused", 400),
        ("Invalid", "RequestRefused", "invalid", 400),
        ("NotAllowed", "RequestRefused", "not_allowed", 400),
        ("LimitReached", "RequestRefused", "limit_reached", 400),
        ("NotYours", "RequestRefused", "not_yours", 403),
        ("Conflict", "RequestRefused", "conflict", 409),
        ("PlatformError", "SessionError", "platform", 500),
        ("Unavailable", "PlatformError", "unavailable", 503),
        ("Refused", "PlatformError", "backend_refused", 424),
        ("StartFailed", "PlatformError", "start_failed", 424),
    ],
)
def test_classes_keep_their_codes(name: str, parent: str, code: str, status: int) -> None:
    error = getattr(errors, name)
    assert error.__bases__ == (getattr(errors, parent),)
    assert (error.code, error.status) == (code, status)


def test_codes_tell_the_classes_apart() -> None:
    assert len({error.code for error in CLASSES}) == len(CLASSES)


def test_the_body_has_everything_but_the_detail() -> None:
    error = errors.Invalid("No.", field="cores", allowed=(1, 2), detail="for the log", code="odd")
    assert json.loads(json.dumps(error.as_json())) == {
        "status": 400,
        "message": "No.",
        "code": "odd",
        "field": "cores",
        "allowed": ["1", "2"],
    }
    assert str(error) == "No."
    assert errors.Invalid("No.").code == "invalid"


@given(st.text(st.characters()), st.integers(1, 80))
def test_shown_fits_one_line(text: str, limit: int) -> None:
    result = shown(text, limit=limit)
    assert len(result) <= limit
    assert result.isprintable()
    if text.isprintable() and len(text) <= limit:
        assert result == text


@pytest.mark.parametrize("depth", [100, 900, 990, 100_000])
def test_shown_survives_any_nesting(depth: int) -> None:
    value: object = "core"
    for _ in range(depth):
        value = [value]
    assert shown(value) in {"[" * 59 + "…", "something too long to show"}
    while isinstance(value, list):  # taken apart by hand: deep values are freed recursively
        value = value.pop()


@pytest.mark.parametrize(
    "value",
    [10**5000, -(10**5000), [10**5000], {"a": 10**5000}],
    ids=["positive", "negative", "in a list", "in a dict"],
)
def test_shown_survives_numbers_too_long_to_print(value: object) -> None:
    assert 0 < len(shown(value)) <= 60


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, "5"),
        (True, "True"),
        (None, "None"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (["a", 1], "['a', 1]"),
        ({"a": 1}, "{'a': 1}"),
        ("x" * 61, "x" * 59 + "…"),
    ],
)
def test_shown_is_what_was_given(value: object, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), ""), ((1,), "1"), ((1, 2), "1 or 2"), ((1, 2, 4), "1, 2 or 4")],
)
def test_listing_reads_as_a_sentence(words: tuple[int, ...], expected: str) -> None:
    assert listing(words) == expected


def test_listing_takes_another_conjunction() -> None:
    assert listing("abc", conjunction="and") == "a, b and c"


@given(st.lists(st.text("ab", min_size=1, max_size=64), max_size=300))
def test_listing_stays_short(words: list[str]) -> None:
    result = listing(words)
    assert len(result) <= 300
    if words:
        assert result.startswith(words[0])


def test_a_long_listing_says_how_many_it_leaves_out() -> None:
    words = [f"project-{n:03}" for n in range(200)]
    result = listing(words)
    named = result.count("project-")
    assert 5 < named < 200
    assert result.endswith(f" or {200 - named} more")


def test_the_root_is_an_exception() -> None:
    assert issubclass(SessionError, Exception)
