"""What is written down of transfers: little for each file, and never less than was done."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from canfar_lab.transfers.jobs import Job, Spot
from canfar_lab.transfers.journal import Journal

FILES = 200


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def job() -> Job:
    """Give a copy of many files that is at work."""
    names = [f"night {number}.fits" for number in range(FILES)]
    return Job("copy", source=Spot("home", names), target=Spot("scratch", [""]), state="running")


def step(job: Job) -> None:
    """Put one more of them in its place."""
    done = len(job.placed)
    job.placed.append(f"night {done} größe.fits")
    job.bytes_placed, job.files_placed = job.bytes_placed + 1000, job.files_placed + 1
    job.placing, job.current = [], ["", [done, 1, 2]]
    if done == 7:
        job.notes.append("Not copied: a pipe")


def begun(job: Job, *places: Path) -> Journal:
    """Write down a copy, and its first step as a line."""
    journal = Journal(places)
    journal.save(job)
    step(job)
    journal.save(job)
    return journal


def found_by_the_next(place: Path) -> Job:
    """Read what a server finds whose predecessor was killed at this moment."""
    killed = place.with_name("killed")
    shutil.rmtree(killed, ignore_errors=True)
    shutil.copytree(place, killed)
    journal = Journal([killed])
    (job,) = journal.load()
    journal.close()
    return job


def test_each_step_is_known_and_costs_the_same(place: Path, job: Job) -> None:
    journal = Journal([place])
    assert journal.save(job)
    record, lines = place / f"{job.id}.json", place / f"{job.id}.lines"
    whole = record.stat()
    sizes = [0]
    for done in range(FILES):
        step(job)
        assert journal.save(job)
        sizes.append(lines.stat().st_size)
        if done % 20 == 0:
            assert found_by_the_next(place) == job
    # The record itself was not written again, and no line holds more than its step.
    assert record.stat() == whole
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert max(steps) < 400
    job.state = "done"
    assert journal.save(job)
    assert found_by_the_next(place) == job
    assert not lines.exists()
    journal.forget(job.id)
    assert list(place.iterdir()) == []


def test_a_line_that_was_cut_short_is_a_step_that_was_not_made(place: Path, job: Job) -> None:
    journal = begun(job, place)
    lines = place / f"{job.id}.lines"
    before = lines.stat().st_size
    known = found_by_the_next(place)
    step(job)
    journal.save(job)
    whole = lines.read_bytes()
    for end in range(before, len(whole) - 1):
        lines.write_bytes(whole[:end])
        assert found_by_the_next(place) == known


def test_lines_of_an_earlier_record_do_not_count(place: Path, job: Job) -> None:
    journal = begun(job, place)
    lines = place / f"{job.id}.lines"
    old = lines.read_bytes()
    step(job)
    job.state = "paused"
    journal.save(job)
    # As where the server was killed before it could remove them.
    lines.write_bytes(old)
    assert found_by_the_next(place) == job


def test_where_nothing_can_be_added_all_is_written_elsewhere(place: Path, job: Job) -> None:
    other = place.with_name("other")
    journal = begun(job, place, other)
    # As on a file system that is full, or gone: neither a line nor a record can be written.
    shutil.rmtree(place)
    place.write_text("")
    step(job)
    assert journal.save(job)
    assert found_by_the_next(other) == job
    step(job)
    assert journal.save(job)
    assert found_by_the_next(other) == job
