"""Natural order, compared with one that is written to be plain and not to be quick."""

from __future__ import annotations

import itertools
import random
from functools import cmp_to_key

from canfar_lab.storage.order import Ordered, natural_key
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(alphabet="aAbBzé_-. 0123456789", min_size=1, max_size=12) | st.text(
    alphabet=st.characters(exclude_characters="\0/"), min_size=1, max_size=8
)


def pieces(name: str) -> list[str | int]:
    """Take a name apart into numbers and single characters."""
    found: list[str | int] = []
    for is_number, run in itertools.groupby(name.casefold(), key=lambda char: char in "0123456789"):
        text = "".join(run)
        found += [int(text)] if is_number else list(text)
    return found


def compare(one: str, other: str) -> int:
    """Compare two names piece by piece; a number stands where its digits do."""
    for left, right in zip(pieces(one), pieces(other), strict=False):
        if left == right and type(left) is type(right):
            continue
        if isinstance(left, int) and isinstance(right, int):
            return left - right
        texts = ["0" if isinstance(each, int) else each for each in (left, right)]
        return -1 if texts[0] < texts[1] else 1
    lengths = len(pieces(one)) - len(pieces(other))
    return lengths or (one > other) - (one < other)


@given(st.lists(NAMES, unique=True, max_size=60))
def test_names_are_in_natural_order(names: list[str]) -> None:
    assert Ordered(names).all() == sorted(names, key=cmp_to_key(compare))


@given(st.lists(NAMES, unique=True, max_size=60), st.integers(0, 70))
def test_the_first_of_them_are_the_first_of_all(names: list[str], count: int) -> None:
    ordered = Ordered(names)
    first = ordered.first(count)[:count]
    assert first == Ordered(names).all()[:count]
    assert len(ordered) == len(names)
    while not ordered.complete:
        ordered.advance(7)
    assert sorted(ordered.all()) == sorted(names)


def test_very_many_of_one_shape_of_few_and_of_many() -> None:
    chance = random.Random(1)  # noqa: S311 - which names there are
    for names in (
        [f"cal_{number:06}_raw.fits" for number in range(20_000)],
        [
            f"{'Ab'[number % 2]}_{number}.{'fits' if number % 3 else 'txt'}"
            for number in range(20_000)
        ],
        list({chance.randbytes(5).hex() for _ in range(20_000)}),
    ):
        chance.shuffle(names)
        ordered = Ordered(names)
        expected = sorted(names, key=lambda name: (natural_key(name), name))
        assert ordered.first(500)[:500] == expected[:500]
        assert ordered.all() == expected
