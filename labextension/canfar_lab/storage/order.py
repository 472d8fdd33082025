"""Natural order of very many names: 9 before 10, and the first of them before all are sorted."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from itertools import islice

_DIGITS = str.maketrans("123456789", "0" * 9)
_RUN = re.compile("[0-9]+")
_MOST_SHAPES = 64
"""With more of them, merging is slower than sorting."""
_AT_ONCE = 5000
"""Names whose shapes are looked at together, so that there is no second copy of all of them."""
_AT_LEAST = 1000
"""How many are merged at once, since the next ones are asked for soon."""


def natural_key(name: str) -> str:
    """Give a text that sorts as a name does: numbers by their value, letters without their case.

    Examples
    --------
    >>> sorted(["b10", "B9", "a"], key=natural_key)
    ['a', 'B9', 'b10']
    """
    return _RUN.sub(_weighed, name.casefold())


def _weighed(run: re.Match[str]) -> str:
    digits = run[0].lstrip("0")
    # Of two numbers the longer is larger; beside a letter, a number stands as a digit does.
    return f"0{chr(1 + len(digits))}{digits}"


def _both(name: str) -> tuple[str, str]:
    return natural_key(name), name


def _by_shape(names: Sequence[str]) -> list[list[str]] | None:
    """Sort names that have few shapes, each for itself; None where there are too many."""
    groups: dict[str, list[str]] = {}
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        shapes = "\0".join(some).casefold().translate(_DIGITS).split("\0")
        for shape in set(shapes).difference(groups):
            groups[shape] = []
        if len(groups) > _MOST_SHAPES:
            return None
        if len(groups) == 1:
            groups[shapes[0]].extend(some)
            continue
        for shape, name in zip(shapes, some, strict=True):
            groups[shape].append(name)
    return [_alike(group) for group in groups.values()]


def _alike(names: list[str]) -> list[str]:
    """Sort names of one shape; of those that differ in case alone, capitals come first."""
    names.sort()
    names.sort(key=str.casefold)
    return names


class Ordered:
    """Names in natural order, sorted as far as they are asked for.

    Names of one shape (the same length, digits at the same places) are in natural order when they
    are in that of their characters, which is sorted without a key of ours; archives have few shapes.
    The few sorted groups are merged name by name.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._total = len(names)
        self._done: list[str] = []
        self._rest: Iterator[str] | None = None
        groups = _by_shape(names)
        if groups is None:
            # One long text is taken care of in a few calls; no name has a zero byte.
            keys = _RUN.sub(_weighed, "\0".join(names).casefold()).split("\0")
            self._done = [name for _, name in sorted(zip(keys, names, strict=True))]
        elif len(groups) < 2:
            self._done = groups[0] if groups else []
        else:
            self._rest = heapq.merge(*groups, key=_both)

    def __len__(self) -> int:
        return self._total

    @property
    def complete(self) -> bool:
        """Whether all of them are sorted."""
        return self._rest is None

    def advance(self, count: int = _AT_LEAST) -> None:
        """Sort some more."""
        if self._rest is None:
            return
        self._done.extend(islice(self._rest, count))
        if len(self._done) >= self._total:
            self._rest = None

    def first(self, count: int) -> list[str]:
        """Give the names until there; what is given must not be changed."""
        missing = min(count, self._total) - len(self._done)
        if missing > 0:
            self.advance(missing + _AT_LEAST)
        return self._done

    def all(self) -> list[str]:
        """Give all names; what is given must not be changed."""
        return self.first(self._total)
