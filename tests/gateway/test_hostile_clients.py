"""What clients may write to a gateway so that it and the application read two different requests."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.support.gateway import MEGABYTE, Gated, ask, targets
from tests.support.wire import Answer

pytestmark = [
    pytest.mark.environment("proxy"),
    pytest.mark.usefixtures("unharmed"),
    # What is between the gateway and an application is the same in both.
    pytest.mark.parametrize("gateway_hub", ["127.0.0.1"], indirect=True, ids=["one-origin"]),
]

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
SHAPES = {
    "length, then chunks": (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        f"0\r\n\r\n{SMUGGLED}",
    ),
    "chunks, then length": (
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(SMUGGLED) + 5}\r\n",
        f"0\r\n\r\n{SMUGGLED}",
    ),
    "two lengths": (
        f"Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n",
        SMUGGLED,
    ),
    "two lengths in one": (f"Content-Length: 0, {len(SMUGGLED)}\r\n", SMUGGLED),
    "a signed length": (f"Content-Length: +{len(SMUGGLED)}\r\n", SMUGGLED),
    "a length with underscores": ("Content-Length: 0_0\r\n", SMUGGLED),
    "a space before the colon": (f"Content-Length : {len(SMUGGLED)}\r\n", SMUGGLED),
    "chunks after identity": ("Transfer-Encoding: identity, chunked\r\n", f"0\r\n\r\n{SMUGGLED}"),
    "chunks not last": ("Transfer-Encoding: chunked, identity\r\n", f"0\r\n\r\n{SMUGGLED}"),
    "chunks of another name": ("Transfer-Encoding: xchunked\r\n", f"0\r\n\r\n{SMUGGLED}"),
    "chunks after a tab": ("Transfer-Encoding:\tchunked\r\n", f"0\r\n\r\n{SMUGGLED}"),
    "chunks after a vertical tab": ("Transfer-Encoding: \x0bchunked\r\n", f"0\r\n\r\n{SMUGGLED}"),
    "a folded header": (f"X-Own: a\r\n Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED),
    "a chunk with a sign": ("Transfer-Encoding: chunked\r\n", f"+0\r\n\r\n{SMUGGLED}"),
    "a chunk in hexadecimal words": ("Transfer-Encoding: chunked\r\n", f"0x0\r\n\r\n{SMUGGLED}"),
    "a lone line feed": ("X-Own: a\nTransfer-Encoding: chunked\r\n", f"0\r\n\r\n{SMUGGLED}"),
    "a lone carriage return": (f"X-Own: a\rContent-Length: {len(SMUGGLED)}\r\n", SMUGGLED),
    "length in the connection": (
        f"Connection: keep-alive, Content-Length\r\nContent-Length: {len(SMUGGLED)}\r\n",
        SMUGGLED,
    ),
    "chunks in the connection": (
        "Connection: keep-alive, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
        f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
    ),
    "a WebSocket that is none": (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        SMUGGLED,
    ),
    "another protocol": ("Upgrade: h2c\r\nConnection: Upgrade\r\n", SMUGGLED),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_one_request_is_one_request(behind: Gated, shape: str) -> None:
    """What follows is a request without a credential of its own, or none: never the application's."""
    headers, rest = SHAPES[shape]
    token = behind.token["Authorization"]
    with behind.direct() as opened:
        opened.send(
            f"POST {behind.prefix}echo HTTP/1.1\r\nHost: {opened.host}\r\n"
            f"Authorization: {token}\r\n{headers}\r\n{rest}".encode("latin-1")
        )
        with contextlib.suppress(OSError, ValueError, IndexError):
            opened.answer()
    assert "GET /smuggled" not in targets(behind)


def test_a_refused_body_is_not_the_next_request(behind: Gated) -> None:
    """The body that came with a refused request is not read as one, either."""
    inner = f"GET {behind.prefix}smuggled HTTP/1.1\r\nHost: x\r\n"
    inner += f"Authorization: {behind.token['Authorization']}\r\n\r\n"
    with behind.direct() as opened:
        opened.ask("POST", f"{behind.prefix}echo", {}, inner.encode())
        assert opened.answer().status in (302, 401, 403)
        with contextlib.suppress(OSError):
            opened.socket.settimeout(1)
            assert not opened.read()
    assert "GET /smuggled" not in targets(behind)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/echo",
        "/user/ada/",
        "/user/ada/other/echo",
        "/user/cyd/{session}/echo",
        "/user/ada/{session}x/echo",
        "/user/ada/{session}",
        "//user/ada/{session}/echo",
        "/hub/home",
        "*",
        "evil.example:80",
    ],
)
def test_other_addresses_are_not_the_applications(behind: Gated, path: str) -> None:
    """Even for the owner: what is not below its own address is not passed on."""
    asked = path.format(session=behind.session)
    before = targets(behind)
    with behind.direct() as opened:
        opened.ask("GET", asked, behind.token)
        assert opened.answer().status in (302, 400, 404)
    assert targets(behind)[-2:] == [before[-1], "GET /seen"] or "GET /echo" not in targets(behind)


def test_what_is_said_about_the_way_is_the_gateways(behind: Gated) -> None:
    """Whoever asks cannot tell the application that she came from elsewhere, or hide by whom."""
    claims = {
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Proto": "gopher",
        "Forwarded": "for=10.9.8.7;host=evil.example",
        "X-Real-IP": "10.9.8.7",
        "Proxy-Authorization": "Basic ZXZpbA==",
        "Connection": "close, X-Forwarded-Prefix, Cookie, Host",
        "TE": "trailers",
    }
    found = behind.ask("GET", "echo", {**behind.token, **claims}, direct=True)
    assert found.status == 200
    for word in ("10.9.8.7", "evil", "gopher", "ZXZpbA"):
        assert word not in found.body.decode(), found.body
    sent = {name.lower(): value for name, value in json.loads(found.body)["headers"]}
    assert sent["host"] == behind.host
    assert sent["x-forwarded-prefix"].rstrip("/") == behind.prefix.rstrip("/")


@pytest.mark.parametrize(
    "headers",
    [{"X-Own": "x" * MEGABYTE}, {f"X-{number}": "x" for number in range(20_000)}],
    ids=["one", "many"],
)
def test_headers_without_measure_are_refused(behind: Gated, headers: dict[str, str]) -> None:
    found = Answer(0)
    with behind.direct() as opened, contextlib.suppress(OSError):
        opened.ask("GET", f"{behind.prefix}echo", {**behind.token, **headers})
        found = opened.answer()
    assert found.status in (0, 400, 413, 431)


def test_connections_that_say_nothing_hold_nobody_up(behind: Gated) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(100):
            opened = stack.enter_context(behind.direct())
            opened.send(b"GET / HTTP/1.1\r\nHos"[: number % 20])
        assert ask(behind, "echo").status == 200
