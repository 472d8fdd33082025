"""What a session believes of a visitor's share, whatever the session manager says or does not say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from canfar_lab.manager import Manager
from canfar_lab.storage import guests
from canfar_lab.storage.errors import Refused
from canfar_lab.storage.guests import Guests
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from tests.support.hub import free_port


@dataclass
class Answering:
    """Answers about one session as a session manager could."""

    port: int
    status: int = 200
    body: str = "{}"
    asked: list[str] = field(default_factory=list)

    def guests(self) -> Guests:
        manager = Manager(f"http://127.0.0.1:{self.port}")
        return Guests(manager, "s1", lambda handler: handler.token)


@pytest.fixture
async def manager() -> AsyncIterator[Answering]:
    sock, port = bind_unused_port()
    made = Answering(port)

    class Session(RequestHandler):
        def get(self) -> None:
            made.asked.append(self.request.headers["Authorization"])
            self.set_status(made.status)
            self.finish(made.body)

    server = HTTPServer(Application([("/v1/session/s1", Session)]))
    server.add_socket(sock)
    yield made
    server.stop()
    await server.close_all_connections()


def call(bearer: str = "bens") -> SimpleNamespace:
    return SimpleNamespace(token=bearer)


@pytest.mark.parametrize(
    ("status", "body", "open_"),
    [
        (200, '{"visitUntil": "2026-12-01T00:00:00Z", "visitStorage": true}', True),
        (200, '{"visitUntil": "2026-12-01T00:00:00Z", "visitStorage": false}', False),
        (200, '{"visitUntil": "2026-12-01T00:00:00Z"}', False),
        (200, '{"visitStorage": "yes"}', False),
        (200, '{"visitStorage": 1}', False),
        (200, "[true]", False),
        (200, "visitStorage: true", False),
        (200, "[" * 100_000, False),
        (201, '{"visitStorage": true}', False),
        (302, '{"visitStorage": true}', False),
        (401, '{"visitStorage": true}', False),
        (404, '{"visitStorage": true}', False),
    ],
)
async def test_it_is_open_by_one_answer_only(
    manager: Answering, status: int, body: str, *, open_: bool
) -> None:
    manager.status, manager.body = status, body
    assert await manager.guests().may_read(call()) is open_
    assert manager.asked == ["Bearer bens"]


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_while_the_manager_fails_nothing_is_open(manager: Answering, status: int) -> None:
    manager.status, manager.body = status, '{"visitStorage": true}'
    with pytest.raises(Refused, match="not known now") as told:
        await manager.guests().may_read(call())
    assert (told.value.code, told.value.status) == ("away", 503)


async def test_while_the_manager_is_away_nothing_is_open() -> None:
    with pytest.raises(Refused, match="not known now"):
        await Answering(free_port()).guests().may_read(call())


async def test_without_a_manager_or_a_token_nobody_is_asked(manager: Answering) -> None:
    manager.body = '{"visitStorage": true}'
    assert await Guests(Manager(""), "s1", lambda handler: handler.token).may_read(call()) is False
    assert await manager.guests().may_read(call("")) is False
    assert manager.asked == []


async def test_many_wait_for_one_answer_and_it_counts_for_a_moment(
    manager: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.body = '{"visitStorage": true}'
    asked = manager.guests()
    assert await asyncio.gather(*(asked.may_read(call()) for _ in range(20))) == [True] * 20
    assert await asked.may_read(call("eves")) is True
    assert manager.asked == ["Bearer bens", "Bearer eves"]
    manager.body = "{}"
    monkeypatch.setattr(guests, "COUNTS_FOR", 0.0)
    assert await asked.may_read(call()) is False
    assert len(asked._asked) == 1, "what counts no more is forgotten"
