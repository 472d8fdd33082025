"""The form of the manager's database, from any earlier version to this one."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.manager.migrations import upgrade
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.store import Store
from canfar_spawner.manager.tables import Table
from tests.core.world import NOW
from tests.manager.recorded import recorded
from tests.support.hub import ROOT, free_port

LOG = logging.getLogger("tests.manager.migrations")


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "canfar_spawner.manager:migrations")
    return ScriptDirectory.from_config(config)


REVISIONS = [script.revision for script in reversed(list(_scripts().walk_revisions()))]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return create_engine(f"sqlite:///{tmp_path / 'sessions.sqlite'}")


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Table.metadata))


def test_an_empty_one_gets_exactly_the_tables_of_this_version(engine: Engine) -> None:
    assert differences(engine), "an empty one has none of them"
    with engine.begin() as connection:
        upgrade(connection)
    assert differences(engine) == []
    assert set(inspect(engine).get_table_names()) == {*Table.metadata.tables, "alembic_version"}


def test_the_unique_keys_are_there(engine: Engine) -> None:
    """`compare_metadata` passes over those of SQLite that have no name."""
    with engine.begin() as connection:
        upgrade(connection)
    made = create_engine("sqlite://")
    Table.metadata.create_all(made)
    for table in Table.metadata.tables:
        keys = [
            sorted(
                tuple(key["column_names"]) for key in inspect(each).get_unique_constraints(table)
            )
            for each in (engine, made)
        ]
        assert keys[0] == keys[1], table


@pytest.mark.parametrize("revision", REVISIONS)
async def test_one_of_an_earlier_version_keeps_what_it_has(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "sessions.sqlite"
    record = recorded(1)
    with sqlite3.connect(path) as old:
        script = Path(__file__).parent / "databases" / f"{revision}.sql"
        old.executescript(script.read_text())
        old.execute(
            "INSERT INTO sessions (id, launch, owner, kind, asked, ended, record)"
            " VALUES (?, ?, ?, ?, ?, NULL, ?)",
            (
                record.id,
                record.launch,
                record.owner,
                record.kind,
                f"{NOW:%Y-%m-%d %H:%M:%S.%f}",
                record.model_dump_json(),
            ),
        )
    store = Store(f"sqlite:///{path}", log=LOG)
    await store.open()
    registry = Registry(store, clock=lambda: NOW, log=LOG)
    await registry.load()
    assert registry.live() == (record,)
    await store.close()
    assert differences(create_engine(f"sqlite:///{path}")) == []


async def test_one_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    store = Store(f"sqlite:///{path}", log=LOG)
    await store.open()
    await store.close()
    with sqlite3.connect(path) as later:
        later.execute("UPDATE alembic_version SET version_num = '9999'")
        later.execute("CREATE TABLE of_later (x)")
    before = path.read_bytes()
    again = Store(f"sqlite:///{path}", log=LOG)
    with pytest.raises(Unavailable, match="later version") as raised:
        await again.open()
    assert raised.value.code == "newer_database"
    assert "Install that version again, or restore a backup" in raised.value.sentence
    await again.close()
    assert path.read_bytes() == before


def test_a_manager_with_one_of_a_later_version_ends_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "hub" / "sessions" / "sessions.sqlite"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as later:
        later.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        later.execute("INSERT INTO alembic_version VALUES ('9999')")
    ended = subprocess.run(
        [sys.executable, "-m", "canfar_spawner.cli.main", "sessions"],
        env={**os.environ, "CANFAR_HUB_DATA": str(tmp_path), "CANFAR_HUB_PORT": str(free_port())},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "of a later version than the session manager" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_step_can_be_taken_back_and_again(engine: Engine) -> None:
    from alembic import command

    with engine.begin() as connection:
        upgrade(connection)
    config = Config()
    config.set_main_option("script_location", "canfar_spawner.manager:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    with engine.begin() as connection:
        upgrade(connection)
    assert differences(engine) == []
