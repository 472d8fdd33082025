"""What the form can express the API can, and the reverse."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from canfar_spawner.core.errors import Invalid, SessionError, shown
from canfar_spawner.core.request import FIELDS, options_from_fields, parse_request
from tests.core.strategies import (
    ANY_TEXT,
    GOOD_OPTIONS,
    HOSTILE,
    MIXED_OPTIONS,
    SECRET,
    UNKNOWN,
    encode_form,
)
from tests.core.world import attempt, facts, outcome


def parsed(options: object) -> object:
    result = attempt(lambda: parse_request(options))
    return facts(result) if isinstance(result, SessionError) else result


def submitted(fields: dict[str, list[str]]) -> object:
    result = attempt(lambda: options_from_fields(fields))
    return facts(result) if isinstance(result, SessionError) else parsed(result)


@given(MIXED_OPTIONS)
@example({"container": "astroml", "env": {"KEY": "-----BEGIN\nline\n-----END\n"}})
@example({"container": "astroml", "env": {"A": "x\x0cy\u2028z\x85", "B": " spaces "}})
@example({"container": "astroml", "env": {"A=B": "1", " C": "2"}})
@example({"container": "astroml", "env": {"A": "\r"}})
@example({"container": "astroml", "projects": []})
@example({"container": "astroml", "cores": True})
@example({"container": "astroml", "cores": 1e3, "memory": 4.0})
def test_the_form_can_say_what_the_api_can(options: dict[str, object]) -> None:
    try:
        fields = encode_form(options)
    except KeyError:
        assume(False)  # noqa: FBT003
    from_json = parsed(json.loads(json.dumps(options)))
    assert submitted(fields) == from_json
    event("refused" if isinstance(from_json, tuple) else "parsed")


@given(MIXED_OPTIONS | st.tuples(GOOD_OPTIONS, UNKNOWN).map(lambda pair: {**pair[0], **pair[1]}))
def test_form_and_api_get_the_same_plan_or_the_same_refusal(options: dict[str, object]) -> None:
    try:
        fields = encode_form(options)
    except KeyError:
        assume(False)  # noqa: FBT003
    try:
        written = options_from_fields(fields)
    except Invalid:
        pytest.fail("the form refused what the API can say")
    assert outcome(written) == outcome(json.loads(json.dumps(options)))


@given(
    st.dictionaries(
        st.sampled_from(FIELDS) | ANY_TEXT, st.lists(ANY_TEXT | HOSTILE, max_size=3), max_size=6
    )
)
@example({"env": ["{" * 100_000], "container": ["x"]})
@example({"env": ['{"a":' * 100_000], "container": ["x"]})
@example({"env": ['{"A": ' + "9" * 5000 + "}"], "container": ["x"]})
def test_the_api_can_say_what_the_form_can(fields: dict[str, list[str]]) -> None:
    written = attempt(lambda: options_from_fields(fields))
    if isinstance(written, SessionError):
        assert isinstance(written, Invalid)
        assert written.field in {*fields, *map(shown, fields)}
        assert written.sentence.isprintable()
        return
    assert parsed(json.loads(json.dumps(written))) == parsed(written)


@given(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([[], [""], ["", ""]])))
def test_empty_inputs_are_as_if_not_there(fields: dict[str, list[str]]) -> None:
    written = options_from_fields({"container": ["astroml"], **fields, "profile": [""]})
    taken = ("projects", "continues", "args")
    lists: dict[str, object] = {field: [] for field in taken if field in fields}
    container = {} if "container" in fields else {"container": "astroml"}
    assert written == {**container, **lists}


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("A=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=1\rB=2", {"A": "1", "B": "2"}),
        ("\n\n A = x \n", {"A": " x "}),
        ("A=", {"A": ""}),
        ("A=b=c", {"A": "b=c"}),
        ("A=x\u2028y", {"A": "x\u2028y"}),
        ('{"A": "two\\nlines"}', {"A": "two\nlines"}),
        (' {"A": "1"} ', {"A": "1"}),
        ("A={}", {"A": "{}"}),
    ],
)
def test_variables_are_read_from_lines_or_json(text: str, env: dict[str, str]) -> None:
    assert options_from_fields({"env": [text]}) == {"env": env}


@pytest.mark.parametrize("text", [SECRET, f"A=1\n{SECRET}", f"{{{SECRET}", f'{{"A": "{SECRET}"'])
def test_a_misread_secret_is_not_repeated(text: str) -> None:
    with pytest.raises(Invalid, match="NAME=value") as caught:
        options_from_fields({"env": [text]})
    assert caught.value.field == "env"
    assert SECRET not in caught.value.sentence


@pytest.mark.parametrize("field", ["container", "cores", "env", "registry_secret", "uid"])
def test_one_value_means_one(field: str) -> None:
    with pytest.raises(Invalid, match="2 times") as caught:
        options_from_fields({field: [SECRET, "", SECRET]})
    assert caught.value.field == field
    assert SECRET not in caught.value.sentence


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("2.0", 2),
        ("0.5", 0.5),
        ("16.9", 16.9),
        ("4 ", "4 "),
        ("1e3", "1e3"),
        ("nan", "nan"),
        ("-1", "-1"),
        ("2,5", "2,5"),
        ("\u0662", "\u0662"),
        ("1000m", "1000m"),
    ],
)
def test_numbers_are_numbers_only_where_they_are_plain(text: str, value: object) -> None:
    written = options_from_fields({"cores": [text], "container": [text]})
    assert written == {"cores": value, "container": text}
    assert type(written["cores"]) is type(value)
