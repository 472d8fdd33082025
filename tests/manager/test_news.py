"""What the hub's pages are told, and how long."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from canfar_spawner.core.status import Reason
from canfar_spawner.manager.news import MOST_AT_ONCE
from tests.manager.parts import Parts

HOUR = timedelta(hours=1)


async def refuse(parts: Parts, count: int) -> None:
    for number in range(count):
        await parts.news.refused("ada", name=f"fit-{number}", sentence="16.9 is no size.")


def names(answer: dict[str, Any]) -> list[str]:
    return [each["name"] for each in answer["news"] if each["kind"] == "refused"]


async def test_each_piece_is_told_once(parts: Parts) -> None:
    await refuse(parts, 3)
    first = await parts.tell()
    assert names(first) == ["fit-0", "fit-1", "fit-2"]
    where = {"epoch": first["epoch"], "cursor": first["cursor"]}
    assert names(await parts.tell(**where)) == []
    await refuse(parts, 1)
    assert names(await parts.tell(**where)) == ["fit-0"]


async def test_much_is_told_in_parts(parts: Parts) -> None:
    await refuse(parts, 2 * MOST_AT_ONCE + 5)
    heard: list[str] = []
    where: dict[str, Any] = {}
    parts_told = 0
    while True:
        answer = await parts.tell(**where)
        heard += names(answer)
        where = {"epoch": answer["epoch"], "cursor": answer["cursor"]}
        parts_told += 1
        if not answer["more"]:
            break
    assert heard == [f"fit-{number}" for number in range(2 * MOST_AT_ONCE + 5)]
    assert parts_told == 3


async def test_a_day_is_told_again_to_a_hub_that_begins(parts: Parts) -> None:
    await refuse(parts, 2)
    parts.clock.go(23 * HOUR)
    await refuse(parts, 1)
    assert len(names(await parts.tell())) == 3
    parts.clock.go(2 * HOUR)
    assert len(names(await parts.tell())) == 1


async def test_it_survives_the_manager(parts: Parts) -> None:
    await refuse(parts, 2)
    first = await parts.tell()
    await refuse(parts, 1)
    later = parts.again()
    await later.open()
    where = {"epoch": first["epoch"], "cursor": first["cursor"]}
    answer = await later.tell(**where)
    assert answer["epoch"] == first["epoch"]
    assert names(answer) == ["fit-0"]
    await refuse(later, 1)
    assert len(names(await later.tell(**where))) == 2
    await later.close()


async def test_another_database_tells_from_the_beginning(parts: Parts) -> None:
    await refuse(parts, 2)
    assert len(names(await parts.tell(epoch="another", cursor=50))) == 2


async def test_a_hub_that_is_ahead_hears_what_is_new(parts: Parts) -> None:
    """Of this very database, restored from yesterday: its numbers begin lower again."""
    await refuse(parts, 2)
    answer = await parts.tell()
    ahead = {"epoch": answer["epoch"], "cursor": answer["cursor"] + 40}
    assert (await parts.tell(**ahead))["cursor"] == answer["cursor"]
    await refuse(parts, 1)
    assert len(names(await parts.tell(epoch=answer["epoch"], cursor=answer["cursor"]))) == 1


async def test_ends_of_sessions_are_told_those_of_jobs_are_not(parts: Parts) -> None:
    stopped, broken, expired = [await parts.launch() for _ in range(3)]
    job = await parts.submit()
    await parts.lifetimes.end(stopped, reason=Reason.STOPPED, by="ada")
    await parts.hub_tells_end(stopped)
    await parts.hub_tells_end(broken, Reason.OUT_OF_MEMORY, detail="8 GB")
    await parts.lifetimes.end(expired, reason=Reason.EXPIRED, by="lifetimes")
    await parts.hub_tells_end(expired)
    parts.backend.end(job.launch, Reason.PROGRAM_FAILED, 1)
    await parts.observer.look()
    await parts.observer.settle()
    await asyncio.gather(*parts.endings)
    told = (await parts.tell())["news"]
    assert [(each["launch"], each["reason"], each["detail"]) for each in told] == [
        (stopped.launch, "stopped", ""),
        (broken.launch, "out_of_memory", "8 GB"),
        (expired.launch, "expired", ""),
    ]
    assert told[2]["sentence"] == "The session reached the end of its lifetime."
    assert told[2]["plan"]["name"] == expired.name


async def test_another_name_is_told_and_told_again_to_a_hub_that_begins(parts: Parts) -> None:
    record = await parts.launch()
    renamed = await parts.registry.change(record.id, name="another")
    await parts.news.renamed(renamed)
    answer = await parts.tell()
    assert [(each["kind"], each.get("name")) for each in answer["news"]][-1] == (
        "renamed",
        "another",
    )
    again = await parts.tell(epoch="another", cursor=50)
    assert ("renamed", "another") in {(each["kind"], each.get("name")) for each in again["news"]}


async def test_hostile_names_are_one_line(parts: Parts) -> None:
    await parts.news.refused("ada", name="a\nb" + "x" * 500, sentence="y" * 900)
    (told,) = (await parts.tell())["news"]
    assert "\n" not in told["name"]
    assert len(told["name"]) <= 60
    assert len(told["sentence"]) <= 300
