"""Transfers that are tried again while what there was of them is being removed, and names that are taken."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from canfar_lab.storage.errors import Refused
from canfar_lab.transfers import content, copying, naming
from canfar_lab.transfers.jobs import Job, Stopped

from tests.lab.transfers import WITHIN, World, tree

FILES = 300


class Held:
    """Removes what is not complete only once it may, as if that took long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._begun, self._may = threading.Event(), threading.Event()
        self._discard = copying.discard
        monkeypatch.setattr(copying, "discard", self._held)

    def _held(self, directory: int, name: str) -> None:
        if naming.exists(directory, name) is not None:
            self._begun.set()
            assert self._may.wait(WITHIN)
        self._discard(directory, name)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, WITHIN)

    def go_on(self) -> None:
        self._may.set()


def folder_of_many(world: World) -> dict[str, Any]:
    (world.home / "m31").mkdir()
    for number in range(FILES):
        (world.home / "m31" / f"{number}.txt").write_text(f"{number}")
    return tree(world.home)


async def begun(world: World, kind: str = "copy") -> Job:
    source = {"area": "home", "paths": ["m31"]}
    return await world.board.begin(
        {"kind": kind, "from": source, "to": {"area": "scratch", "path": ""}}
    )


@pytest.mark.parametrize("kind", ["copy", "move"])
async def test_what_has_failed_is_tried_again_only_once_nothing_is_left_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    before = folder_of_many(world)
    copy, changed = content.copy, []

    def written_to(*arguments: Any) -> None:
        copy(*arguments)
        if not changed and arguments[-1] == "200.txt":
            changed.append(arguments[-1])
            raise content.changed("200.txt")

    monkeypatch.setattr(content, "copy", written_to)
    held = Held(monkeypatch)
    job = await begun(world, kind)
    await held.has_begun()
    # It has not ended yet, and whoever asks early is told to wait.
    assert job.state == "running"
    with pytest.raises(Refused, match="is being removed"):
        await world.board.resume(job.id)
    held.go_on()
    await world.end(job)
    assert (job.state, job.error["code"] if job.error else "") == ("failed", "changed")
    assert world.unfinished() == []

    await world.board.resume(job.id)
    await world.end(job)
    assert (job.state, job.error, job.notes) == ("done", None, [])
    assert tree(world.scratch) == before
    assert tree(world.home) == ({} if kind == "move" else before)


async def test_what_was_cancelled_is_tried_again_only_once_nothing_is_left_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder_of_many(world)
    copy, seen = content.copy, threading.Event()

    def paused(*arguments: Any) -> None:
        copy(*arguments)
        if not seen.is_set():
            seen.set()
            raise Stopped("paused")

    monkeypatch.setattr(content, "copy", paused)
    job = await begun(world)
    await world.end(job)
    assert job.state == "paused"
    assert world.unfinished() != []

    held = Held(monkeypatch)
    cancelling = asyncio.create_task(world.board.cancel(job.id))
    await held.has_begun()
    for ask in (world.board.resume, world.board.pause, world.board.forget):
        with pytest.raises(Refused, match="is being removed") as refused:
            await ask(job.id)
        assert (refused.value.code, refused.value.status) == ("busy", 409)
    await world.board.forget_ended()
    assert [work.job for work in world.board.works()] == [job]
    held.go_on()
    await cancelling
    assert (job.state, world.unfinished()) == ("cancelled", [])

    await world.board.resume(job.id)
    await world.end(job)
    assert (job.state, job.error) == ("done", None)
    assert tree(world.scratch) == before


async def test_every_name_that_is_taken_is_told_at_once(world: World) -> None:
    for name in ("a.fits", "b.fits", "c.fits"):
        (world.home / name).write_text("new")
        if name != "c.fits":
            (world.scratch / name).write_text("old")
    paths = ["home:a.fits", "home:c.fits", "home:b.fits"]
    for kind in ("copy", "move"):
        with pytest.raises(Refused) as refused:
            await world.do(kind, paths, "scratch:")
        assert str(refused.value) == "a.fits and 1 other exist already; choose other names."
        assert refused.value.more == {"names": ["a.fits", "b.fits"], "more": 0}
    with pytest.raises(Refused) as refused:
        await world.do("copy", ["home:b.fits"], "scratch:")
    assert str(refused.value) == "b.fits exists already; choose another name."
    assert refused.value.more == {"names": ["b.fits"], "more": 0}
    assert (world.scratch / "b.fits").read_text() == "old"

    names = [f"{number:03d}" for number in range(130)]
    for name in names:
        (world.home / name).write_text("new")
        (world.scratch / name).write_text("old")
    with pytest.raises(Refused) as refused:
        await world.do("copy", [f"home:{name}" for name in names], "scratch:")
    assert str(refused.value) == "000 and 129 others exist already; choose other names."
    assert refused.value.more == {"names": names[:100], "more": 30}
