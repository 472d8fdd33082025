"""How full homes and projects are: measured when asked, remembered when that fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.core.storage import Area, AreaPolicy, Persistence, StoragePolicy
from canfar_spawner.manager import storage
from canfar_spawner.manager.intake import HeartbeatFilling
from canfar_spawner.manager.lifetimes import Scratch
from canfar_spawner.manager.storage import StorageWatch, lost_words
from tests.core.world import ADA, site
from tests.manager.parts import LOG, Clock, Parts

POLICY = site().model_copy(
    update={"storage": StoragePolicy(home=AreaPolicy(persistence=Persistence.KEPT, quota_gb=1))}
)


class People:
    def identity(self, name: str) -> Any:
        assert name == "ada"
        return ADA


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arc(tmp_path: Path) -> Path:
    for name in ("home", "projects"):
        (tmp_path / "arc" / name).mkdir(parents=True)
    return tmp_path / "arc"


@pytest.fixture
def watch(arc: Path, clock: Clock, tmp_path: Path) -> Iterator[StorageWatch]:
    found = StorageWatch(
        arc=arc,
        scratch=tmp_path / "scratch",
        identities=People(),
        policy=lambda: POLICY,
        beaten=lambda _: Scratch(files=7, bytes=700),
        clock=clock,
        log=LOG,
    )
    yield found
    found.close()


async def test_what_nobody_has_used_yet_is_empty(watch: StorageWatch) -> None:
    found = await watch.of("ada")
    assert [each.area for each in found] == [Area.HOME, *[Area.PROJECT] * len(ADA.projects)]
    assert {(each.used, each.known, each.full) for each in found} == {(0, True, False)}


async def test_a_full_home_is_seen_as_soon_as_it_is_measured_again(
    watch: StorageWatch, arc: Path, clock: Clock
) -> None:
    (arc / "home" / "ada").mkdir()
    assert (await watch.of("ada"))[0].used is not None
    (arc / "home" / "ada" / "file").write_bytes(os.urandom(100_000))
    again = (await watch.of("ada"))[0]
    assert again.used is not None
    assert again.used < 100_000, "a measurement serves for a while"
    clock.go(timedelta(minutes=1))
    later = (await watch.of("ada"))[0]
    assert later.used is not None
    assert later.used >= 100_000
    assert later.limit == 2**30
    assert later.known


async def test_when_arc_is_away_the_last_is_told_with_its_time(
    watch: StorageWatch, arc: Path, clock: Clock
) -> None:
    before = (await watch.of("ada"))[0]
    arc.rename(arc.with_name("away"))  # noqa: ASYNC240 - a moment
    clock.go(timedelta(minutes=5))
    after = (await watch.of("ada"))[0]
    assert (after.used, after.at, after.known) == (before.used, before.at, False)
    arc.with_name("away").rename(arc)
    assert (await watch.of("ada"))[0].known


async def test_a_file_system_that_hangs_holds_nobody_up(
    watch: StorageWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(60)
        raise OSError("it came back")

    monkeypatch.setattr(storage, "measure", hang)
    monkeypatch.setattr(storage, "_WAIT_FOR", 0.05)
    try:
        first = await watch.of("ada")
        again = await watch.of("ada")
    finally:
        released.set()
    assert {each.known for each in (*first, *again)} == {False}
    assert {each.at for each in first} == {None}


async def test_what_sessions_tell_serves_where_the_manager_sees_nothing(
    parts: Parts, clock: Clock
) -> None:
    blind = StorageWatch(
        arc=None,
        scratch=None,
        identities=People(),
        policy=lambda: POLICY,
        beaten=lambda _: None,
        clock=clock,
        log=LOG,
    )
    record = await parts.launch()
    assert not (await blind.of("ada"))[0].known
    blind.heard(record, (HeartbeatFilling(path="/arc/home/ada", used=5, quota=10),))
    told = (await blind.of("ada"))[0]
    assert (told.used, told.limit, told.known) == (5, 10, True)
    clock.go(timedelta(minutes=3))
    old = (await blind.of("ada"))[0]
    assert (old.used, old.known) == (5, False)
    assert await blind.scratch(record) is None
    blind.close()


async def test_scratch_is_counted_where_it_is_seen_and_else_as_told(
    parts: Parts, watch: StorageWatch, tmp_path: Path
) -> None:
    record = await parts.launch()
    assert await watch.scratch(record) == Scratch(files=7, bytes=700)
    place = tmp_path / "scratch" / record.launch
    place.mkdir(parents=True)
    (place / "file").write_bytes(b"x" * 123)
    assert await watch.scratch(record) == Scratch(files=1, bytes=123)


def test_what_an_end_wipes_is_said_as_far_as_it_is_known() -> None:
    assert lost_words(None) == "Whatever is in /scratch will be wiped."
    assert lost_words(Scratch(files=0, bytes=0)) == "There is nothing in /scratch."
    assert lost_words(Scratch(files=14, bytes=40320)) == (
        "14 files (39.4 kB) in /scratch will be wiped."
    )
    assert lost_words(Scratch(files=3, bytes=5, complete=False)).startswith("At least 3 files")
