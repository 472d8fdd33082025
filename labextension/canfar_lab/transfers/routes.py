"""The routes of transfers, below those of storage."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

from tornado.web import stream_request_body

from canfar_lab.storage.errors import Refused
from canfar_lab.storage.handler import StorageHandler
from canfar_lab.transfers.board import Transfers
from canfar_lab.transfers.downloads import Downloads
from canfar_lab.transfers.jobs import Job, Stopped, Work, view
from canfar_lab.transfers.journal import Journal, directories
from canfar_lab.transfers.uploads import Body

_LONGEST_WAIT = 30.0
_GATHER = 2 << 20
"""Bytes that are written at once."""
_DIGEST = re.compile(r"\s*sha-256=:([A-Za-z0-9+/]{43}=):\s*")
_ID = "[0-9a-f]{12}"
_LARGEST_BODY = 1 << 50


class TransferHandler(StorageHandler):
    """A route to the transfers."""

    @property
    def transfers(self) -> Transfers:
        """The transfers of this server."""
        found: Transfers = self.settings["canfar_transfers"]
        return found

    def write_work(self, work: Work, status: int = 200) -> None:
        """Answer one transfer."""
        self.write_json(view(work.job, work.speed), status)

    def write_job(self, job: Job, status: int = 200) -> None:
        """Answer one transfer, as it was asked about."""
        self.write_json(view(job, None), status)


class All(TransferHandler):
    """All transfers."""

    async def get(self) -> None:
        """List them, at once or when there is something new."""
        asked = self.question("after", "wait")
        after, wait = _number(asked.get("after"), "after"), _number(asked.get("wait"), "wait")
        await self.transfers.wait(after, min(wait, _LONGEST_WAIT))
        version = self.transfers.version
        self.write_json({"version": version, "transfers": self.transfers.views()})

    async def post(self) -> None:
        """Begin one."""
        try:
            asked = json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise Refused("invalid", "The request must be JSON.") from None
        if not isinstance(asked, dict):
            raise Refused("invalid", "The request must be an object with kind, from and to.")
        self.write_job(await self.transfers.begin(asked), 201)

    async def delete(self) -> None:
        """Take all that have ended from the list."""
        await self.transfers.ready()
        await self.transfers.forget_ended()
        self.write_json({"version": self.transfers.version, "transfers": self.transfers.views()})


class One(TransferHandler):
    """One transfer."""

    async def get(self, name: str) -> None:
        """Say how far it is."""
        await self.transfers.ready()
        self.write_work(self.transfers.find(name))

    async def delete(self, name: str) -> None:
        """Take it from the list."""
        await self.transfers.ready()
        await self.transfers.forget(name)
        self.write_json({"version": self.transfers.version})


class Doing(TransferHandler):
    """What is done with a transfer."""

    async def post(self, name: str, what: str) -> None:
        """Pause, resume or cancel it."""
        await self.transfers.ready()
        actions = {
            "pause": self.transfers.pause,
            "resume": self.transfers.resume,
            "cancel": self.transfers.cancel,
        }
        await actions[what](name)
        self.write_work(self.transfers.find(name))


class Digest(TransferHandler):
    """What was received of an upload, to be compared by a page that goes on with it."""

    async def get(self, name: str) -> None:
        """Give the SHA-256 of a part."""
        asked = self.question("start", "end")
        begin, end = _number(asked.get("start"), "start"), _number(asked.get("end"), "end")
        upload = await self.transfers.upload(name)
        found = await self.in_thread(upload.digest, int(begin), int(end))
        self.write_json({"start": int(begin), "end": int(end), "sha256": found})


@stream_request_body
class Content(TransferHandler):
    """The bytes of an upload, which are written as they come."""

    async def prepare(self) -> None:  # type: ignore[override]  # as its own base class
        """Find out what they belong to, before the first of them is read."""
        self._body: Body | None = None
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._writing: asyncio.Future[None] | None = None
        self._offset: int | None = None
        await super().prepare()
        # Each is small in memory, however much comes.
        connection: Any = self.request.connection
        connection.set_max_body_size(_LARGEST_BODY)
        if self.request.method != "PUT":
            return
        told = self.request.headers.get("Upload-Offset", "")
        if not re.fullmatch(r"\d{1,19}", told):
            raise Refused(
                "invalid",
                "The header Upload-Offset must be the number of the first byte that comes.",
            )
        length = self.request.headers.get("Content-Length")
        upload = await self.transfers.upload(self.path_args[0])
        self._upload = upload
        self._offset = upload.job.bytes_done
        self._body = Body(upload, int(told), int(length) if length else None, self._digest())
        upload.job.state = "running"
        upload.work.stop = ""

    def _digest(self) -> bytes | None:
        told = self.request.headers.get("Content-Digest")
        if told is None:
            return None
        found = _DIGEST.fullmatch(told)
        if found is None:
            raise Refused(
                "invalid",
                "The header Content-Digest must be sha-256=:…:, with the digest in base64.",
            )
        try:
            return base64.b64decode(found[1], validate=True)
        except binascii.Error:
            raise Refused("invalid", "The digest in Content-Digest is no base64.") from None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Take a piece; it is written with others, while the next ones come."""
        if self._body is None:
            return None
        self._pieces.append(chunk)
        self._gathered += len(chunk)
        return self._write() if self._gathered >= _GATHER else None

    async def _write(self) -> None:
        pieces, self._pieces, self._gathered = self._pieces, [], 0
        await self._written()
        body = self._body
        if body is not None and pieces:
            self._writing = asyncio.get_running_loop().run_in_executor(None, body.write, pieces)

    async def _written(self) -> None:
        """Wait for what is being written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            await writing
        except Stopped:
            self._end_body()
            raise Refused("paused", "This upload was stopped; resume it first.", 409) from None
        except (OSError, Refused) as error:
            self._end_body()
            if isinstance(error, OSError):
                await self.transfers.failed(self._upload, error)
            raise

    def _end_body(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.broken()

    async def put(self, name: str) -> None:
        """Keep what has come."""
        await self._write()
        await self._written()
        body, self._body = self._body, None
        if body is not None:
            try:
                body.finish()
            finally:
                await self.transfers.received(self._upload)
        self.write_work(self.transfers.find(name))

    def on_connection_close(self) -> None:
        """Keep what came until then."""
        super().on_connection_close()
        if self._body is not None:
            _RUNNING.add(task := asyncio.ensure_future(self._lost()))
            task.add_done_callback(_RUNNING.discard)

    async def _lost(self) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._writing = None
        self._end_body()
        await self.transfers.received(self._upload)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what went wrong, and where the upload is to go on."""
        self._end_body()
        # What still comes of the body is not read: a proxy must not send its next request after it.
        self.set_header("Connection", "close")
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if isinstance(error, Refused) and error.code == "offset" and self._offset is not None:
            self.set_status(error.status)
            told = {"code": error.code, "message": error.message, "offset": self._offset}
            self.finish(json.dumps(told))
            return
        super().write_error(status_code, **kwargs)


_RUNNING: set[asyncio.Task[None]] = set()


def _number(text: str | None, name: str) -> int:
    if text is None:
        return 0
    if not re.fullmatch(r"\d{1,19}", text):
        raise Refused("invalid", f"The parameter {name} must be a whole number from 0 on.")
    return int(text)


def prepare(settings: dict[str, Any], log: Any) -> None:
    """Make what the routes need, of a server that knows its areas.

    Parameters
    ----------
    settings : dict
        Of the web application.
    log : logging.Logger
    """
    environ = dict(os.environ)
    session = environ.get("CANFAR_SESSION_ID", "")
    journal = Journal(directories(environ))
    activity = settings.setdefault("last_activity_times", {})

    def moving() -> None:
        # Whoever copies for hours without a kernel is not idle.
        activity["canfar_transfers"] = datetime.now(UTC)

    areas = settings["canfar_areas"]
    settings["canfar_transfers"] = Transfers(areas, journal, log, session, moving)


def routes(base: str) -> list[tuple[str, type[StorageHandler]]]:
    """Give the routes.

    Parameters
    ----------
    base : str
        The server's address, with a slash at its end.
    """
    at = f"{re.escape(base)}canfar"
    return [
        (rf"{at}/files", Downloads),
        (rf"{at}/transfers", All),
        (rf"{at}/transfers/({_ID})", One),
        (rf"{at}/transfers/({_ID})/(pause|resume|cancel)", Doing),
        (rf"{at}/transfers/({_ID})/content", Content),
        (rf"{at}/transfers/({_ID})/digest", Digest),
    ]
