"""How the database comes to the form that this version works with."""

from __future__ import annotations

import logging
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from canfar_spawner.core.errors import Unavailable

_PLACE: Final = "canfar_spawner.manager:migrations"


class Unusable(Unavailable):
    """The database is there or is named in a way that no waiting makes right."""

    code = "database_unusable"


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", _PLACE)
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Bring a database, empty or of an earlier version, to the present form.

    Raises
    ------
    Unusable
        It is of a later version than this program.
    """
    # It would tell at every start which database it has found.
    logging.getLogger("alembic.runtime").setLevel(logging.WARNING)
    config = _config(connection)
    script = ScriptDirectory.from_config(config)
    for revision in MigrationContext.configure(connection).get_current_heads():
        try:
            script.get_revision(revision)
        except CommandError:
            raise Unusable(
                "The session manager's database is of a later version than the session manager."
                " Install that version again, or restore a backup made before it.",
                detail=f"revision {revision} is not known",
                code="newer_database",
            ) from None
    command.upgrade(config, "head")
