"""The outbox: nothing that happened is lost, whatever fails between it and its receiver."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from tornado import httpserver, netutil, web
from tornado.httpclient import AsyncHTTPClient
from typing_extensions import override

from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.hub.outbox import Outbox

LOG = logging.getLogger("tests.outbox")
START = datetime(2026, 11, 1, tzinfo=UTC)


def event(number: int, owner: str = "ada") -> SessionEvent:
    return SessionEvent(
        launch=LaunchId(f"abcdefgh-{number:012d}"),
        owner=owner,
        session=SessionId("abcdefgh"),
        at=START + timedelta(seconds=number),
        what=What.ASKED,
    )


@dataclass
class Receiver:
    """What a session manager is to the outbox."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    """Answers to give before 200."""
    taken: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    async def post(self, events: Sequence[SessionEvent]) -> bool:
        body = json.dumps([each.model_dump(mode="json") for each in events])
        answer = await AsyncHTTPClient().fetch(
            self.url, method="POST", body=body, raise_error=False, request_timeout=5
        )
        return bool(answer.code == 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()

    class Events(web.RequestHandler):
        @override
        def post(self) -> None:
            if found.statuses:
                self.set_status(found.statuses.pop(0))
                return
            launches = [each["launch"] for each in json.loads(self.request.body)]
            found.batches.append(len(launches))
            found.taken += launches

    server = httpserver.HTTPServer(web.Application([("/events", Events)]))
    (socket,) = netutil.bind_sockets(0, "127.0.0.1")
    server.add_socket(socket)
    found.url = f"http://127.0.0.1:{socket.getsockname()[1]}/events"
    yield found
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.jsonl", LOG)


def launches(count: int, first: int = 0) -> list[str]:
    return [event(number).launch for number in range(first, first + count)]


async def test_events_arrive_in_order_and_in_batches(outbox: Outbox, receiver: Receiver) -> None:
    for number in range(450):
        outbox.append(event(number))
    assert await outbox.deliver(receiver.post) == 450
    assert receiver.taken == launches(450)
    assert receiver.batches == [200, 200, 50]
    assert outbox.waiting() == ()
    assert await outbox.deliver(receiver.post) == 0


async def test_what_is_not_taken_waits(outbox: Outbox, receiver: Receiver) -> None:
    for number in range(450):
        outbox.append(event(number))
    receiver.statuses = [503]
    assert await outbox.deliver(receiver.post) == 0
    assert len(outbox.waiting()) == 450

    async def once(events: Sequence[SessionEvent]) -> bool:
        taken = await receiver.post(events)
        receiver.statuses = [500]
        return taken

    assert await outbox.deliver(once) == 200
    assert [each.launch for each in outbox.waiting()] == launches(250, 200)
    receiver.statuses = []
    assert await outbox.deliver(receiver.post) == 250
    assert receiver.taken == launches(450)


async def test_a_receiver_that_is_not_there_loses_nothing(outbox: Outbox) -> None:
    outbox.append(event(1))

    async def nobody(events: Sequence[SessionEvent]) -> bool:
        raise ConnectionRefusedError(len(events))

    with pytest.raises(ConnectionRefusedError):
        await outbox.deliver(nobody)
    assert [each.launch for each in outbox.waiting()] == launches(1, 1)
    assert await outbox.deliver(lambda _: asyncio.sleep(0, result=True)) == 1


async def test_events_on_the_way_are_not_lost_with_the_hub(
    outbox: Outbox, receiver: Receiver
) -> None:
    """Killed after the receiver took them and before they were crossed out: they come twice."""
    for number in range(3):
        outbox.append(event(number))

    async def killed(events: Sequence[SessionEvent]) -> bool:
        assert await receiver.post(events)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await outbox.deliver(killed)
    after = Outbox(outbox.path, LOG)
    assert await after.deliver(receiver.post) == 3
    assert receiver.taken == launches(3) * 2
    assert sorted(set(receiver.taken)) == launches(3)


async def test_what_happens_during_a_delivery_stays(outbox: Outbox, receiver: Receiver) -> None:
    for number in range(2):
        outbox.append(event(number))

    async def slow(events: Sequence[SessionEvent]) -> bool:
        if not receiver.taken:
            outbox.append(event(2))
            assert await outbox.deliver(receiver.post) == 0, "one delivery at a time"
        return await receiver.post(events)

    assert await outbox.deliver(slow) == 3
    assert receiver.taken == launches(3)
    assert outbox.waiting() == ()


def test_the_file_is_the_hubs_own(outbox: Outbox) -> None:
    outbox.append(event(1))
    assert stat.S_IMODE(outbox.path.stat().st_mode) == 0o600


async def test_the_file_stays_the_hubs_own(outbox: Outbox, receiver: Receiver) -> None:
    for number in range(201):
        outbox.append(event(number))
    receiver.statuses = []
    await outbox.deliver(receiver.post)
    assert stat.S_IMODE(outbox.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "torn", [b'{"launch": "abcdefgh-0000', b"\x00\xff\n", b"\n", b"[]\n", b"{}\n"]
)
async def test_a_torn_line_costs_no_other(
    outbox: Outbox, receiver: Receiver, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.append(event(0))
    with outbox.path.open("ab") as file:
        file.write(torn)
    outbox.append(event(1))
    outbox.append(event(2))
    assert [each.launch for each in outbox.waiting()] == launches(3)
    assert "is passed over" in caplog.text
    assert await outbox.deliver(receiver.post) == 3
    assert receiver.taken == launches(3)
    assert outbox.path.read_bytes() == b""


def test_text_of_a_client_makes_no_line_of_its_own(outbox: Outbox) -> None:
    outbox.append(event(1, owner='eve\n{"launch": "x"}\r\u2028\x85'))
    outbox.append(event(2))
    assert [each.launch for each in outbox.waiting()] == launches(2, 1)


def test_a_full_disk_stops_no_session(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    Outbox(full, LOG).append(event(1))
    assert "could not be kept" in caplog.text
    Outbox(tmp_path / "nosuch" / "outbox.jsonl", LOG).append(event(2))
    assert "abcdefgh-000000000002" in caplog.text


async def test_what_waited_for_days_is_read_and_copied_little(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the file, the work is in proportion to it."""
    line = event(1).model_dump_json() + "\n"
    outbox.path.write_text(line * 20_000)
    copied = []
    copy = shutil.copyfileobj

    def counted(old: BinaryIO, new: BinaryIO) -> None:
        copied.append(os.fstat(old.fileno()).st_size - old.tell())
        copy(old, new)

    monkeypatch.setattr(shutil, "copyfileobj", counted)
    most = 0

    async def post(events: Sequence[SessionEvent]) -> bool:
        nonlocal most
        most = max(most, len(events))
        return True

    assert await outbox.deliver(post) == 20_000
    assert most == 200
    assert sum(copied) < 20_000 * len(line)
    assert outbox.path.read_bytes() == b""


async def test_an_outbox_that_somebody_empties_goes_on(outbox: Outbox, receiver: Receiver) -> None:
    for number in range(300):
        outbox.append(event(number))
    receiver.statuses = []

    async def first_only(events: Sequence[SessionEvent]) -> bool:
        return len(events) == 200

    await outbox.deliver(first_only)
    outbox.path.write_bytes(b"")
    outbox.append(event(7))
    assert await outbox.deliver(receiver.post) == 1
    assert receiver.taken == [event(7).launch]


WRITER = """
import itertools, logging, sys
from pathlib import Path
from tests.hub.test_outbox import event
from canfar_spawner.hub.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), logging.getLogger())
for number in itertools.count():
    outbox.append(event(number))
    print(number, flush=True)
"""


def test_what_was_kept_survives_a_kill(outbox: Outbox) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(outbox.path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    for _ in range(50):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    told = 50 + len(writer.stdout.read().splitlines())
    writer.wait()
    writer.stdout.close()
    kept = outbox.waiting()
    assert len(kept) in (told, told + 1)
    assert [each.launch for each in kept] == launches(len(kept))
