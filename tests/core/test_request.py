from __future__ import annotations

import json
import time
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canfar_spawner.core.errors import Invalid, SessionError
from canfar_spawner.core.request import (
    FIELDS,
    SECRET_FIELDS,
    SessionRequest,
    options_of,
    parse_request,
    without_secrets,
)
from tests.core.strategies import (
    ANY_OPTIONS,
    GOOD_OPTIONS,
    JSON,
    MIXED_OPTIONS,
    SECRET,
    SHAPED_OPTIONS,
)
from tests.core.world import attempt, plan

FULL = {
    "image": "images.canfar.net/skaha/x:1",
    "kind": "headless",
    "name": "M 31",
    "mode": "fixed",
    "cores": 0.5,
    "memory": 4,
    "gpus": 1,
    "projects": ["demo"],
    "open": "/arc/home/ada",
    "continues": ["k3vd81qa", "a0000000"],
    "env": {"B": "2", "A": SECRET},
    "cmd": "python",
    "args": ["-c", "", "print('{x}')"],
    "registry_user": "ada",
    "registry_secret": SECRET,
}


@given(ANY_OPTIONS)
@example([])
@example(["container"])
@example("container")
@example(None)
@example(5)
@example({"cores": 10**5000, "container": "astroml"})
@example({"container": "astroml", "env": {"A": "\ud800"}})
def test_arbitrary_json_is_refused_or_taken(options: object) -> None:
    result = attempt(lambda: parse_request(options))
    if isinstance(result, SessionError):
        assert isinstance(result, Invalid)
        assert result.sentence.isprintable()
        assert len(result.sentence) <= 400
        assert result.field in {*FIELDS, ""} or result.code == "unknown_field"
        json.dumps(result.as_json()).encode()
    else:
        assert isinstance(result, SessionRequest)


@given(JSON, st.sampled_from(FIELDS))
def test_any_value_in_any_field(value: object, field: str) -> None:
    base = {} if field in {"container", "profile", "image"} else {"container": "astroml"}
    result = attempt(lambda: parse_request({**base, field: value}))
    if isinstance(result, SessionError):
        assert result.field in FIELDS


@given(MIXED_OPTIONS)
@example(FULL)
def test_what_is_parsed_can_be_written_and_parsed_again(options: dict[str, object]) -> None:
    try:
        request = parse_request(options)
    except Invalid:
        return
    written = options_of(request)
    assert parse_request(written) == request
    assert parse_request(json.loads(json.dumps(written))) == request
    assert options_of(parse_request(written)) == written
    assert set(written) <= set(FIELDS) - {"profile"}


def test_a_full_request_loses_nothing() -> None:
    written = options_of(parse_request(FULL))
    assert written == FULL
    assert list(written["env"]) == ["A", "B"]  # type: ignore[call-overload]


@given(GOOD_OPTIONS)
def test_equal_options_give_equal_requests(options: dict[str, object]) -> None:
    copy = json.loads(json.dumps(options))
    backwards = dict(reversed(list(copy.items())))
    assert parse_request(options) == parse_request(backwards)


@given(GOOD_OPTIONS, st.lists(st.sampled_from(FIELDS)))
def test_none_is_the_same_as_absent(options: dict[str, object], absent: list[str]) -> None:
    padded = {**dict.fromkeys(absent), **options}
    assert parse_request(padded) == parse_request(options)


@given(SHAPED_OPTIONS)
def test_what_may_be_stored_has_no_secret(options: dict[str, object]) -> None:
    env = {"TOKEN": SECRET, "A\nB": SECRET}
    secretive = {**options, "env": env, "registry_user": SECRET, "registry_secret": SECRET}
    kept = without_secrets(secretive)
    assert set(kept) == set(options) - SECRET_FIELDS | {"env"}
    assert kept["env"] == sorted(["TOKEN", "A\ufffdB"])
    for field in set(options) - SECRET_FIELDS:
        assert kept[field] is options[field]


@pytest.mark.parametrize("env", [None, "A=" + SECRET, ["A=" + SECRET], 5])
def test_a_misshapen_env_is_not_stored(env: object) -> None:
    assert without_secrets({"container": "x", "env": env}) == {"container": "x"}


def test_the_profile_is_the_container() -> None:
    assert parse_request({"profile": "astroml"}) == parse_request({"container": "astroml"})


def test_names_are_composed() -> None:
    apart, together = "nai\u0308ve", "na\u00efve"
    assert unicodedata.normalize("NFC", apart) == together
    request = parse_request({"container": "x", "name": apart})
    assert request == parse_request({"container": "x", "name": together})
    assert request.name == together


@pytest.mark.parametrize(
    "name", ["a", "7", "M 31", "a-b_c.d+e", "Ångström", "星雲", "x" * 80, "a..b"]
)
def test_names_that_are_taken(name: str) -> None:
    assert parse_request({"container": "x", "name": name}).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", " a", "a ", "-a", ".a", "_a", "a/b", "a\tb", "a\u00a0b", "a'b", 'a"b', "a<b"),
        *("a&b", "a;b", "a$b", "a`b", "a|b", "a\\b", "a:b", "a@b", "a%b", "a\u202eb", "\ud800"),
        "x" * 81,
    ],
    ids=ascii,
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match="letters, digits, spaces") as caught:
        parse_request({"container": "x", "name": name})
    assert caught.value.field == "name"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, "0"),
        (2, "2"),
        (2.0, "2"),
        (0.5, "0.5"),
        (16.9, "16.9"),
        (1e9, "1000000000"),
        (1e3, "1000"),
        (999_999_999_999, "999999999999"),
        (0.001, "0.001"),
    ],
)
@pytest.mark.parametrize("field", ["cores", "memory", "gpus"])
def test_numbers_are_exact(field: str, value: float, number: str) -> None:
    request = parse_request({"container": "x", field: value})
    assert getattr(request, field) == Decimal(number)


@pytest.mark.parametrize(
    "value",
    [
        *(-1, -0.0, -0.5, 1e-7, 0.0001, 10**12, 1e16, 2**63, 10**400, 10**5000, True, False),
        *(float("nan"), float("inf"), -float("inf")),
        *("2", "4 ", "", "1000m", "1e3", [], [2], {}),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else value.bit_length(),
)
@pytest.mark.parametrize("field", ["cores", "memory", "gpus"])
def test_numbers_that_are_refused(field: str, value: object) -> None:
    with pytest.raises(Invalid, match="must be a plain number") as caught:
        parse_request({"container": "x", field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    "env",
    [
        {"A": ""},
        {"_": "x"},
        {"MY_TOKEN": "a=b=c"},
        {"A": "line\nline\r\n\u2028"},
        {"A": "$(B) {user} `id` 'x' \"y\""},
        {"A": "x" * 30_000},
        {"LDX": "1", "HOMEPAGE": "1", "MYJUPYTERHUB_X": "1"},
        {f"A{n}": "" for n in range(200)},
    ],
    ids=lambda env: repr(env)[:40],
)
def test_variables_arrive_as_they_are(env: dict[str, str]) -> None:
    request = parse_request({"container": "x", "env": env})
    assert {name: value.get_secret_value() for name, value in request.env} == env


def test_a_variable_fits_one_string_of_exec() -> None:
    longest, limit = 0, 128 * 1024  # MAX_ARG_STRLEN of Linux, with the NUL
    for size in range(1000, 50_000, 16):
        text = "\U0001f52d" * size
        try:
            parse_request({"container": "x", "env": {"N" * 128: text}})
        except Invalid:
            break
        longest = 128 + 1 + len(text.encode()) + 1
    assert 0 < longest <= limit


@pytest.mark.parametrize("field", ["container", "version", "image", "name", "open", "cmd", "kind"])
@pytest.mark.parametrize(
    "text",
    ["a" * 10_000_000, "/a" * 5_000_000, "a\u0301\u0316" * 2_500_000, "\ud800" * 1_000_000],
    ids=["letters", "path", "combining", "surrogates"],
)
def test_ten_megabytes_are_refused_at_once(field: str, text: str) -> None:
    base = {} if field in {"container", "image"} else {"container": "astroml"}
    began = time.process_time()
    result = attempt(lambda: plan({**base, field: text}))
    took = time.process_time() - began
    assert isinstance(result, Invalid)
    assert result.field == field
    assert len(result.sentence) <= 400
    assert took < 0.5


def test_variables_and_arguments_must_be_encodable() -> None:
    cases: dict[str, dict[str, object]] = {
        "env": {"env": {"A": "\ud800"}},
        "cmd": {"cmd": "\udfff"},
        "args": {"cmd": "x", "args": ["ok", "\ud800"]},
    }
    for field, options in cases.items():
        with pytest.raises(Invalid) as caught:
            parse_request({"container": "x", "kind": "headless", **options})
        assert caught.value.field == field


def test_requests_do_not_show_their_secrets() -> None:
    options = {**FULL, "registry_user": SECRET + "-user"}
    request = parse_request(options)
    for text in (repr(request), str(request), repr(request.credentials), request.model_dump_json()):
        assert SECRET not in text
