"""What reaches the hub's database and its log, by whatever way it comes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.spawner import SpawnException
from sqlalchemy.orm import Session

from canfar_spawner.hub.rows import (
    DeepLink,
    NoOptionsInLog,
    forget_token,
    guard_rows,
    remove_row,
    storable,
)

SECRET = "canary-5a1f0c9e"
LOG = logging.getLogger("tests.rows")
OPTIONS: dict[str, Any] = {
    "container": "astroml",
    "mode": "fixed",
    "cores": 2,
    "memory": 4,
    "env": {"B": SECRET, "A": SECRET},
}
STORED = {"container": "astroml", "mode": "fixed", "cores": 2, "memory": 4, "env": ["A", "B"]}


@pytest.fixture
def db() -> Iterator[Session]:
    guard_rows()
    guard_rows()  # a second time changes nothing
    session = orm.new_session_factory("sqlite:///:memory:")()
    session.add(orm.User(name="ada"))
    session.commit()
    yield session
    session.close()


def make_row(db: Session, name: str = "abcdefgh") -> orm.Spawner:
    row = orm.Spawner(user=db.query(orm.User).one(), name=name)
    db.add(row)
    db.commit()
    return row


def test_options_are_stored_without_secrets() -> None:
    assert storable(OPTIONS) == STORED
    assert storable(storable(OPTIONS)) == STORED
    image = {
        "image": "images.canfar.net/skaha/x:1",
        "kind": "notebook",
        "registry_user": SECRET,
        "registry_secret": SECRET,
    }
    assert storable(image) == {"image": "images.canfar.net/skaha/x:1", "kind": "notebook"}


@pytest.mark.parametrize(
    "options",
    [
        None,
        {},
        [],
        "container",
        5,
        {"container": 5},
        {"uid": 0, "container": "astroml"},
        {"container": "astroml", "name": "<script>"},
        {"container": "astroml", "env": {"A B": "x"}},
        {"container": "astroml", "env": ["A=" + SECRET]},
        {"container": "astroml", "env": [SECRET + " "]},
        {"container": "astroml", "env": [f"V{n}" for n in range(1000)]},
        {"container": "astroml", "env": ["x" * 10_000]},
        {"container": "astroml", "env": [["A"]]},
        {"container": "astroml", "env": ["LD_PRELOAD"]},
    ],
)
def test_what_no_launch_may_ask_for_is_not_stored(options: object) -> None:
    assert storable(options) == {}


def test_every_way_to_a_row_is_guarded(db: Session) -> None:
    row = make_row(db)
    row.user_options = OPTIONS
    db.commit()
    assert row.user_options == STORED
    row.user_options = {"uid": 0, "env": {"A": SECRET}}  # what a PATCH does
    db.commit()
    assert row.user_options == {}
    made = orm.Spawner(user=row.user, name="bcdefghi", user_options=OPTIONS)
    db.add(made)
    db.commit()
    assert made.user_options == STORED
    found = db.connection().exec_driver_sql("select * from spawners").fetchall()
    assert SECRET not in str(found)


def test_a_server_without_a_name_stores_nothing(db: Session) -> None:
    row = make_row(db, "")
    row.user_options = OPTIONS
    db.commit()
    assert row.user_options == {}


def test_a_token_is_forgotten_by_its_id(db: Session) -> None:
    row = make_row(db)
    user = row.user
    db.add_all([orm.APIToken(user=user, hashed=f"h{n}", prefix=f"p{n}") for n in range(2)])
    db.commit()
    kept, gone = db.query(orm.APIToken).order_by(orm.APIToken.id)
    forget_token(row, gone.id)
    assert db.query(orm.APIToken).all() == [kept]
    for token_id in (9999, None):
        forget_token(row, token_id)
    assert db.query(orm.APIToken).all() == [kept]
    forget_token(orm.Spawner(name="detached"), kept.id)
    assert db.query(orm.APIToken).all() == [kept]


def make_spawner(row: orm.Spawner, *, active: bool = False) -> Any:
    user = SimpleNamespace(spawners={})
    spawner = SimpleNamespace(orm_spawner=row, user=user, name=row.name, active=active)
    user.spawners[row.name] = spawner
    return spawner


async def test_the_row_of_an_ended_session_goes(db: Session) -> None:
    spawner = make_spawner(make_row(db))
    await remove_row(spawner, after=0, log=LOG)
    assert db.query(orm.Spawner).all() == []
    assert spawner.user.spawners == {}
    await remove_row(spawner, after=0, log=LOG)  # removed before


async def test_the_row_of_a_session_that_runs_again_stays(db: Session) -> None:
    row = make_row(db)
    spawner = make_spawner(row, active=True)
    await remove_row(spawner, after=0, log=LOG)
    assert db.query(orm.Spawner).all() == [row]
    assert spawner.user.spawners


async def test_a_row_that_jupyterhub_removed_first_is_no_error(
    db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    row = make_row(db)
    spawner = make_spawner(row)
    db.delete(row)
    db.commit()
    await remove_row(spawner, after=0, log=LOG)
    assert not caplog.records


async def test_a_row_that_cannot_be_removed_is_told(
    db: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make_row(db)

    def locked() -> None:
        raise RuntimeError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(db, "commit", locked)
        await remove_row(make_spawner(row), after=0, log=LOG)
    assert "The row of abcdefgh could not be removed" in caplog.text
    assert db.query(orm.Spawner).count() == 1


@pytest.fixture
def filtered(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    log = logging.getLogger("tests.filtered")
    found = NoOptionsInLog()
    log.addFilter(found)
    with caplog.at_level(logging.DEBUG):
        yield log
    log.removeFilter(found)


def raised(error: Exception) -> Exception:
    """Give an error as it is caught, with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_options_stay_out_of_the_log(
    filtered: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    filtered.info(f"Setting user_options on ada/abcdefgh {{'env': {{'A': '{SECRET}'}}}}")
    filtered.debug("Bad JSON: %r", SECRET)
    assert SECRET not in caplog.text
    assert "Setting user_options on ada/abcdefgh" in caplog.text


def test_a_clients_mistake_leaves_no_traceback(
    filtered: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = raised(SpawnException("no", reason="invalid"))
    filtered.error("Failed to spawn single-user server with form", exc_info=refusal)
    filtered.error("Couldn't parse JSON", exc_info=raised(ValueError("x")))
    filtered.error("Failed to spawn", exc_info=raised(DeepLink()))
    assert "Traceback" not in caplog.text
    assert len(caplog.records) == 2
    filtered.error("A fault of ours", exc_info=raised(RuntimeError("x")))
    assert "Traceback" in caplog.text
