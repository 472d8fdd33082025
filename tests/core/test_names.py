from __future__ import annotations

import itertools
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.errors import Invalid
from canfar_spawner.core.names import (
    SessionId,
    launch_id,
    new_launch_id,
    new_session_id,
    object_name,
    owner_slug,
    session_id,
)

_LABEL = frozenset(string.ascii_lowercase + string.digits + "-")

# Pairs that a stock template such as jupyter-{username}--{servername} maps to one name.
_COLLIDING = ["a--b", "a-b", "a_b", "a.b", "a", "A", "b", "a-", "-a", "a---b", "a-2db", "a-5fb"]
_COLLIDING += ["a b", "a@b", "ada", "Ada", "ADA", "ad\u0430", "\u212a", "k", "K", "é", "e\u0301"]


def is_label(text: str) -> bool:
    return 0 < len(text) <= 63 and set(text) <= _LABEL and "-" not in {text[0], text[-1]}


def _hundred_thousand_pairs() -> set[tuple[str, SessionId]]:
    draw = random.Random(20200715)  # noqa: S311 - reproducible, not secret
    sessions = [new_session_id(draw.choice) for _ in range(40)]
    alphabet = "aAb-_.1"
    short = ["".join(t) for n in range(1, 5) for t in itertools.product(alphabet, repeat=n)]
    # The slug of one user is itself a legal name of another.
    slugs = [owner_slug(name) for name in _COLLIDING]
    owners = [*_COLLIDING, *slugs, *short]
    pairs = set(itertools.product(_COLLIDING + slugs, sessions))
    while len(pairs) < 100_000:
        length = draw.choice((5, 12, 29, 30, 31, 64, 255))
        owner = draw.choice(owners) + "".join(draw.choices(alphabet + "é", k=length - 4))
        pairs.add((owner, draw.choice(sessions)))
        pairs.add((draw.choice(owners), draw.choice(sessions)))
    return pairs


def test_a_hundred_thousand_pairs_have_a_hundred_thousand_names() -> None:
    pairs = _hundred_thousand_pairs()
    names = {object_name(owner, session) for owner, session in pairs}
    assert len(names) == len(pairs) >= 100_000
    assert [name for name in names if not is_label(name)] == []


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(_COLLIDING, 2)))
def test_names_that_others_confuse_stay_apart(first: str, second: str) -> None:
    assert owner_slug(first) != owner_slug(second)


@given(st.text(), st.text())
def test_names_are_labels_and_differ(first: str, second: str) -> None:
    session = SessionId("abcdefgh")
    names = {object_name(owner, session) for owner in (first, second)}
    assert all(map(is_label, names))
    assert len(names) == len({first, second})


@pytest.mark.parametrize("owner", ["ada", "a-b", "a1", "0", "x" * 30])
def test_plain_names_stay_readable(owner: str) -> None:
    assert object_name(owner, SessionId("abcdefgh")) == f"abcdefgh-{owner}"


def test_names_do_not_change_between_releases() -> None:
    # A hub that comes back after an upgrade finds its pods by these.
    assert owner_slug("Ada Lovelace") == "ada-lovelace---oz2aefqxcwizapg3"
    assert owner_slug("a--b") == "a-b---scbhulswgyni7v3s"


@pytest.mark.parametrize("text", ["abcdefgh", "a1234567", "zzzzzzz9"])
def test_session_ids_are_taken(text: str) -> None:
    assert session_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "abcdefg", "abcdefghi", "1abcdef2", "Abcdefgh", "abcdefgH", "abcdefg-", "b--c"),
        *("../../..", "abcdefg\n", "abcdefgh\n", "{user}12", "abcdefgé", "abcdefg\u0661"),
        "x" * 300,
    ],
)
def test_other_server_names_are_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        session_id(text)
    assert caught.value.field == "session"
    assert caught.value.code == "invalid"
    assert caught.value.sentence.isprintable()
    assert "lower-case letter" in caught.value.sentence


@given(st.randoms(use_true_random=False))
def test_new_ids_are_valid(draw: random.Random) -> None:
    session = session_id(new_session_id(draw.choice))
    launch = new_launch_id(session, draw.choice)
    assert launch_id(launch) == launch
    assert launch.partition("-")[0] == session


@pytest.mark.parametrize("text", ["", "abcdefgh", "abcdefgh-", "abcdefgh-00000000000\n", "../x"])
def test_other_launch_ids_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a launch id"):
        launch_id(text)
