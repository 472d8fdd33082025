"""A launch's time: never over too early, at most a minute too late, whatever the clock does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from canfar_spawner.local.deadline import LOOK_EVERY, Deadline
from canfar_spawner.local.state import ENDS
from canfar_spawner.replacing import replace_file

_NOW = 1_800_000_000.0


class Clocks:
    """A clock on the wall that somebody sets, and one that only goes on."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.ahead = 0.0

    def wall(self) -> float:
        """Give what the clock on the wall shows."""
        return _NOW - 1000.0 + self.steady + self.ahead

    def deadline(self, directory: Path, seconds: float | None) -> Deadline:
        """Promise an end so many seconds from now."""
        ordered = None if seconds is None else self.wall() + seconds
        return Deadline(directory, ordered, wall=self.wall, steady=lambda: self.steady)

    def run_out(self, deadline: Deadline, *, most: float = 7200.0) -> float:
        """Look as often as the supervisor does, and give when it was over."""
        begun = self.steady
        while left := deadline.left():
            assert 0 < left <= LOOK_EVERY
            self.steady += left
            assert self.steady - begun < most, "it never ended"
        return self.steady - begun


def promise(directory: Path, until: float) -> None:
    """Extend, as the session manager does."""
    replace_file(directory / ENDS, f"{until!r}\n")


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 59.5, 3600.0])
def test_at_the_second(clocks: Clocks, tmp_path: Path, seconds: float) -> None:
    assert clocks.run_out(clocks.deadline(tmp_path, seconds)) == pytest.approx(seconds, abs=0.01)


def test_without_an_end_it_goes_on(clocks: Clocks, tmp_path: Path) -> None:
    assert clocks.deadline(tmp_path, None).left() == LOOK_EVERY


def test_an_extension_is_found_before_anything_ends(clocks: Clocks, tmp_path: Path) -> None:
    deadline = clocks.deadline(tmp_path, 100)
    clocks.steady += 99.99
    promise(tmp_path, _NOW + 1000)
    clocks.steady += 0.02
    assert clocks.run_out(deadline) == pytest.approx(1000 - 100.01, abs=0.01)


def test_what_was_promised_is_not_taken_back(clocks: Clocks, tmp_path: Path) -> None:
    deadline = clocks.deadline(tmp_path, 100)
    promise(tmp_path, _NOW + 10)
    assert clocks.run_out(deadline) == pytest.approx(100, abs=0.01)


def test_a_promise_that_cannot_be_read_is_not_over(clocks: Clocks, tmp_path: Path) -> None:
    deadline = clocks.deadline(tmp_path, 10)
    (tmp_path / ENDS).mkdir()
    clocks.steady += 1000
    assert deadline.left() == LOOK_EVERY
    (tmp_path / ENDS).rmdir()
    assert deadline.left() == 0


@pytest.mark.parametrize("jump", [600.0, -600.0, 3600.0])
def test_a_clock_that_is_set_and_set_back_ends_nothing_early(
    clocks: Clocks, tmp_path: Path, jump: float
) -> None:
    deadline = clocks.deadline(tmp_path, 300)
    clocks.steady += 15
    assert deadline.left()
    clocks.ahead += jump
    assert deadline.left(), "not on the word of a clock that has just jumped"
    clocks.steady += 20
    assert deadline.left()
    clocks.ahead -= jump
    assert 35 + clocks.run_out(deadline) == pytest.approx(300, abs=31)
    assert clocks.steady - 1000 >= 300


def test_a_clock_that_stays_ahead_is_believed_within_the_minute(
    clocks: Clocks, tmp_path: Path
) -> None:
    deadline = clocks.deadline(tmp_path, 300)
    assert deadline.left()
    clocks.ahead += 600
    assert clocks.run_out(deadline) <= 60


def test_a_clock_that_was_put_back_is_believed(clocks: Clocks, tmp_path: Path) -> None:
    deadline = clocks.deadline(tmp_path, 300)
    clocks.ahead -= 600
    took = clocks.run_out(deadline)
    assert 900 <= took <= 960, "by the clock on the wall the time is not over before"


def test_at_any_time_and_for_any_extension(clocks: Clocks, tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - times, not secrets
    for _ in range(50):
        (tmp_path / ENDS).unlink(missing_ok=True)
        ends = clocks.wall() + chance.uniform(1, 500)
        deadline = Deadline(tmp_path, ends, wall=clocks.wall, steady=lambda: clocks.steady)
        for _ in range(chance.randrange(4)):
            clocks.steady += chance.uniform(0, (ends - clocks.wall()) * 0.9)
            assert deadline.left() > 0
            ends += chance.uniform(0, 500)
            promise(tmp_path, ends)
        clocks.run_out(deadline)
        assert 0 <= clocks.wall() - ends <= 60
