"""The database, on one thread of its own; whatever goes wrong with it is Unavailable."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from alembic.util import CommandError
from sqlalchemy import create_engine, event, make_url
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session as Connection

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.manager.migrations import Unusable, upgrade
from canfar_spawner.manager.tables import Meta

Found = TypeVar("Found")

_BUSY: Final = 2.0
"""Seconds for which somebody else's lock of the database is waited for."""
_SENTENCE: Final = "The session manager cannot write now. Try again in a minute."


class _Transaction(Connection):
    """Knows whether anything was written."""

    has_written = False


@event.listens_for(_Transaction, "after_flush")
def _written(db: _Transaction, _context: object) -> None:
    db.has_written = True


def _prepare(connection: Any, _record: object) -> None:
    """Set up a connection to SQLite: readers beside the writer, and what is told stays told."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # A job is started once only, also where the machine loses its power after that.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


class Store:
    """The manager's database.

    Parameters
    ----------
    url : str
        SQLAlchemy's.
    log : logging.Logger
    busy : float
        Seconds for which somebody else's lock of a file is waited for.
    """

    def __init__(self, url: str, *, log: logging.Logger, busy: float = _BUSY) -> None:
        self._given = url
        self._url: URL | None = None
        self._log = log
        self._busy = busy
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._file: Path | None = None
        self._inode: int | None = None
        self._engine: Engine | None = None
        self.epoch = ""
        """Random, and another one where the database has been made anew."""
        self.problem = ""
        """What went wrong the last time; empty where nothing did."""

    @property
    def which(self) -> tuple[str, int | None]:
        """Which database it is: another one where it was made anew, or put in its place."""
        return self.epoch, self._inode

    async def open(self) -> None:
        """Open the database, made where there is none; raises Unavailable.

        Where writing has failed, it is tried: what can be read may still be full or locked.
        """
        await self.run(self._try_to_write)

    def _try_to_write(self, db: Connection) -> None:
        if self.problem:
            db.merge(Meta(key="written", value=secrets.token_hex(8)))

    async def close(self) -> None:
        """Close the database; whoever still wants something of it is told that it is away."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._dispose)
        self._thread.shutdown()

    async def run(self, work: Callable[[Connection], Found]) -> Found:
        """Do something with the database, in one transaction.

        Parameters
        ----------
        work : callable
            Runs on the store's own thread.

        Raises
        ------
        Unavailable
            The database is locked, closed to writing, full or gone. Nothing of `work` is kept.
        """
        if self._closed:
            raise Unavailable(_SENTENCE, detail="the database is closed", code="database")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[Connection], Found]) -> Found:
        try:
            with _Transaction(self._opened()) as db, db.begin():
                found = work(db)
        except (SQLAlchemyError, CommandError, sqlite3.Error, OSError) as error:
            # An error of SQLAlchemy says which values it was about.
            cause = getattr(error, "orig", None) or error
            detail = f"{type(cause).__name__}: {str(cause)[:200]}"
            self._dispose()
            if detail != self.problem:
                self._log.error("The database cannot be used: %s", detail)
            self.problem = detail
            raise Unavailable(_SENTENCE, detail=detail, code="database") from None
        if self.problem and db.has_written:
            self._log.warning("The database can be used again")
            self.problem = ""
        return found

    def _opened(self) -> Engine:
        """Give the database, opened again where its file is another one than before."""
        url = self._url or self._parsed()
        if self._engine is not None and self._seen() != self._inode:
            self._log.error("The database is gone; it is made anew")
            self._dispose()
        if self._engine is None:
            engine = self._made(url)
            try:
                self.epoch = self._prepared(engine)
            except BaseException:
                engine.dispose()
                raise
            self._engine, self._inode = engine, self._seen()
        return self._engine

    def _parsed(self) -> URL:
        """Read the URL; what SQLAlchemy says of a wrong one may have its password in it."""
        try:
            url = make_url(self._given)
            url.get_dialect().import_dbapi()
        except (ArgumentError, NoSuchModuleError):
            raise Unusable(
                "The URL of the session manager's database is none that SQLAlchemy knows; it is such"
                " as postgresql+psycopg://user:password@host/name."
            ) from None
        except ImportError as error:
            raise Unusable(
                f"The driver of the session manager's database, {error.name}, is not installed."
                " Install it, or leave the URL away: the database is a file then."
            ) from None
        if url.get_backend_name() == "sqlite" and url.database:
            self._file = Path(url.database)
        self._url = url
        return url

    def _made(self, url: URL) -> Engine:
        if self._file is None:
            return create_engine(url, pool_pre_ping=True)
        if not self._file.exists():
            # What belongs to a database that is gone would spoil the new one.
            for end in ("-wal", "-shm"):
                self._file.with_name(self._file.name + end).unlink(missing_ok=True)
        # Before SQLite makes it, with whatever mode it finds fit.
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
        self._file.chmod(0o600)
        engine = create_engine(url, connect_args={"timeout": self._busy})
        event.listen(engine, "connect", _prepare)
        return engine

    @staticmethod
    def _prepared(engine: Engine) -> str:
        """Bring the tables to the present form, and give the epoch."""
        with engine.begin() as connection:
            upgrade(connection)
        with Connection(engine) as db, db.begin():
            kept = db.get(Meta, "epoch")
            if kept is None:
                kept = Meta(key="epoch", value=secrets.token_hex(8))
                db.add(kept)
            return kept.value

    def _seen(self) -> int | None:
        if self._file is None:
            return None
        try:
            return self._file.stat().st_ino
        except OSError:
            return -1

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None
