"""A file on its way to a browser: a piece of it in memory, and the next one being read."""

from __future__ import annotations

import asyncio
import os
import time
from http import HTTPStatus

from tornado.iostream import StreamClosedError

from canfar_lab.storage.areas import Place
from canfar_lab.storage.errors import Refused, from_os_error
from canfar_lab.storage.handler import StorageHandler
from canfar_lab.transfers import content, ranges
from canfar_lab.transfers.board import Transfers
from canfar_lab.transfers.jobs import Job, Spot, Stopped, Work

_PIECE = 1 << 20
_AWAY_AFTER = 600.0
"""Seconds that a browser may take for a piece before it is taken to be gone."""


class Downloads(StorageHandler):
    """The bytes of a file, all of them or from where a browser goes on."""

    async def get(self) -> None:
        """Send the file."""
        await self._answer()

    async def head(self) -> None:
        """Say what would be sent."""
        await self._answer()

    async def _answer(self) -> None:
        asked = self.question("area", "path")
        if "area" not in asked or "path" not in asked:
            raise Refused("invalid", "A download needs the parameters area and path.")
        place, file = await self.in_thread(self._open, asked["area"], asked["path"])
        try:
            await self._send(place, file)
        finally:
            os.close(file)

    def _open(self, area: str, path: str) -> tuple[Place, int]:
        place = self.areas.locate(area, path)
        try:
            return place, place.open_file(os.O_RDONLY)
        except OSError as error:
            raise from_os_error(error, place.name) from None

    async def _send(self, place: Place, file: int) -> None:
        found = os.fstat(file)
        part = ranges.part(self.request.headers, found)
        tag = ranges.tag(found)
        self.set_header("ETag", tag)
        self.set_header("Last-Modified", ranges.modified(found))
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Content-Disposition", ranges.attachment(place.name))
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_status(part.status)
        if part.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.set_header("Content-Range", f"bytes */{found.st_size}")
            raise Refused("invalid", "The file has no such bytes.", part.status)
        if part.status == HTTPStatus.PARTIAL_CONTENT:
            self.set_header("Content-Range", f"bytes {part.begin}-{part.end - 1}/{found.st_size}")
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(part.end - part.begin))
        if self.request.method == "HEAD" or self.request.headers.get("If-None-Match") == tag:
            if self.request.method != "HEAD":
                self.clear_header("Content-Length")
                self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish(set_content_type="application/octet-stream")
            return
        work = self._shown(place, tag, part)
        try:
            await self._pieces(file, found, part, work)
        except (OSError, Refused, Stopped) as error:
            # A part of it is sent: all that can be said of it now is that it does not go on.
            self._broken(work, error)
            return
        work.job.state, work.job.ended, work.job.files_done = "done", time.time(), 1
        self.finish(set_content_type="application/octet-stream")

    def _shown(self, place: Place, tag: str, part: ranges.Part) -> Work:
        """Show the download among the transfers; a browser that goes on has no new one."""
        transfers: Transfers = self.settings["canfar_transfers"]
        for work in transfers.works():
            job = work.job
            if job.kind == "download" and job.boot == tag and job.state == "failed" and part.begin:
                job.again()
                break
        else:
            source = Spot(place.area.id, [place.path])
            job = Job("download", source=source, name=place.name, boot=tag, files_total=1)
            work = transfers.add(job)
        job.bytes_done, job.bytes_total = part.begin, part.end
        job.state, job.started, work.stop = "running", job.started or time.time(), ""
        return work

    async def _pieces(
        self, file: int, found: os.stat_result, part: ranges.Part, work: Work
    ) -> None:
        """Send piece after piece, and read the next one meanwhile."""
        loop = asyncio.get_running_loop()
        at = part.begin
        coming = loop.run_in_executor(None, os.pread, file, min(_PIECE, part.end - at), at)
        try:
            while at < part.end:
                piece = await coming
                at += len(piece)
                if not piece or (
                    at >= part.end and content.identity(os.fstat(file)) != content.identity(found)
                ):
                    # Whoever has this much must not believe that it is all of it.
                    raise content.changed(work.job.name)
                if at < part.end:
                    coming = loop.run_in_executor(
                        None, os.pread, file, min(_PIECE, part.end - at), at
                    )
                self.write(piece)
                await asyncio.wait_for(self.flush(), _AWAY_AFTER)
                work.moved(len(piece))
        finally:
            # The file must not be closed while something is read from it.
            await asyncio.wait([coming])

    def _broken(self, work: Work, error: Exception) -> None:
        """Note that a download has ended early, and let nobody take it for complete."""
        job = work.job
        work.rest()
        job.ended = time.time()
        job.state = "cancelled" if work.stop else "failed"
        left = isinstance(error, (StreamClosedError, TimeoutError))
        if isinstance(error, OSError) and not left:
            error = from_os_error(error, job.name)
        if isinstance(error, Refused):
            job.error = {"code": error.code, "message": error.message}
        elif not work.stop:
            job.error = {
                "code": "left",
                "message": "The browser has ended the download; it can go on where it lists it.",
            }
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None and not stream.closed():
            stream.close()

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Answer what went wrong; nothing of the file is in that."""
        for name in ("Content-Length", "Content-Disposition", "ETag", "Last-Modified"):
            self.clear_header(name)
        super().write_error(status_code, **kwargs)
