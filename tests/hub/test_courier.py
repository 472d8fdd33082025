"""The courier: what the hub knows reaches the session manager, whatever is away meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tornado import httpserver, netutil, web
from typing_extensions import override

from canfar_spawner.core.errors import NotAllowed, Unavailable
from canfar_spawner.core.identity import PosixGroup, PosixIdentity
from canfar_spawner.hub import courier as module
from canfar_spawner.hub.courier import Courier, IdentityRoll
from canfar_spawner.hub.news import HubNews
from canfar_spawner.hub.outbox import Outbox
from canfar_spawner.hub.recent import RecentEndings
from tests.hub.test_outbox import event

LOG = logging.getLogger("tests.courier")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
DEADLINE = 20.0


def person(name: str, uid: int, *groups: str) -> PosixIdentity:
    return PosixIdentity(
        name=name,
        uid=uid,
        group=PosixGroup(name=name, gid=uid),
        groups=tuple(PosixGroup(name=group, gid=7000 + len(group)) for group in groups),
    )


@dataclass
class Source:
    """Identities as a test sets them."""

    people: dict[str, PosixIdentity | Exception] = field(default_factory=dict)

    def identity(self, name: str) -> PosixIdentity:
        found = self.people.get(name) or NotAllowed("No such account.", code="unknown_user")
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class People:
    """Whom the hub's database knows."""

    everybody: list[str] = field(default_factory=lambda: ["ada", "ben"])
    used: dict[str, datetime] = field(default_factory=dict)

    def names(self) -> tuple[str, ...] | None:
        return tuple(self.everybody)

    def activity(self) -> dict[str, datetime]:
        return self.used


@dataclass
class Hub:
    """What a courier needs of a platform."""

    outbox: Outbox
    news: HubNews
    identities: Source
    log: logging.Logger = LOG


@dataclass
class Manager:
    """The other end of the line."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    statuses: list[int] = field(default_factory=list)
    """Answers to give before others."""
    answer: dict[str, Any] = field(
        default_factory=lambda: {"epoch": "e1", "cursor": 0, "news": [], "resend": False}
    )
    tries: int = 0

    def launches(self) -> list[str]:
        return [each["launch"] for body in self.bodies for each in body["events"]]

    def names(self, first: int = 0) -> list[str]:
        return [each["name"] for body in self.bodies[first:] for each in body["identities"]]


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    found = Manager()

    class Events(web.RequestHandler):
        @override
        def post(self) -> None:
            found.tries += 1
            if found.statuses:
                self.set_status(found.statuses.pop(0))
                return
            found.tokens.add(self.request.headers["Authorization"])
            found.bodies.append(json.loads(self.request.body))
            self.finish(found.answer)

    server = httpserver.HTTPServer(web.Application([("/events", Events)]))
    (socket,) = netutil.bind_sockets(0, "127.0.0.1")
    server.add_socket(socket)
    found.url = f"http://127.0.0.1:{socket.getsockname()[1]}/events"
    yield found
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    source = Source({"ada": person("ada", 5001, "demo"), "ben": person("ben", 5002)})
    news = HubNews(RecentEndings(lambda: NOW), lambda: NOW, LOG)
    return Hub(Outbox(tmp_path / "outbox.jsonl", LOG), news, source)


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
async def courier(hub: Hub, manager: Manager, people: People) -> Courier:
    return Courier(hub, url=manager.url, token="s3cret", people=people)  # type: ignore[arg-type]


@pytest.fixture
async def running(courier: Courier) -> AsyncIterator[Courier]:
    task = asyncio.create_task(courier.run())
    yield courier
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for is on the other end
            await asyncio.sleep(0.01)
    assert condition(), what


async def test_the_first_message_names_everybody(courier: Courier, manager: Manager) -> None:
    assert await courier.beat() == 0
    (body,) = manager.bodies
    assert manager.tokens == {"Bearer s3cret"}
    assert body["fresh"]
    assert body["complete"]
    told = {each["name"]: each for each in body["identities"]}
    assert told["ada"]["identity"] == person("ada", 5001, "demo").model_dump(mode="json")
    assert told.keys() == {"ada", "ben"}


async def test_only_what_has_changed_is_told_again(
    hub: Hub, courier: Courier, manager: Manager, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    await courier.beat()
    await courier.beat()
    assert manager.bodies[1]["identities"] == []
    assert not manager.bodies[1]["fresh"]
    hub.identities.people["ada"] = person("ada", 5001, "demo", "survey")
    hub.identities.people["ben"] = NotAllowed("Your account is closed.", code="closed")
    people.everybody.append("eve")
    await courier.beat()
    told = {each["name"]: each for each in manager.bodies[2]["identities"]}
    assert [group["name"] for group in told["ada"]["identity"]["groups"]] == ["demo", "survey"]
    assert (told["ben"]["identity"], told["ben"]["refusal"]) == (None, "Your account is closed.")
    assert told["eve"]["refusal"] == "No such account."
    people.everybody.remove("ben")
    await courier.beat()
    (gone,) = manager.bodies[3]["identities"]
    assert (gone["name"], gone["gone"]) == ("ben", True)
    await courier.beat()
    assert manager.bodies[4]["identities"] == []


async def test_a_source_that_does_not_answer_ends_nobody(
    hub: Hub, courier: Courier, manager: Manager
) -> None:
    hub.identities.people["ada"] = Unavailable("The directory does not answer.")
    hub.identities.people["ben"] = RuntimeError("a mistake in the source")
    await courier.beat()
    for said in manager.bodies[0]["identities"]:
        assert said["unknown"]
        assert said["refusal"] == ""
    assert manager.bodies[0]["complete"]


async def test_all_is_told_again_to_a_manager_that_has_lost_it(
    courier: Courier, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    await courier.beat()
    manager.answer["resend"] = True
    await courier.beat()
    manager.answer["resend"] = False
    await courier.beat()
    assert manager.names(2) == ["ada", "ben"]
    assert manager.bodies[2]["complete"]


async def test_an_event_is_told_at_once(hub: Hub, running: Courier, manager: Manager) -> None:
    """Not with the next regular message, which would be seconds later."""
    await until(lambda: manager.bodies, "the first message")
    first = len(manager.bodies)
    hub.outbox.append(event(1))
    await until(lambda: manager.launches() == [event(1).launch], "the event")
    assert len(manager.bodies) == first + 1
    assert not running.away


async def test_a_burst_of_events_looks_nobody_up(
    hub: Hub, running: Courier, manager: Manager
) -> None:
    await until(lambda: manager.bodies, "the first message")
    looked_up: list[str] = []
    identity = hub.identities.identity

    def counted(name: str) -> PosixIdentity:
        looked_up.append(name)
        return identity(name)

    hub.identities.identity = counted  # type: ignore[method-assign]
    for number in range(20):
        hub.outbox.append(event(number))
        await until(lambda: not hub.outbox.waiting(), "an event to be taken")
    assert len(looked_up) <= 2, "no more than with one regular message"
    assert not running.away


async def test_a_manager_that_is_away_loses_nothing_and_is_not_stormed(
    hub: Hub, manager: Manager, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    courier = Courier(hub, url=manager.url, token="t", people=people)  # type: ignore[arg-type]
    manager.statuses = [503, 401, 500, 403, 302, 404, 413]
    waits = []
    for number in range(7):
        hub.outbox.append(event(number))
        waits.append(await courier.beat())
        assert courier.away
    assert waits == [0.5, 1, 2, 4, 8, 15, 15]
    assert await courier.beat() == 0
    assert manager.launches() == [event(number).launch for number in range(7)]
    assert manager.tries == 8
    assert not courier.away
    assert hub.outbox.waiting() == ()


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"3"], ids=repr)
async def test_an_answer_that_is_none_takes_nothing(
    hub: Hub, people: People, answer: bytes
) -> None:
    class Odd(web.RequestHandler):
        @override
        def post(self) -> None:
            self.finish(answer)

    server = httpserver.HTTPServer(web.Application([("/events", Odd)]))
    (socket,) = netutil.bind_sockets(0, "127.0.0.1")
    server.add_socket(socket)
    url = f"http://127.0.0.1:{socket.getsockname()[1]}/events"
    courier = Courier(hub, url=url, token="t", people=people)  # type: ignore[arg-type]
    hub.outbox.append(event(1))
    assert await courier.beat() > 0
    assert len(hub.outbox.waiting()) == 1
    server.stop()
    await server.close_all_connections()


async def test_a_hub_whose_database_is_not_ready_is_waited_for(
    courier: Courier, manager: Manager, people: People
) -> None:
    answers: list[object] = [None, RuntimeError("locked"), None]

    def names() -> tuple[str, ...] | None:
        found = answers.pop(0) if answers else ("ada",)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[return-value]

    people.names = names  # type: ignore[method-assign]
    task = asyncio.create_task(courier.run())
    await until(lambda: manager.bodies, "the first message")
    assert not answers
    assert not courier.away
    task.cancel()


async def test_nobody_there_at_all(hub: Hub, people: People) -> None:
    url = "http://127.0.0.1:9/events"
    courier = Courier(hub, url=url, token="t", people=people)  # type: ignore[arg-type]
    assert await courier.beat() > 0
    assert courier.away


async def test_news_are_heard_from_where_they_were_left(
    hub: Hub, courier: Courier, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    refused = {
        "kind": "refused",
        "owner": "ada",
        "name": "fit",
        "sentence": "You have 3 of 3 sessions.",
        "at": NOW.isoformat(),
    }
    manager.answer |= {"news": [refused, {"kind": "of tomorrow"}, 5, None], "cursor": 7}
    await courier.beat()
    assert [each.name for each in hub.news.refused("ada")] == ["fit"]
    manager.answer |= {"news": [], "epoch": "e2", "cursor": 2}
    await courier.beat()
    assert (manager.bodies[1]["epoch"], manager.bodies[1]["cursor"]) == ("e1", 7)
    await courier.beat()
    assert (manager.bodies[2]["epoch"], manager.bodies[2]["cursor"]) == ("e2", 2)


async def test_when_sessions_were_used_is_told_where_it_changed(
    courier: Courier, manager: Manager, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    people.used = {"abcdefgh": NOW, "bcdefghi": NOW}
    await courier.beat()
    people.used = {"abcdefgh": NOW + timedelta(minutes=5), "bcdefghi": NOW}
    await courier.beat()
    assert manager.bodies[0]["activity"].keys() == {"abcdefgh", "bcdefghi"}
    assert manager.bodies[1]["activity"].keys() == {"abcdefgh"}


async def test_very_many_users_are_told_of_in_parts() -> None:
    source = Source({f"u{number}": person(f"u{number}", 6000 + number) for number in range(1000)})
    roll = IdentityRoll(source, LOG)
    names = list(source.people)
    parts, told = 0, []
    while not roll.complete:
        said = await roll.changes(names)
        assert 0 < len(said) <= 300
        roll.taken(said)
        told += [str(each["name"]) for each in said]
        parts += 1
    assert parts == 4
    assert sorted(told) == sorted(names)
    # In turn each is looked at again.
    source.people["u999"] = NotAllowed("closed", code="closed")
    seen: list[dict[str, object]] = []
    for _ in range(4):
        seen += await roll.changes(names)
    assert [each["name"] for each in seen] == ["u999"]


async def test_what_was_not_taken_is_told_again() -> None:
    roll = IdentityRoll(Source({"ada": person("ada", 5001)}), LOG)
    first = await roll.changes(["ada"])
    assert await roll.changes(["ada"]) == first
    roll.taken(first)
    assert await roll.changes(["ada"]) == []
