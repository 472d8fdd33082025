from __future__ import annotations

import pytest

from canfar_spawner.core.logs import CUT, LONGEST, last_of


@pytest.mark.parametrize("output", [b"", b"one line", b"one\ntwo\n", "Ångström ✓\n".encode()])
def test_what_is_short_stays_as_it_is(output: bytes) -> None:
    assert last_of(output) == output.decode()


def test_what_is_no_text_is_still_shown() -> None:
    assert last_of(b"a\xff\xfeb\n") == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b\n"


def test_the_end_of_a_long_log_says_that_it_is_the_end() -> None:
    lines = b"".join(b"line %d\n" % number for number in range(900_000))
    assert len(lines) > LONGEST
    text = last_of(lines)
    assert text.startswith(CUT)
    first, last = text.splitlines()[1], text.splitlines()[-1]
    assert (first.startswith("line "), last) == (True, "line 899999")
    assert lines.decode().endswith(text.removeprefix(CUT)), "nothing but whole lines of it"
    assert len(text.encode()) <= LONGEST + len(CUT)


def test_one_endless_line_is_cut_too() -> None:
    text = last_of(b"x" * (LONGEST + 5))
    assert text == CUT + "x" * LONGEST


def test_what_was_read_in_part_says_so() -> None:
    assert last_of(b"rest of a line\nwhole\n", cut=True) == CUT + "whole\n"


def test_cutting_twice_says_it_once() -> None:
    once = last_of(b"a\n" * LONGEST)
    assert last_of(once.encode()).count(CUT) == 1
