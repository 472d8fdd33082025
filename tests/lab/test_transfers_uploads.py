"""Uploads of real files, piece by piece: complete under their name, or not there at all."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from canfar_lab.storage.errors import Refused
from canfar_lab.transfers import naming
from canfar_lab.transfers.jobs import Stopped
from canfar_lab.transfers.uploads import Body

from tests.lab.transfers import MB, World, asked_upload, noise, sent


async def test_an_upload_arrives_piece_by_piece(world: World) -> None:
    data = noise(3 * MB)
    job = await world.board.begin(
        asked_upload(len(data), modified=1_700_000_000_123, checksum=True)
    )
    upload = await world.board.upload(job.id)
    for at in (0, MB, 2 * MB):
        assert not (world.home / "m31.fits").exists()
        piece = data[at : at + MB]
        sent(upload, [piece[:1000], piece[1000:]], at, digest=hashlib.sha256(piece).digest())
        await world.board.received(upload)
    assert (job.state, job.checksum) == ("done", hashlib.sha256(data).hexdigest())
    arrived = world.home / "m31.fits"
    assert arrived.read_bytes() == data
    assert arrived.stat().st_mtime_ns == 1_700_000_000_123_000_000
    assert world.unfinished() == []


async def test_an_upload_takes_only_what_belongs_there(world: World) -> None:
    job = await world.board.begin(asked_upload(100, checksum=True))
    upload = await world.board.upload(job.id)
    sent(upload, [b"a" * 40], 0)
    await world.board.received(upload)
    with pytest.raises(Refused, match="The next byte is number 40, not 0"):
        sent(upload, [b"a"], 0)
    with pytest.raises(Refused, match="not what was sent"):
        sent(upload, [b"b" * 10], 40, digest=bytes(32))
    with pytest.raises(Refused, match="was to have 100 bytes"):
        sent(upload, [b"b" * 61], 40)
    assert job.bytes_done == 40
    assert upload.digest(0, 40) == hashlib.sha256(b"a" * 40).hexdigest()
    with pytest.raises(Refused, match="the 40 bytes"):
        upload.digest(0, 41)
    await world.board.pause(job.id)
    with pytest.raises(Refused, match="paused"):
        sent(upload, [b"b"], 40)
    await world.board.resume(job.id)
    sent(upload, [b"b" * 60], 40)
    await world.board.received(upload)
    assert (world.home / "m31.fits").read_bytes() == b"a" * 40 + b"b" * 60
    assert job.checksum == hashlib.sha256(b"a" * 40 + b"b" * 60).hexdigest()


async def test_an_upload_of_nothing_is_there_at_once_and_a_cancelled_one_never(
    world: World,
) -> None:
    job = await world.board.begin(asked_upload(0))
    assert (job.state, (world.home / "m31.fits").read_bytes()) == ("done", b"")
    (world.home / "m31.fits").unlink()
    job = await world.board.begin(asked_upload(10))
    upload = await world.board.upload(job.id)
    sent(upload, [b"12345"], 0)
    await world.board.cancel(job.id)
    assert (job.state, list(world.home.iterdir())) == ("cancelled", [])
    await world.board.forget_ended()
    assert world.board.works() == []
    assert list((world.base / "journal").iterdir()) == []


async def test_an_upload_goes_on_with_the_server_after(world: World) -> None:
    job = await world.board.begin(asked_upload(10, checksum=True))
    upload = await world.board.upload(job.id)
    sent(upload, [b"12345"], 0)
    upload.close()
    world.board._journal.close()

    board = world.server()
    await board.ready()
    (work,) = board.works()
    assert (work.job.state, work.job.id, work.job.bytes_done) == ("waiting", job.id, 5)
    upload = await board.upload(job.id)
    sent(upload, [b"67890"], 5)
    await board.received(upload)
    assert (world.home / "m31.fits").read_bytes() == b"1234567890"
    assert work.job.checksum == hashlib.sha256(b"1234567890").hexdigest()


async def test_the_name_is_taken_while_an_upload_comes(world: World) -> None:
    job = await world.board.begin(asked_upload(3))
    upload = await world.board.upload(job.id)
    (world.home / "m31.fits").write_text("somebody was quicker")
    sent(upload, [b"abc"], 0)
    with pytest.raises(Refused, match="exists already"):
        await world.board.received(upload)
    assert (job.state, (world.home / "m31.fits").read_text()) == ("failed", "somebody was quicker")
    assert world.unfinished() == []


async def test_an_upload_is_cancelled_while_it_comes(world: World) -> None:
    size = 64 * MB
    for _ in range(5):
        job = await world.board.begin(asked_upload(size))
        upload = await world.board.upload(job.id)
        body = Body(upload, 0, size, None)
        piece = noise(4 * MB)

        def coming(body: Body = body, piece: bytes = piece) -> None:
            with suppress(Refused, Stopped):
                for _ in range(size // len(piece)):
                    body.write([piece])
            body.broken()

        sending = asyncio.create_task(asyncio.to_thread(coming))
        await asyncio.sleep(0)
        await world.board.cancel(job.id)
        await sending
        assert job.state == "cancelled"
        assert list(world.home.iterdir()) == []


@pytest.mark.parametrize("named", [False, True])
async def test_an_upload_of_which_all_had_come_is_completed_by_the_next_server(
    world: World, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    class Killed(BaseException):
        """As a kill: nothing is tidied up after it."""

    put = naming.put

    def killed(*arguments: Any, **more: Any) -> NoReturn:
        if named:
            put(*arguments, **more)
        raise Killed

    job = await world.board.begin(asked_upload(10, modified=1_700_000_000_123))
    upload = await world.board.upload(job.id)
    sent(upload, [b"1234567890"], 0)
    with monkeypatch.context() as patched:
        patched.setattr(naming, "put", killed)
        with pytest.raises(Killed):
            await world.board.received(upload)
    assert (world.home / "m31.fits").exists() == named
    upload.close()
    world.board._journal.close()

    board = world.server()
    await board.ready()
    (work,) = board.works()
    assert (work.job.state, work.job.error, work.job.placed) == ("done", None, ["m31.fits"])
    assert (work.job.bytes_done, work.job.files_done) == (10, 1)
    assert (world.home / "m31.fits").read_bytes() == b"1234567890"
    assert world.unfinished() == []
