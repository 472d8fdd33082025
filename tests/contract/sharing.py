"""What sharing keeps to, whatever runs in the session and whichever way it is entered.

A test module makes a class of `SharingContract` and gives it the fixture ``shared``.
"""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from tests.support import shares as calls
from tests.support.guest import Guest, Socket
from tests.support.hub import DEADLINE, Visitor, wait_for

OUT = (302, 403)
_Test = TypeVar("_Test")
"""Answers to whoever may not enter: a way to sign in, or a refusal."""


@dataclass
class Shared(ABC):
    """One session of an owner, and what somebody who may enter it does there."""

    owner: Visitor
    guest: Visitor
    """In the group of `group`, as the owner is."""
    third: Visitor
    session: str
    group: str = "survey"
    page: str = "api/status"
    """What answers with 200 to whoever may enter."""

    def as_(self, visitor: Visitor) -> Guest:
        """Give somebody at the session's door."""
        return Guest(visitor, self.owner.name, self.session)

    @abstractmethod
    async def sockets(self, visitor: Visitor) -> dict[str, tuple[str, Socket]]:
        """Open every kind of socket the session has; paths and sockets that have answered."""

    @abstractmethod
    async def alive(self, kind: str, socket: Socket) -> None:
        """See that the session still answers through a socket."""

    def enters(self, visitor: Visitor) -> None:
        """Wait until somebody gets in."""
        door = self.as_(visitor)
        wait_for(lambda: door.status(self.page) == 200, f"{visitor.name} to get in")

    def is_out(self, visitor: Visitor) -> bool:
        """Say whether somebody is sent away."""
        return self.as_(visitor).status(self.page) in OUT

    def leaves(self, visitor: Visitor) -> None:
        """Wait until somebody is sent away."""
        wait_for(lambda: self.is_out(visitor), f"{visitor.name} to be out")


async def aside(function: Any, *arguments: Any, **more: Any) -> Any:
    """Do something that waits while sockets are read."""
    return await asyncio.to_thread(function, *arguments, **more)


def shown_locally(test: _Test) -> _Test:
    """Mark what is the session manager's own doing: the long tests show it on the cluster again."""
    return pytest.mark.long(test) if os.environ.get("CANFAR_CLUSTER") else test


class SharingContract:
    """In, listed, out: by name, by group and by link."""

    async def test_with_a_person_until_it_is_revoked(self, shared: Shared) -> None:
        owner, guest = shared.owner, shared.as_(shared.guest)
        assert shared.is_out(guest.visitor)
        made = calls.share(owner, shared.session, user=guest.visitor.name)
        assert (made["how"], made["whom"]) == ("person", guest.visitor.name)
        await aside(shared.enters, guest.visitor)
        mine = await shared.sockets(owner)
        hers = await shared.sockets(guest.visitor)
        await aside(calls.wait_here, owner, shared.session, guest.visitor.name)
        found = calls.visitors(owner, shared.session)[guest.visitor.name]
        assert found["until"] == made["until"]
        assert found["shares"] == [made["id"]]
        assert owner.name not in calls.visitors(owner, shared.session)
        assert shared.session in calls.shared_with_me(guest.visitor)
        begun = time.monotonic()
        await aside(calls.revoke, owner, shared.session, made["id"])
        for kind, (path, socket) in hers.items():
            took = await socket.closed() - begun
            print(f"{kind}: closed {took:.1f} s after it was revoked")
            assert took < DEADLINE
            assert await guest.refused(path) in OUT
        await aside(shared.leaves, guest.visitor)
        for kind, (_, socket) in mine.items():
            await shared.alive(kind, socket)
        assert calls.visitors(owner, shared.session) == {}
        assert shared.session not in calls.shared_with_me(guest.visitor)
        told = calls.deeds(owner, shared.session)
        for deed in ("shared", "came in", "revoked"):
            assert (deed, guest.visitor.name) in told

    @shown_locally
    async def test_with_a_group(self, shared: Shared) -> None:
        owner, guest = shared.owner, shared.as_(shared.guest)
        made = calls.share(owner, shared.session, group=shared.group)
        assert (made["how"], made["whom"]) == ("group", shared.group)
        assert guest.visitor.name in made["letsIn"]
        await aside(shared.enters, guest.visitor)
        hers = await shared.sockets(guest.visitor)
        await aside(calls.revoke, owner, shared.session)
        for _, socket in hers.values():
            await socket.closed()
        await aside(shared.leaves, guest.visitor)

    @shown_locally
    async def test_by_a_link_that_is_for_one(self, shared: Shared) -> None:
        owner, guest = shared.owner, shared.as_(shared.guest)
        made = calls.share(owner, shared.session, link=True)
        code = calls.code_of(made["url"])
        assert "url" not in calls.shares(owner, shared.session)[0]
        assert calls.accept(owner, code).status_code == 409
        assert shared.is_out(guest.visitor)
        answer = calls.accept(guest.visitor, code)
        assert answer.status_code == 200, answer.text
        assert answer.json()["owner"] == owner.name
        await aside(shared.enters, guest.visitor)
        assert calls.accept(shared.third, code).status_code == 400
        hers = await shared.sockets(guest.visitor)
        await aside(calls.revoke, owner, shared.session, made["id"])
        for _, socket in hers.values():
            await socket.closed()
        await aside(shared.leaves, guest.visitor)
        again = calls.accept(guest.visitor, code)
        assert again.status_code == 400
        assert "opens nothing" in again.text
        assert ("link taken up", guest.visitor.name) in calls.deeds(owner, shared.session)

    @shown_locally
    async def test_until_a_time(self, shared: Shared) -> None:
        owner, guest = shared.owner, shared.as_(shared.guest)
        until = datetime.now(UTC) + timedelta(seconds=12)
        calls.share(owner, shared.session, user=guest.visitor.name, until=until.isoformat())
        await aside(shared.enters, guest.visitor)
        hers = await shared.sockets(guest.visitor)
        for kind, (_, socket) in hers.items():
            await socket.closed()
            late = datetime.now(UTC) - until
            print(f"{kind}: closed {late.total_seconds():.1f} s after its time")
            assert late > timedelta(0)
        await aside(shared.leaves, guest.visitor)
        assert calls.shares(owner, shared.session) == []
        assert ("expired", guest.visitor.name) in calls.deeds(owner, shared.session)

    @shown_locally
    async def test_who_leaves_is_out(self, shared: Shared) -> None:
        owner, guest = shared.owner, shared.as_(shared.guest)
        calls.share(owner, shared.session, user=guest.visitor.name)
        await aside(shared.enters, guest.visitor)
        hers = await shared.sockets(guest.visitor)
        path = f"shared/{owner.name}/{shared.session}"
        answer = await aside(calls.manager, guest.visitor, "DELETE", path)
        assert answer.status_code == 204, answer.text
        for _, socket in hers.values():
            await socket.closed()
        await aside(shared.leaves, guest.visitor)
        assert ("left", guest.visitor.name) in calls.deeds(owner, shared.session)

    @shown_locally
    async def test_what_is_refused(self, shared: Shared) -> None:
        owner, guest = shared.owner, shared.guest
        past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        shares = f"session/{shared.session}/shares"
        for body, status, word in (
            ({}, 400, "user, group or link"),
            ({"user": guest.name, "group": shared.group}, 400, "one of"),
            ({"user": owner.name}, 400, "owner's already"),
            ({"user": "nobody-of-this-name"}, 400, "Nobody called"),
            ({"group": "root"}, 400, "not in a group"),
            ({"user": guest.name, "until": past}, 400, "has passed"),
            ({"user": guest.name, "until": "tomorrow"}, 400, "until"),
            ({"user": guest.name, "scopes": ["servers"]}, 400, "scopes is not known"),
            ({"link": True, "people": 0}, 400, "1 to 50"),
            ({"user": guest.name, "storage": "yes"}, 400, "true or false"),
        ):
            answer = calls.manager(owner, "POST", shares, json=body)
            assert answer.status_code == status, (body, answer.text)
            assert word in answer.text, (body, answer.text)
        assert calls.shares(owner, shared.session) == []
        calls.share(owner, shared.session, user=guest.name)
        for method, path in (
            ("GET", shares),
            ("POST", shares),
            ("DELETE", shares),
            ("GET", f"session/{shared.session}/visitors"),
            ("GET", f"session/{shared.session}/audit"),
        ):
            answer = calls.manager(
                guest, method, path, **({"json": {"user": "admin"}} if method == "POST" else {})
            )
            assert answer.status_code == 403, (method, path, answer.text)
        calls.revoke(owner, shared.session)
