# ruff: noqa: ASYNC240 - nothing else runs in these loops
"""The manager's database, and everything that can be wrong with one."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import sqlite3
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session as Connection

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.manager.migrations import Unusable
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.tables import Meta

LOG = logging.getLogger("tests.manager.store")


def writing(key: str, value: str = "kept") -> Callable[[Connection], None]:
    def work(db: Connection) -> None:
        db.merge(Meta(key=key, value=value))

    return work


def reading(key: str) -> Callable[[Connection], str | None]:
    return lambda db: db.scalar(select(Meta.value).where(Meta.key == key))


def store_of(path: Path) -> Store:
    return Store(f"sqlite:///{path}", log=LOG)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    found = store_of(path)
    await found.open()
    yield found
    await found.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that every writer needs."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let writing beyond a size fail, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_what_is_written_is_there_for_the_next_manager(path: Path) -> None:
    first = store_of(path)
    await first.run(writing("a", "é€\U0001f30c"))
    epoch = first.epoch
    await first.close()
    second = store_of(path)
    assert await second.run(reading("a")) == "é€\U0001f30c"
    assert second.epoch == epoch != ""
    await second.close()


async def test_nobody_else_may_read_it(store: Store, path: Path) -> None:
    await store.run(writing("a"))
    for file in path.parent.glob("sessions.sqlite*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.touch()
    path.chmod(0o644)
    store = store_of(path)
    await store.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.close()


async def test_what_was_told_outlasts_a_loss_of_power(store: Store) -> None:
    mode = await store.run(lambda db: db.scalar(text("PRAGMA journal_mode")))
    synchronous = await store.run(lambda db: db.scalar(text("PRAGMA synchronous")))
    assert (mode, synchronous) == ("wal", 2)


async def test_work_has_a_thread_of_its_own_and_comes_one_after_the_other(store: Store) -> None:
    threads = set()

    def work(db: Connection) -> None:
        threads.add(threading.get_ident())
        kept = db.get(Meta, "count") or Meta(key="count", value="0")
        kept.value = str(int(kept.value) + 1)
        db.add(kept)

    await asyncio.gather(*(store.run(work) for _ in range(50)))
    assert await store.run(reading("count")) == "50"
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_half_of_something_is_nothing(store: Store) -> None:
    def work(db: Connection) -> None:
        db.add(Meta(key="half", value="x"))
        db.flush()
        raise KeyError("half")

    with pytest.raises(KeyError):
        await store.run(work)
    assert await store.run(reading("half")) is None
    assert store.problem == "", "what the work itself raises says nothing of the database"


async def test_one_that_is_locked(store: Store, path: Path) -> None:
    with locked(path):
        with pytest.raises(Unavailable) as raised:
            await store.run(writing("a"))
        assert "locked" in raised.value.detail
        assert "locked" in store.problem
        assert await store.run(reading("a")) is None, "who reads waits for nobody"
        assert "locked" in store.problem, "that it can be read does not mean that it is well"
        with pytest.raises(Unavailable):
            await store.open()
    await store.open()
    assert store.problem == ""
    await store.run(writing("a"))
    assert await store.run(reading("a")) == "kept"


async def test_a_lock_for_a_moment_is_waited_for(store: Store, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    written = asyncio.ensure_future(store.run(writing("a")))
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()
    await written
    assert await store.run(reading("a")) == "kept"


async def test_one_that_is_full(store: Store, path: Path) -> None:
    await store.run(writing("before"))
    with files_no_larger_than(path.with_name("sessions.sqlite-wal").stat().st_size + 100):

        def work(db: Connection) -> None:
            db.add_all(Meta(key=str(number), value="x" * 250) for number in range(400))

        with pytest.raises(Unavailable):
            await store.run(work)
        assert await store.run(reading("before")) == "kept"
    assert await store.run(reading("7")) is None
    await store.run(writing("after"))
    assert await store.run(reading("after")) == "kept"


async def test_one_that_may_not_be_written(path: Path) -> None:
    # Who may do everything is kept out by no mode, so that somebody else has to try.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = store_of(path)
        await first.run(writing("before"))
        await first.close()
        copy = Path(shutil.copy(path, folder / "sessions.sqlite"))
        copy.chmod(0o444)
        folder.chmod(0o555)
        somebody = 65534 if os.geteuid() == 0 else os.geteuid()
        before = os.geteuid()
        store = store_of(copy)
        os.seteuid(somebody)
        try:
            with pytest.raises(Unavailable) as raised:
                await store.open()
        finally:
            os.seteuid(before)
            folder.chmod(0o755)
        assert "Permission" in raised.value.detail or "permitted" in raised.value.detail
        copy.chmod(0o600)
        assert await store.run(reading("before")) == "kept"
        await store.close()


async def test_one_that_is_lost_is_made_anew(store: Store, path: Path) -> None:
    await store.run(writing("a"))
    before = store.which
    for file in path.parent.glob("sessions.sqlite*"):
        file.unlink()
    assert await store.run(reading("a")) is None
    assert store.which != before
    assert store.epoch != before[0]
    await store.run(writing("a", "again"))
    assert path.exists()
    assert await store.run(reading("a")) == "again"


async def test_one_whose_directory_is_lost_comes_back_with_it(store: Store, path: Path) -> None:
    await store.run(writing("a"))
    aside = path.parent.with_name("aside")
    path.parent.rename(aside)
    with pytest.raises(Unavailable):
        await store.run(writing("b"))
    aside.rename(path.parent)
    assert await store.run(reading("a")) == "kept"


async def test_another_in_its_place_is_seen(store: Store, path: Path) -> None:
    await store.run(writing("a", "old"))
    backup = path.with_name("backup")
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    await store.run(writing("a", "new"))
    before = store.which
    backup.replace(path)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    assert await store.run(reading("a")) == "old"
    assert store.which != before
    assert store.epoch == before[0], "it is a copy of the same"


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one " * 40])
async def test_what_is_no_database_is_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    store = store_of(path)
    for _ in range(2):
        with pytest.raises(Unavailable) as raised:
            await store.open()
        assert "not a database" in raised.value.detail
    assert path.read_bytes() == content
    await store.close()


async def test_what_is_torn_in_the_middle_is_told(path: Path) -> None:
    store = store_of(path)
    await store.run(
        lambda db: db.add_all(Meta(key=f"{number:04}", value="x" * 200) for number in range(500))
    )
    await store.close()
    data = bytearray(path.read_bytes())
    data[4096 * 4 :] = b"\xff" * (len(data) - 4096 * 4)
    path.write_bytes(data)
    torn = store_of(path)
    with pytest.raises(Unavailable):
        await torn.run(lambda db: list(db.scalars(select(Meta.value))))
    await torn.close()


async def test_a_problem_is_told_once_with_no_value_in_it(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(path):
        for _ in range(2):
            with pytest.raises(Unavailable) as raised:
                await store.run(writing("a", "private-value"))
            assert "private-value" not in f"{raised.value.detail}{raised.value.sentence}"
    await store.run(writing("a"))
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "cannot be used" in line]) == 1
    assert len([line for line in told if "used again" in line]) == 1
    assert "private-value" not in caplog.text


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgres:/ada:very-private@db", "none that SQLAlchemy knows"),
        ("oracleofdelphi://ada:very-private@db/sessions", "none that SQLAlchemy knows"),
        ("mysql+mysqldb://ada:very-private@db/sessions", "MySQLdb, is not installed"),
    ],
)
async def test_what_can_never_be_opened_is_told_without_its_password(
    url: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(url, log=LOG)
    with pytest.raises(Unusable, match=word) as raised:
        await store.open()
    assert "very-private" not in f"{raised.value.sentence}{raised.value.detail}{caplog.text}"
    assert raised.value.__cause__ is None
    await store.close()
