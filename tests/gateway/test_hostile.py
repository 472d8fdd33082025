"""Applications and clients that do harm: the gateway stays, and the hub and others notice nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import MEGABYTE, Gated, ask, grows_little, ok, say, targets
from tests.support.hub import wait_for

pytestmark = [
    pytest.mark.environment("proxy"),
    pytest.mark.usefixtures("unharmed"),
    # What is between the gateway and an application is the same in both.
    pytest.mark.parametrize("gateway_hub", ["127.0.0.1"], indirect=True, ids=["one-origin"]),
]


@pytest.mark.parametrize(
    "location",
    [
        "//evil.example/x",
        "/\\evil.example/x",
        "\\\\evil.example/x",
        "///evil.example/x",
        "/%09/evil.example/x",
        "/hub/logout",
        "/../../../hub/logout",
        "/./%2e%2E/../hub/logout",
        "/..//evil.example/x",
        "../../../hub/logout",
        "x/../../../../hub/logout",
        "..\\..\\..\\hub\\logout",
        "%2e%2E/.%2e/../hub/logout",
        "..//evil.example/x",
    ],
)
def test_redirects_lead_nowhere_else(behind: Gated, location: str) -> None:
    """What an application means as a path of its own stays below the session's address."""
    answer = ask(behind, say(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode()))
    if answer.status == 502:
        return
    led = httpx.URL(f"{behind.origin}{behind.prefix}").join(answer.get("Location"))
    assert led.host in ("127.0.0.1", "ada.hub.localhost"), answer.get("Location")
    assert led.path.startswith(behind.prefix), answer.get("Location")
    assert "\\" not in answer.get("Location")
    assert "%2e" not in answer.get("Location").lower()


# Answers that are none.

BROKEN = {
    "nothing": b"",
    "no answer at all": b"\x16\x03\x01\x02\x00\x01",
    "half a status line": b"HTTP/1.1 200",
    "half the headers": b"HTTP/1.1 200 OK\r\nContent-Type: te",
    "a status that is none": b"HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nbody",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
    "a null": b"HTTP/1.1 200 OK\r\nX-Own: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a lone carriage return": b"HTTP/1.1 200 OK\r\nX-Own: a\rX-Evil: b\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n"
    b"Connection: Upgrade\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a WebSocket that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello",
    "promises without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
}


@pytest.mark.parametrize("answer", BROKEN)
def test_an_answer_that_is_none_is_a_fault_of_the_application(behind: Gated, answer: str) -> None:
    found = ask(behind, say(BROKEN[answer]))
    assert found.status == 502, found
    assert found.complete
    assert "X-Evil" not in repr(found)


@pytest.mark.parametrize("path", [f"headers/1/{MEGABYTE}", "headers/200000/1"])
def test_headers_without_measure_are_a_fault_of_the_application(behind: Gated, path: str) -> None:
    with grows_little(behind):
        found = ask(behind, path)
    assert (found.status, found.complete) == (502, True)


SHORT = {
    "closed in the middle": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.",
    "closed in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nten bytes.",
    "closed between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"a\r\nten bytes.\r\n",
    "a chunk of no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nten bytes.",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"64\r\nten bytes.",
}


@pytest.mark.parametrize("answer", SHORT)
def test_an_answer_that_was_cut_off_does_not_look_whole(behind: Gated, answer: str) -> None:
    found = ask(behind, say(SHORT[answer]))
    assert found.status == 502 or not found.complete, found


def test_more_than_was_announced_is_nobodys_answer(behind: Gated) -> None:
    evil = b"HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil"
    with behind.direct() as opened:
        for answer in (ok(body=b"body") + evil, b"HTTP/1.1 204 No Content\r\n\r\n" + evil):
            opened.ask("GET", f"{behind.prefix}{say(answer)}", behind.token)
            assert b"evil" not in opened.answer().body
            opened.ask("GET", f"{behind.prefix}echo", behind.token)
            assert b'"target": "/echo"' in opened.answer().body


def test_what_is_packed_stays_packed(behind: Gated) -> None:
    """A small answer that would be large is not unpacked on its way."""
    packed = b"\x1f\x8b\x08\x00 not even packed"
    found = ask(behind, say(ok("Content-Encoding: gzip", body=packed)))
    assert (found.body, found.get("Content-Encoding")) == (packed, "gzip")


def test_trailers_and_odd_words_change_nothing(behind: Gated) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Evil\r\n\r\n"
        b"4;name=value\r\nbody\r\n0\r\nSet-Cookie: evil=1; Path=/\r\nX-Evil: 1\r\n\r\n"
    )
    with behind.direct() as opened:
        opened.ask("GET", f"{behind.prefix}{say(chunked)}", behind.token)
        found = opened.answer()
        assert found.complete
        assert found.body == b"body"
        assert not found.get("X-Evil")
    for header in (
        "Connection: close, X-Own",
        "Keep-Alive: timeout=1",
        "Proxy-Authenticate: Basic",
    ):
        found = ask(behind, say(ok(header, "X-Own: 1")))
        assert found.body == b"body"
        assert not found.get("Proxy-Authenticate")


# Applications that do not answer, or do not stop.


def test_silence_holds_nobody_up(behind: Gated) -> None:
    """However many wait for an answer that does not come, the next one is served."""
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            opened = stack.enter_context(behind.direct())
            opened.ask("GET", f"{behind.prefix}silent", behind.token)
        wait_for(lambda: targets(behind).count("GET /silent") >= 80, "them to wait")
        assert ask(behind, "echo").status == 200
        assert behind.ask("GET", "echo", behind.token).status == 200


@pytest.mark.parametrize("path", ["endless", "chatter"])
def test_a_flood_that_nobody_reads_stays_where_it_comes_from(behind: Gated, path: str) -> None:
    with grows_little(behind), contextlib.ExitStack() as stack:
        floods = [stack.enter_context(behind.direct(receive=4096)) for _ in range(4)]
        for opened in floods:
            if path == "chatter":
                assert opened.upgrade(f"{behind.prefix}{path}", behind.token).status == 101
            else:
                opened.ask("GET", f"{behind.prefix}{path}", behind.token)
                assert opened.head().status == 200
        # One of them is read, the others are not.
        left = 64 * MEGABYTE
        while left > 0:
            left -= len(floods[0].read())
        assert ask(behind, "echo").status == 200


@pytest.mark.parametrize("way", ["WebSocket", "POST"])
def test_a_flood_that_the_application_does_not_read_stops(behind: Gated, way: str) -> None:
    most = 128 * MEGABYTE
    with grows_little(behind), behind.direct() as opened:
        path = f"{behind.prefix}deaf"
        if way == "WebSocket":
            assert opened.upgrade(path, behind.token).status == 101
        else:
            opened.ask("POST", path, {**behind.token, "Content-Length": str(1 << 40)})
        sent, piece = 0, bytes(MEGABYTE)
        opened.socket.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while sent < most:
                if way == "WebSocket":
                    opened.say(piece, opcode=2)
                else:
                    opened.send(piece)
                sent += len(piece)
        assert sent < most, "it took everything"


def test_large_bodies_pass_without_being_kept(behind: Gated) -> None:
    size = 128 * MEGABYTE
    with grows_little(behind), behind.direct() as opened:
        opened.ask("GET", f"{behind.prefix}bytes/{size}", behind.token)
        found = opened.head()
        assert found.get("Content-Length") == str(size)
        left = size
        while left:
            left -= len(opened.read())
        opened.ask("POST", f"{behind.prefix}count", {**behind.token, "Content-Length": str(size)})
        for _ in range(size // MEGABYTE):
            opened.send(bytes(MEGABYTE))
        assert opened.answer().body == str(size).encode()


def test_whoever_hangs_up_is_not_waited_for(behind: Gated) -> None:
    """Connections to the application end with those of the browser."""
    for path in ("endless", "trickle", "silent"):
        with behind.direct() as opened:
            opened.ask("GET", f"{behind.prefix}{path}", behind.token)
            if path != "silent":
                assert opened.head().status == 200
            else:
                wait_for(lambda: "GET /silent" in targets(behind)[-2:], "it to be asked")
    wait_for(lambda: _connections(behind) <= 10, "connections to end", seconds=30)


def _connections(behind: Gated) -> int:
    """Count those that the application has."""
    assert behind.application is not None
    files = Path(f"/proc/{behind.application.pid}/fd").iterdir()
    links = []
    for file in files:
        with contextlib.suppress(OSError):
            links.append(str(file.readlink()))
    return sum(link.startswith("socket:") for link in links)
