"""Areas with transfers between them, and files to transfer."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from canfar_lab.storage.areas import Area, Areas
from canfar_lab.transfers.board import Transfers
from canfar_lab.transfers.jobs import Job
from canfar_lab.transfers.journal import Journal
from canfar_lab.transfers.uploads import Body

WITHIN = 60.0
MB = 1 << 20


class World:
    """Two areas on one file system and one on another, and a board of transfers."""

    def __init__(self, base: Path, other: Path) -> None:
        self.base = base
        self.home, self.projects, self.scratch = base / "home", base / "projects", other
        self.project = self.projects / "demo"
        for path in (self.home, self.project, self.scratch):
            path.mkdir(parents=True, exist_ok=True)
        self.areas = Areas(
            (
                Area("home", "Home", str(self.home)),
                Area("projects", "Projects", str(self.projects), tops=frozenset({"demo"})),
                Area("scratch", "Scratch", str(self.scratch), persistence="wiped"),
            )
        )
        self.board = self.server()

    def server(self, session: str = "abcd1234") -> Transfers:
        """Give the transfers of a server that has just started."""
        journal = Journal([self.base / "journal"])
        return Transfers(self.areas, journal, logging.getLogger("transfers"), session)

    async def end(self, job: Job, board: Transfers | None = None) -> Job:
        """Wait until nothing more will come of a transfer."""
        board = board or self.board
        async with asyncio.timeout(WITHIN):
            while not job.is_ended and job.state != "paused":
                await board.wait(board.version, 1)
        return job

    async def do(self, kind: str, paths: list[str], to: str, **more: Any) -> Job:
        """Do a transfer between areas, such as of ``home:a/b`` to ``scratch:``."""
        area = paths[0].partition(":")[0]
        source = {"area": area, "paths": [path.partition(":")[2] for path in paths]}
        asked = {"kind": kind, "from": source, **more}
        if to:
            target, _, path = to.partition(":")
            asked["to"] = {"area": target, "path": path}
        return await self.end(await self.board.begin(asked))

    def unfinished(self) -> list[Path]:
        """Give what is left of transfers that are not complete."""
        return [path for top in (self.base, self.scratch) for path in top.rglob(".canfar-*")]


def noise(size: int) -> bytes:
    return os.urandom(min(size, MB)) * (size // MB or 1)


def tree(base: Path) -> dict[str, Any]:
    """Describe everything below a folder."""
    found: dict[str, Any] = {}
    for path in sorted(base.rglob("*")):
        name = str(path.relative_to(base))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", path.stat().st_mode & 0o777)
        else:
            at = path.stat()
            found[name] = (path.read_bytes(), at.st_mode & 0o777, at.st_mtime_ns)
    return found


def make_tree(base: Path) -> None:
    (base / "cal" / "deep" / "er").mkdir(parents=True)
    (base / "empty").mkdir()
    (base / "a.fits").write_bytes(noise(3 * MB))
    (base / "cal" / "empty").write_bytes(b"")
    (base / "cal" / "bias.fits").write_bytes(noise(MB))
    (base / "cal" / "read only").write_bytes(b"mine")
    (base / "cal" / "read only").chmod(0o444)
    (base / "cal" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (base / "cal" / "run.sh").chmod(0o755)
    (base / "cal" / "deep" / "er" / "größe \N{SNOWMAN}").write_bytes(b"x")
    (base / "cal" / "latest").symlink_to("bias.fits")
    (base / "cal" / "away").symlink_to("/etc/passwd")
    (base / "dangling").symlink_to("nowhere")
    os.utime(base / "cal" / "bias.fits", ns=(10**18, 10**18 + 7))


def sent(upload: Any, pieces: list[bytes], offset: int, **more: Any) -> None:
    body = Body(upload, offset, None, more.get("digest"))
    try:
        body.write(pieces)
    except BaseException:
        body.broken()
        raise
    body.finish()


def asked_upload(size: int, **more: Any) -> dict[str, Any]:
    to = {"area": "home", "path": ""}
    return {"kind": "upload", "to": to, "name": "m31.fits", "size": size, **more}
