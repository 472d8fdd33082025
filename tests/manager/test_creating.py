"""Create requests of the wire contract, turned into options and judged."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.errors import Invalid, SessionError
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.request import options_of, parse_request
from canfar_spawner.manager.creating import (
    kind_of,
    options_from_json,
    options_from_words,
    split_args,
    what_was_asked,
    with_registry,
)
from tests.core.strategies import ANY_OPTIONS, HOSTILE, SECRET
from tests.core.world import SITE, attempt, outcome, plan

IMAGE = "images.canfar.net/skaha/astroml:26.11"


def fields(**given: str | list[str]) -> dict[str, list[bytes]]:
    """Write fields as tornado reads them."""
    listed = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    return {name: [each.encode() for each in values] for name, values in listed.items()}


def words(**given: str | list[str]) -> dict[str, Any]:
    """Read them from a query string."""
    return options_from_words(fields(**given), {})


def test_everything_the_client_sends() -> None:
    options = words(
        name="sim",
        image=IMAGE,
        type="headless",
        cores="2",
        ram="8",
        gpus="0",
        cmd="python",
        args="run.py --seed 1",
        env=["A=1", "B=x=y", "C=", "REPLICA_ID=1", "REPLICA_COUNT=2"],
    )
    assert options == {
        "name": "sim",
        "image": IMAGE,
        "kind": "headless",
        "cores": 2,
        "memory": 8,
        "gpus": 0,
        "cmd": "python",
        "args": ["run.py", "--seed", "1"],
        "env": {"A": "1", "B": "x=y", "C": "", "REPLICA_ID": "1", "REPLICA_COUNT": "2"},
    }
    planned = plan(options)
    assert planned.command == ("python", "run.py", "--seed", "1")
    assert planned.kind is SessionKind.HEADLESS
    assert planned.container == "astroml"


def test_a_form_and_the_query_string_are_one() -> None:
    query, form = fields(name="sim", env="A=1"), fields(image=IMAGE, env="B=2")
    options = options_from_words(query, form)
    assert options["env"] == {"A": "1", "B": "2"}
    with pytest.raises(Invalid, match="given 2 times"):
        options_from_words(fields(name="a"), fields(name="b"))


def test_without_a_type_it_is_a_job_and_empty_is_not_given() -> None:
    assert words(image=IMAGE)["kind"] == "headless"
    assert words(image=IMAGE, type="")["kind"] == "headless"
    assert words(image=IMAGE, name="", cores="")["kind"] == "headless"
    assert "kind" not in words(container="astroml")


def test_replicas_variables_go_with_every_kind() -> None:
    options = words(image=IMAGE, type="notebook", env=["REPLICA_ID=1", "REPLICA_COUNT=1"])
    assert plan(options).env_names == ("REPLICA_COUNT", "REPLICA_ID")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"replicas": "2"}, "replicas"),
        ({"registry_secret": SECRET}, "registry_secret"),
        ({"type": "spaceship"}, "type"),
        ({"type": "desktop-app"}, "type"),
        ({"type": ["notebook", "carta"]}, "type"),
        ({"cores": "two"}, "cores"),
        ({"cores": "1e2"}, "cores"),
        ({"ram": "-1"}, "ram"),
        ({"ram": "8", "memory": "8"}, "memory"),
        ({"gpus": "NaN"}, "gpus"),
        ({"env": "A"}, "env"),
        ({"env": f"={SECRET}"}, "env"),
        ({"env": ["A=1", f"A={SECRET}"]}, "env"),
        ({"args": "x" * 200_001}, "args"),
        ({"type": "notebook", "kind": "notebook"}, "kind"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(
    given: dict[str, str | list[str]], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        words(image=IMAGE, **given)
    assert refused.value.field == field
    assert SECRET not in refused.value.sentence


def test_an_unknown_parameter_is_told_with_those_that_exist() -> None:
    with pytest.raises(Invalid) as refused:
        words(replicas="2")
    assert refused.value.code == "unknown_field"
    assert {"name", "image", "type", "cores", "ram", "env"} <= set(refused.value.allowed)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(Invalid, match="not UTF-8"):
        options_from_words({"name": [b"\xff\xfe"]}, {})


# Arguments.


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("  ", []),
        ("a b", ["a", "b"]),
        (" a \t b\nc ", ["a", "b", "c"]),
        ("$(HOME) ${X} *", ["$(HOME)", "${X}", "*"]),
        ("C:\\new a\\ b", ["C:\\new", "a\\", "b"]),
        ("-c 'print(1, 2)'", ["-c", "print(1, 2)"]),
        ('-c "echo \\"hi\\" there"', ["-c", 'echo "hi" there']),
        ("a#b # c", ["a#b", "#", "c"]),
        ("don't stop", ["don't", "stop"]),
        ("'' x", ["", "x"]),
        ("a\u00a0b", ["a\u00a0b"]),
    ],
)
def test_arguments_are_taken_apart(text: str, parts: list[str]) -> None:
    assert split_args(text) == parts


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=10), max_size=5))
def test_what_a_shell_would_quote_arrives_byte_for_byte(parts: list[str]) -> None:
    text = shlex.join(["'x'", *parts])
    assert split_args(text) == ["'x'", *parts]


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="'\""), max_size=60))
def test_without_quotes_nothing_is_lost_but_blanks(text: str) -> None:
    blanks = str.maketrans("", "", " \t\r\n")
    assert "".join(split_args(text)) == text.translate(blanks)


# JSON.


def test_a_list_of_arguments_is_kept_as_it_is() -> None:
    args = ["a b", "", "it's", '"', "$(X)", "x\ny"]
    options = options_from_json(
        {"image": IMAGE, "type": "headless", "cmd": "printf", "args": args, "ram": 4}
    )
    assert options["args"] == args
    assert options["memory"] == 4
    assert plan(options).command == ("printf", *args)


def test_env_may_be_a_list_or_an_object() -> None:
    as_list = options_from_json({"container": "astroml", "env": ["A=1", "B=x=y"]})
    as_object = options_from_json({"container": "astroml", "env": {"A": "1", "B": "x=y"}})
    assert as_list == as_object


@given(ANY_OPTIONS)
def test_any_json_is_refused_or_an_exact_plan(body: object) -> None:
    options = attempt(lambda: options_from_json(body))
    if isinstance(options, SessionError):
        assert options.status == 400
        assert options.sentence
        return
    outcome(options)


@given(
    st.dictionaries(
        st.sampled_from(["name", "image", "type", "cores", "ram", "gpus", "cmd", "args", "env"]),
        st.lists(HOSTILE | st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)),
    )
)
def test_any_words_are_refused_or_an_exact_plan(given: Mapping[str, list[str]]) -> None:
    raw = {
        name: [value.encode("utf-8", "surrogatepass") for value in values]
        for name, values in given.items()
    }
    options = attempt(lambda: options_from_words(raw, {}))
    if isinstance(options, SessionError):
        assert options.status == 400
        return
    request = attempt(lambda: parse_request(options))
    if not isinstance(request, SessionError):
        assert parse_request(options_of(request)) == request


# The registry's secret.


def _header(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_registrys_secret_goes_with_images_of_users_alone() -> None:
    header = _header(f"ada:{SECRET}:more")
    mine = {"image": "images.canfar.net/skaha/mine:2", "kind": "headless"}
    found = with_registry(mine, header, SITE)
    assert found["registry_user"] == "ada"
    assert found["registry_secret"] == f"{SECRET}:more"
    credentials = parse_request(found).credentials
    assert credentials is not None
    assert SECRET not in repr(credentials)
    for options in (
        {"image": IMAGE},
        {"image": "images.canfar.net/cirada/astroml:latest"},
        {"container": "astroml"},
        {"image": "images.canfar.net/skaha/vault:1.0"},
    ):
        assert with_registry(options, header, SITE) == options
    assert with_registry(mine, None, SITE) == mine


@pytest.mark.parametrize(
    "header", ["?", "x" * 20_000, _header("nocolon"), _header(":secret"), _header("user:"), "w6k="]
)
def test_a_header_that_cannot_be_read_is_refused(header: str) -> None:
    with pytest.raises(Invalid) as refused:
        with_registry({"image": "images.canfar.net/skaha/mine:2"}, header, SITE)
    assert "base64" in refused.value.sentence
    assert header not in refused.value.sentence


# What it runs as.


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"image": IMAGE, "kind": "headless"}, SessionKind.HEADLESS),
        ({"image": IMAGE}, SessionKind.NOTEBOOK),
        ({"container": "carta"}, SessionKind.CARTA),
        ({"container": "vault"}, SessionKind.NOTEBOOK),
        ({"container": "none"}, None),
        ({"image": "images.canfar.net/skaha/mine:2"}, None),
    ],
)
def test_what_a_request_runs_as(options: dict[str, str], kind: SessionKind | None) -> None:
    assert kind_of(parse_request(options), SITE) is kind


def test_a_refusal_is_told_by_what_was_asked() -> None:
    assert what_was_asked({"name": "sim", "image": "x"}) == ("sim", "x")
    assert what_was_asked({"name": 3}) == ("", "")
