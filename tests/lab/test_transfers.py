"""Copies and moves of real files: complete under their name, or not there at all."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest
from canfar_lab.storage.errors import Refused
from canfar_lab.transfers import content, naming
from canfar_lab.transfers.board import Transfers
from canfar_lab.transfers.jobs import Job
from canfar_lab.transfers.journal import Journal

from tests.lab.transfers import MB, WITHIN, World, asked_upload, make_tree, noise, tree
from tests.support.hub import ROOT


@pytest.mark.parametrize("kind", ["copy", "move"])
@pytest.mark.parametrize("to", ["projects:demo", "scratch:"])
async def test_a_folder_arrives_as_it_was(world: World, kind: str, to: str) -> None:
    make_tree(world.home / "m31")
    before = tree(world.home / "m31")

    job = await world.do(kind, ["home:m31"], to)

    target = world.project if to == "projects:demo" else world.scratch
    assert (job.state, job.error, job.notes) == ("done", None, [])
    assert tree(target / "m31") == before
    assert (world.home / "m31").exists() == (kind == "copy")
    assert world.unfinished() == []
    if job.bytes_total:
        assert job.bytes_done == job.bytes_total == 4 * MB + 4 + 10 + 1
        assert job.files_done == job.files_total == 9


async def test_several_go_at_once_and_under_another_name(world: World) -> None:
    for name in ("a", "b", "c"):
        (world.home / name).write_text(name)
    job = await world.do("copy", ["home:a", "home:b", "home:c"], "scratch:")
    assert job.placed == ["a", "b", "c"]
    job = await world.do("copy", ["home:a"], "home:", name="other", checksum=True)
    assert (world.home / "other").read_text() == "a"
    assert job.checksum == hashlib.sha256(b"a").hexdigest()


async def test_what_is_there_is_not_replaced_unless_that_is_wanted(world: World) -> None:
    (world.home / "m31.fits.gz").write_text("new")
    (world.scratch / "m31.fits.gz").write_text("old")
    with pytest.raises(Refused) as refused:
        await world.do("copy", ["home:m31.fits.gz"], "scratch:")
    assert refused.value.code == "exists"
    assert "m31.fits.gz exists already; choose another name." in str(refused.value)

    for _ in range(2):
        job = await world.do("copy", ["home:m31.fits.gz"], "scratch:", conflict="keep_both")
    assert job.placed == ["m31 (3).fits.gz"]
    assert (world.scratch / "m31.fits.gz").read_text() == "old"
    await world.do("copy", ["home:m31.fits.gz"], "scratch:", conflict="replace")
    assert (world.scratch / "m31.fits.gz").read_text() == "new"
    # A folder is never replaced, nor by one.
    (world.home / "cal").mkdir()
    (world.scratch / "cal").mkdir()
    with pytest.raises(Refused, match="folders are not replaced"):
        await world.do("copy", ["home:cal"], "scratch:", conflict="replace")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m31.fits", "m31 (2).fits"),
        ("m31.fits.gz", "m31 (2).fits.gz"),
        ("a.b.c.tar.bz2", "a.b.c (2).tar.bz2"),
        ("README", "README (2)"),
        (".bashrc", ".bashrc (2)"),
        ("v1.2 notes", "v1.2 notes (2)"),
        ("x" * 250 + ".fits", "x" * 246 + " (2).fits"),
    ],
)
def test_names_beside_others(name: str, expected: str) -> None:
    names = naming.numbered(name)
    assert [next(names), next(names)] == [name, expected]
    assert len(os.fsencode(expected)) <= 255


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kind": "steal"}, "kind must be one of copy, move, upload, checksum"),
        ({"kind": "copy", "of": 1}, "There is no field of of a copy"),
        ({"kind": "copy", "from": {"area": "home"}}, "from must be an object with area and paths"),
        ({"kind": "copy", "from": {"area": "home", "paths": []}}, "a list of 1 to 10000"),
        ({"kind": "copy", "from": {"area": "home", "paths": [""]}}, "A whole area is not"),
        ({"kind": "copy", "from": {"area": "home", "paths": ["../x"]}}, "must not be"),
        ({"kind": "copy", "from": {"area": "home", "paths": ["a", "a"]}}, "a path twice"),
        ({"kind": "upload", "to": {"area": "home", "path": ""}, "name": "a/b", "size": 1}, "must not contain /"),
        ({"kind": "upload", "to": {"area": "home", "path": ""}, "name": "a", "size": -1}, "size must be"),
        ({"kind": "upload", "to": {"area": "home", "path": ""}, "name": "a", "size": True}, "size must be"),
        ({"kind": "upload", "to": {"area": "home", "path": ""}, "name": "a", "size": 1 << 60}, "do not fit into Home"),
        ({"kind": "upload", "to": {"area": "projects", "path": ""}, "name": "a", "size": 1}, "belongs to the platform"),
        ({"kind": "upload", "to": {"area": "attic", "path": ""}, "name": "a", "size": 1}, "There is no area attic"),
        ({"kind": "copy", "from": {"area": "home", "paths": ["gone"]}, "to": {"area": "scratch", "path": ""}}, "gone is not there any more."),
        ({"kind": "copy", "from": {"area": "home", "paths": ["pipe"]}, "to": {"area": "scratch", "path": ""}}, "pipe is a pipe, socket or device"),
        ({"kind": "copy", "from": {"area": "home", "paths": ["cal"]}, "to": {"area": "home", "path": "cal/deep"}}, "cal cannot go into itself"),
        ({"kind": "move", "from": {"area": "home", "paths": ["file"]}, "to": {"area": "home", "path": ""}}, "is in this folder already"),
        ({"kind": "move", "from": {"area": "projects", "paths": ["demo"]}, "to": {"area": "home", "path": ""}}, "belongs to the platform"),
        ({"kind": "copy", "from": {"area": "home", "paths": ["file"]}, "to": {"area": "home", "path": "file"}}, "is not a folder"),
        ({"kind": "checksum", "from": {"area": "home", "paths": ["cal"]}}, "is a folder"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_at_once(
    world: World, asked: dict[str, Any], said: str
) -> None:
    (world.home / "cal" / "deep").mkdir(parents=True)
    (world.home / "file").write_text("x")
    os.mkfifo(world.home / "pipe")
    with pytest.raises((Refused, OSError)) as refused:
        await world.board.begin(asked)
    if isinstance(refused.value, Refused):
        assert said in refused.value.message
    else:
        assert refused.value.errno in {errno.ENOENT, errno.EISDIR}
    assert world.board.works() == []
    assert world.unfinished() == []


async def test_no_copy_is_left_of_what_changes_while_it_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = world.home / "growing.fits"
    source.write_bytes(noise(20 * MB))
    copy = content.copy

    def written_to(*arguments: Any) -> None:
        with source.open("ab") as file:
            file.write(b"more")
        copy(*arguments)

    monkeypatch.setattr(content, "copy", written_to)
    job = await world.do("copy", ["home:growing.fits"], "scratch:")
    assert (job.state, job.error["code"] if job.error else "") == ("failed", "changed")
    assert "growing.fits was changed while it was read" in job.error["message"]
    assert list(world.scratch.iterdir()) == []

    monkeypatch.undo()
    await world.board.resume(job.id)
    await world.end(job)
    assert job.state == "done"
    assert (world.scratch / "growing.fits").read_bytes() == source.read_bytes()


async def test_a_pipe_among_files_is_left_out_and_said(world: World) -> None:
    (world.home / "m31").mkdir()
    (world.home / "m31" / "a").write_text("a")
    os.mkfifo(world.home / "m31" / "pipe")
    job = await world.do("move", ["home:m31"], "scratch:")
    assert job.state == "done"
    assert "pipe is a pipe, socket or device" in " ".join(job.notes)
    assert (world.scratch / "m31" / "a").read_text() == "a"
    assert [path.name for path in (world.home / "m31").iterdir()] == ["pipe"]


async def test_what_is_empty_in_a_file_stays_empty(world: World) -> None:
    cube = world.home / "cube.fits"
    with cube.open("wb") as file:
        file.write(noise(MB))
        file.seek(30 * MB)
        file.write(b"end")
        file.truncate(50 * MB)
    job = await world.do("copy", ["home:cube.fits"], "scratch:", checksum=True)
    copied = world.scratch / "cube.fits"
    assert (job.state, copied.stat().st_size) == ("done", 50 * MB)
    assert copied.stat().st_blocks * 512 < 8 * MB
    assert job.bytes_done == 50 * MB


async def test_a_copy_pauses_goes_on_and_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise(64 * MB)
    (world.home / "big").write_bytes(data)
    real, rounds = content.copy, []

    def stops(source: int, target: int, size: int, at: int, moved: Any, name: str) -> None:
        rounds.append(at)

        def paused(count: int) -> None:
            if len(rounds) < 3:
                board.find(job.id).stop = ["paused", "cancelled"][len(rounds) - 1]
            moved(count)

        real(source, target, size, at, paused, name)

    monkeypatch.setattr(content, "copy", stops)
    board = world.board
    asked = {
        "kind": "copy",
        "from": {"area": "home", "paths": ["big"]},
        "to": {"area": "scratch", "path": ""},
    }
    job = await board.begin(asked)
    await world.end(job)
    assert (job.state, list(world.scratch.glob("[!.]*"))) == ("paused", [])
    assert 0 < job.bytes_done < len(data)

    await board.resume(job.id)
    await world.end(job)
    # It went on from where it was, and then was cancelled.
    assert (job.state, rounds[1] > 0, list(world.scratch.iterdir())) == ("cancelled", True, [])

    await board.resume(job.id)
    await world.end(job)
    assert (job.state, rounds[2]) == ("done", 0)
    assert (world.scratch / "big").read_bytes() == data


KILLED = """
import asyncio, logging, os, signal, sys
from pathlib import Path
from tests.lab.transfers import World
from canfar_lab.transfers import content, naming, moving

what, kind = sys.argv[3], sys.argv[4]

def die(*_arguments, **_more):
    os.kill(os.getpid(), signal.SIGKILL)

if what in {"file", "folder"}:
    seen = []
    def dying(way):
        def step(source, target, at, count):
            moved = way(source, target, at, min(count, 1 << 20))
            seen.append(at)
            return moved if len(seen) < {"file": 4, "folder": 8}[what] else die()
        return step
    content._range, content._send = dying(content._range), dying(content._send)
elif what == "put":
    naming.put = die
elif what == "placed":
    put = naming.put
    def then(*arguments, **more):
        put(*arguments, **more)
        die()
    naming.put = then
elif what == "remove":
    moving.remove = die

async def main():
    world = World(Path(sys.argv[1]), Path(sys.argv[2]))
    paths = ["one.fits", "m31"]
    await world.end(await world.board.begin({"kind": kind, "from": {"area": "home", "paths": paths}, "to": {"area": "scratch", "path": ""}}))

asyncio.run(main())
"""


def killed(world: World, what: str, kind: str) -> tuple[int, str]:
    """Do a transfer in a process that is killed in the middle of it."""
    path = f"{ROOT}:{ROOT / 'labextension'}"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, world.base, world.scratch, what, kind],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("kind", ["copy", "move"])
@pytest.mark.parametrize("what", ["file", "folder", "put", "placed", "remove"])
async def test_a_server_that_starts_again_goes_on(world: World, kind: str, what: str) -> None:
    if (kind, what) == ("copy", "remove"):
        return
    (world.home / "one.fits").write_bytes(noise(5 * MB))
    make_tree(world.home / "m31")
    before = tree(world.home)
    status, said = await asyncio.to_thread(killed, world, what, kind)
    assert status == -9, said
    present = [path.name for path in world.scratch.glob("[!.]*")]
    assert present in ([], ["one.fits"])

    board = world.server()
    await board.ready()
    (work,) = board.works()
    await world.end(work.job, board)

    assert (work.job.state, work.job.error, work.job.notes) == ("done", None, [])
    assert tree(world.scratch) == before
    assert tree(world.home) == ({} if kind == "move" else before)
    assert world.unfinished() == []


async def test_what_another_session_does_is_left_to_it(world: World) -> None:
    (world.home / "a").write_text("a")
    await world.do("copy", ["home:a"], "scratch:")
    other = world.server("other123")
    await other.ready()
    assert other.works() == []


async def test_a_checksum_is_a_transfer_too(world: World) -> None:
    data = noise(5 * MB)
    (world.home / "m31.fits").write_bytes(data)
    job = await world.do("checksum", ["home:m31.fits"], "")
    assert (job.state, job.checksum) == ("done", hashlib.sha256(data).hexdigest())


HOSTILE = [
    "..",
    "../secret",
    "m31/../../secret",
    "/etc/passwd",
    "m31//a",
    "m31/.",
    "m31/\0",
    "a" * 256,
    "link/secret",
    "m31/out",
]


@pytest.mark.parametrize("path", HOSTILE)
async def test_no_path_leads_out(world: World, path: str) -> None:
    (world.base / "secret").write_text("secret")
    (world.home / "m31").mkdir()
    (world.home / "m31" / "out").symlink_to("../../secret")
    (world.home / "link").symlink_to("..")
    for kind in ("copy", "move", "checksum"):
        try:
            await world.do(kind, [f"home:{path}"], "" if kind == "checksum" else "scratch:")
        except (Refused, OSError):
            continue
        # A link is copied and moved as what it is.
        assert path == "m31/out"
        assert kind != "checksum"
        assert (world.scratch / "out").is_symlink()
        (world.scratch / "out").unlink()
    with pytest.raises((Refused, OSError)):
        await world.board.begin(asked_upload(1, to={"area": "home", "path": path}))
    if path not in {"link/secret", "m31/out"}:
        with pytest.raises(Refused):
            await world.board.begin(asked_upload(1, name=path))
    assert (world.base / "secret").read_text() == "secret"


@pytest.mark.parametrize("side", ["source", "target"])
async def test_what_is_replaced_by_a_link_meanwhile_leads_nowhere(world: World, side: str) -> None:
    outside = world.base / "outside"
    outside.mkdir()
    (outside / "a").write_text("secret")
    top = world.home if side == "source" else world.scratch
    (world.home / "m31" / "deep").mkdir(parents=True)
    for name in ("m31/a", "m31/deep/a", "m31/deep/b"):
        (world.home / name).write_text("mine")
    (top / "into").mkdir()
    swapped = top / ("m31" if side == "source" else "into")
    away, link = top / "away", top / "link"
    link.symlink_to(outside)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            swapped.rename(away)
            link.rename(swapped)
            swapped.rename(link)
            away.rename(swapped)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for number in range(60):
            with suppress(Refused, OSError):
                await world.do("copy", ["home:m31"], "scratch:into", name=f"copy {number}")
    finally:
        over.set()
        swapping.join()
    assert [path.name for path in outside.iterdir()] == ["a"]
    for path in world.scratch.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.read_text() == "mine"


async def test_a_home_that_is_full_keeps_nobody_from_going_on(world: World) -> None:
    home, private = world.base / "journal", world.base / "private"
    (world.home / "a").write_text("a")
    source = {"area": "home", "paths": ["a"]}
    asked = {"kind": "copy", "from": source, "to": {"area": "scratch", "path": ""}}

    def board() -> Transfers:
        journal = Journal([home, private])
        return Transfers(world.areas, journal, logging.getLogger("transfers"), "abcd1234")

    # A file where a folder should be: nothing can be written below it.
    home.write_text("")
    first = board()
    await world.end(await first.begin(asked), first)
    assert [path.suffix for path in private.iterdir() if path.suffix == ".json"] == [".json"]
    home.unlink()
    first._journal.close()
    second = board()
    await second.ready()
    (work,) = second.works()
    assert work.job.state == "done"
    # There is one record of each, wherever that is.
    second._save(work.job)
    assert [path.suffix for path in home.iterdir()] == [".json"]
    assert list(private.glob("*.json")) == []


async def test_a_record_that_is_none_is_no_transfer(world: World) -> None:
    journal = world.base / "journal"
    journal.mkdir()
    (journal / "0123456789ab.json").write_text("{")
    (journal / "0123456789ac.json").write_text('{"kind": "steal", "id": "0123456789ac"}')
    (journal / "0123456789ad.json").write_text('{"kind": "copy", "id": "another"}')
    (journal / "0123456789ae.json").write_text(
        '{"kind": "copy", "id": "0123456789ae", "source": 5}'
    )
    (journal / "notes.json").write_text("[]")
    await world.board.ready()
    assert world.board.works() == []
    assert [path.name for path in journal.iterdir()] == ["notes.json"]


async def test_a_session_is_in_use_while_bytes_move(world: World) -> None:
    moving = asyncio.Event()
    journal = Journal([world.base / "journal"])
    board = Transfers(world.areas, journal, logging.getLogger("transfers"), "x", moving.set)
    work = board.add(Job("download", state="running"))
    async with asyncio.timeout(WITHIN):
        while not moving.is_set():
            work.moved(1)
            version = board.version
            await board.wait(version, 1)
        moving.clear()
        # Nothing moves, nothing is said.
        work.job.state = "done"
        board._changed()
        assert board._ticker is not None
        await board._ticker
    assert not moving.is_set()
