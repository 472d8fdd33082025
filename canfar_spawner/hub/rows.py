"""What the hub's database may hold of a session, and for how long.

JupyterHub stores the options of a launch before a spawner sees them, and keeps a row of each
named server for ever. Here nothing unchecked or secret is stored, and rows of ended sessions
go: the history belongs to the session manager.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from jupyterhub import orm
from jupyterhub.spawner import SpawnException
from sqlalchemy import event, inspect
from sqlalchemy.orm import object_session
from typing_extensions import override

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.request import options_of, parse_request, without_secrets

KEEP_FAILED = 600.0
"""Seconds for which a failed start is kept, so that its page can say why."""
KEEP_ENDED = 2.0
"""Seconds that JupyterHub's own removal gets before ours."""


def storable(options: object) -> dict[str, object]:
    """Give options as they may be stored: normalised, without secrets, or nothing at all."""
    if not isinstance(options, dict) or not options:
        return {}
    env = options.get("env")
    if isinstance(env, list) and all(isinstance(name, str) for name in env):
        # A form arrives here with its variables by name alone already.
        options = {**options, "env": dict.fromkeys(env, "")}
    try:
        return without_secrets(options_of(parse_request(options)))
    except SessionError:
        return {}


def _on_set(row: orm.Spawner, value: object, _old: object, _initiator: object) -> object:
    return storable(value) if row.name else {}


def guard_rows() -> None:
    """See to it that every way into ``user_options`` of the database passes `storable`.

    An event of SQLAlchemy, not a change of a handler: also a PATCH, which JupyterHub stores
    without asking anybody, is covered.
    """
    if not event.contains(orm.Spawner.user_options, "set", _on_set):
        event.listen(orm.Spawner.user_options, "set", _on_set, retval=True)


def forget_token(row: orm.Spawner, token_id: int | None) -> None:
    """Delete the token of an ended session by its id.

    JupyterHub deletes it by its value, which it has lost if it was restarted meanwhile.
    """
    db = object_session(row)
    if db is None or token_id is None:
        return
    token = db.get(orm.APIToken, token_id)
    if token is not None:
        db.delete(token)
        db.commit()


async def remove_row(spawner: Any, *, after: float, log: logging.Logger) -> None:
    """Remove the row of an ended session, unless it has been removed or started again."""
    await asyncio.sleep(after)
    row, user = spawner.orm_spawner, spawner.user
    db = object_session(row)
    if db is None or not inspect(row).persistent:
        return
    current = user.spawners.get(spawner.name)
    if current is not None and current.active:
        return
    try:
        user.spawners.pop(spawner.name, None)
        db.delete(row)
        db.commit()
    except Exception:
        db.rollback()
        log.exception("The row of %s could not be removed", spawner.name)


class NoOptionsInLog(logging.Filter):
    """Keeps what clients send, and tracebacks of refusals and deep links, out of the hub's log."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten or drop a record."""
        message = str(record.msg)
        if message.startswith("Setting user_options on "):
            record.msg = message.partition(" {")[0]
            record.args = ()
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, SpawnException) or message == "Couldn't parse JSON":
            # The client's mistake; where in the hub it was noticed helps nobody.
            record.exc_info = None
        return not isinstance(error, DeepLink) and not message.startswith("Bad JSON: ")


class DeepLink(Exception):
    """Raised for a query that fills the form, since only raising renders it."""

    status_code = 200
