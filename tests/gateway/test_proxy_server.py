"""What passes through a gateway, both ways; its application and hub are of a few lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tornado import web, websocket

from canfar_spawner.core.kinds import Transport
from canfar_spawner.gateway.activity import Activity
from canfar_spawner.gateway.tokens import KNOWN_FOR
from tests.support.gateway_inside import PREFIX, SECRET, Inside, inside
from tests.support.hub import DEADLINE

PIECE = b"0123456789abcdef" * 4096
MANY = 400
"""Pieces: more than all buffers on the way hold."""


@web.stream_request_body
class Tell(web.RequestHandler):
    """Tells what it was asked, and how much came."""

    def prepare(self) -> None:
        self.size = 0

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def _tell(self, _: str) -> None:
        self.finish(
            json.dumps(
                {
                    "method": self.request.method,
                    "uri": self.request.uri,
                    "headers": dict(self.request.headers.get_all()),
                    "size": self.size,
                }
            )
        )

    get = post = put = patch = delete = options = _tell

    def head(self, _: str) -> None:
        self.set_header("Content-Length", "7")


class Large(web.RequestHandler):
    """Sends pieces until it is told that nobody takes them."""

    sent = 0

    async def get(self) -> None:
        Large.sent = 0
        for _ in range(MANY):
            self.write(PIECE)
            await self.flush()
            Large.sent += 1


class Echo(websocket.WebSocketHandler):
    """Says everything back."""

    def check_origin(self, _: str) -> bool:  # type: ignore[override]
        return True

    def select_subprotocol(self, offered: list[str]) -> str | None:
        return offered[0] if offered else None

    def open(self, *_: str, **__: str) -> None:
        headers = self.request.headers
        names = ("Cookie", "Authorization", "Host", "X-Forwarded-Proto")
        self.write_message(json.dumps({name: headers.get(name) for name in names}))

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Config(web.RequestHandler):
    """What CARTA tells its page."""

    def get(self) -> None:
        self.set_header("Set-Cookie", "seen=1; Path=/; Domain=example.org")
        self.finish({"apiAddress": "/api", "encoding": self.request.headers.get("Accept-Encoding")})


ROUTES: list[Any] = [(r"/large", Large), (r"/ws", Echo), (r"/config", Config), (r"/(.*)", Tell)]


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - others change what it looks at
            await asyncio.sleep(0.02)


async def ready(found: Inside) -> Inside:
    await until(lambda: found.gateway.readiness.ready)
    return found


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Inside]:
    """Have a gateway before that application, which is ready."""
    async with inside(tmp_path, ROUTES, rewrites=("carta-config",)) as found:
        yield await ready(found)


async def told(found: Inside, path: str = "x", method: str = "GET", **given: Any) -> Any:
    status, _, body = await found.ask(path, method, **given)
    assert status == 200, body
    return json.loads(body)


async def test_what_is_asked_arrives_as_it_was(served: Inside) -> None:
    said = await told(served, "a%20b/%2F/..%2e/c?q=%41&&r")
    assert said["uri"] == "/a%20b/%2F/..%2e/c?q=%41&&r"
    assert said["headers"]["Host"] == f"127.0.0.1:{served.port}"
    assert "Authorization" not in said["headers"]
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        said = await told(served, method=method, data=b"xyz")
        assert (said["method"], said["size"]) == (method, 3)
        assert said["headers"]["Content-Length"] == "3"
    # It would show what the application alone is told.
    assert (await served.ask("x", "TRACE"))[0] == 405
    status, headers, body = await served.ask("x", "HEAD")
    assert (status, dict(headers)["Content-Length"], body) == (200, "7", b"")


async def test_an_address_is_the_sessions_however_its_characters_are_escaped(
    served: Inside,
) -> None:
    plain = PREFIX.replace("%40", "@")
    statuses = {}
    for path in (
        f"{PREFIX}x",
        f"{plain}x",
        f"{PREFIX.replace('ada', '%61da')}x",
        f"{PREFIX.replace('.', '%2E')}x",
        PREFIX.replace("abcd1234", "abcd1235"),
        f"/{PREFIX}x",
        "/user/ada.b%40c/abcd1234",
        "/",
        "*",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        writer.write(f"{head}Authorization: Bearer owners\r\n\r\n".encode())
        statuses[path] = int((await reader.read()).split()[1])
        writer.close()
    assert list(statuses.values()) == [200, 200, 200, 200, 404, 404, 302, 404, 404], statuses


async def test_bodies_pass_piece_by_piece_and_each_side_waits_for_the_other(
    served: Inside,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MANY):
            yield PIECE

    said = await told(served, method="POST", data=pieces())
    assert said["size"] == MANY * len(PIECE)
    assert said["headers"]["Transfer-Encoding"] == "chunked"
    async with served.client.get(served.url("large"), headers=served.as_()) as answer:
        # Nobody reads: so nobody writes either, before all of it has been sent.
        before = -1
        while before != Large.sent:
            before = Large.sent
            await asyncio.sleep(0.3)
        assert 0 < Large.sent < MANY
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
    assert size == MANY * len(PIECE)


async def test_cartas_configuration_is_changed_on_its_way(served: Inside) -> None:
    status, headers, body = await served.ask("config", headers={"Accept-Encoding": "gzip"})
    assert status == 200
    assert json.loads(body) == {"apiAddress": f"{PREFIX}api", "encoding": None}
    assert dict(headers)["Set-Cookie"] == f"seen=1; Path={PREFIX}"


async def test_websockets_pass_both_ways(served: Inside) -> None:
    headers = served.as_(Cookie="jupyterhub-session-id=1; a=2", Origin=served.origin)
    async with served.client.ws_connect(
        served.url("ws"), headers=headers, protocols=("one", "two"), max_msg_size=0
    ) as ws:
        assert ws.protocol == "one"
        opened = json.loads((await ws.receive()).data)
        assert opened["Cookie"] == "a=2"
        assert opened["Authorization"] is None
        await ws.send_str("text")
        assert (await ws.receive()).data == "text"
        await ws.send_bytes(PIECE * 50)
        assert (await ws.receive()).data == PIECE * 50
        last = served.gateway.activity.last
        await ws.ping()
        await ws.pong()
        await ws.send_str("2")
        assert (await ws.receive()).data == "2"
        assert served.gateway.activity.last == last
        await ws.send_str("more")
        await ws.receive()
        assert served.gateway.activity.last != last
        await ws.close(code=4000)
        assert ws.close_code == 4000
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await served.client.ws_connect(served.url("elsewhere"), headers=headers)
    assert caught.value.status == 502


async def test_with_the_prefix_kept_over_a_port_and_with_a_secret(tmp_path: Path) -> None:
    async with inside(
        tmp_path,
        [(rf"{PREFIX}(.*)", Tell)],
        unix=False,
        keeps_prefix=True,
        ready_path="/ready",
        start="/lab/tree/a%20b",
        secret_header=("Authorization", "token {secret}"),
    ) as found:
        await ready(found)
        said = await told(found, "x?y")
        assert said["uri"] == f"{PREFIX}x?y"
        assert said["headers"]["Authorization"] == f"token {SECRET}"
        status, headers, _ = await found.ask()
        assert (status, dict(headers)["Location"]) == (302, f"{PREFIX}lab/tree/a%20b")
        # What the application's own page sends along lets nobody in.
        status, _, _ = await found.ask("x", who="", headers={"Authorization": f"token {SECRET}"})
        assert status == 401


@pytest.mark.parametrize(
    ("query", "opens"),
    [
        ("", True),
        # The hub's counter, behind an address that came to the hub and was sent back.
        ("?redirects=1", True),
        ("?redirects=12", True),
        ("?redirects=", False),
        ("?redirects=one", False),
        ("?redirects=1&page=2", False),
        ("?page=2&redirects=1", False),
        ("?more_redirects=1", False),
    ],
)
async def test_who_asks_for_nothing_more_is_led_to_the_page_to_open_with(
    tmp_path: Path, query: str, *, opens: bool
) -> None:
    async with inside(tmp_path, ROUTES, start="/?file=a.fits") as found:
        await ready(found)
        status, headers, _ = await found.ask(query)
        led = (status, dict(headers).get("Location"))
        assert (led == (302, f"{PREFIX}?file=a.fits")) is opens, led


async def test_who_is_not_let_in_learns_nothing(served: Inside) -> None:
    answers = set()
    for path in ("x", "config", "large", "none/at/all"):
        status, headers, body = await served.ask(path, who="")
        answers.add((status, tuple(sorted(headers.items())), body))
    assert len(answers) == 1
    assert answers.pop()[0] == 401
    status, headers, _ = await served.ask("x", who="", headers={"Accept": "text/html"})
    assert status == 302
    assert "/hub/api/oauth2/authorize" in dict(headers)["Location"]
    assert (await served.ask("x", who="strangers"))[0] == 403
    assert (await served.ask("x", who="unknown"))[0] == 401
    assert (await served.ask("x", who="visitors"))[0] == 200


async def test_a_hub_that_is_away_locks_nobody_out(
    served: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await served.ask("x"))[0] == 200
    asked = served.hub.asked
    assert (await served.ask("x"))[0] == 200
    assert served.hub.asked == asked
    served.hub.away = True
    monkeypatch.setattr("canfar_spawner.gateway.tokens.KNOWN_FOR", KNOWN_FOR - KNOWN_FOR)
    assert (await served.ask("x"))[0] == 200
    assert served.hub.asked > asked
    status, headers, _ = await served.ask("x", who="visitors")
    assert (status, dict(headers)["Retry-After"]) == (503, "2")
    served.hub.away = False
    assert (await served.ask("x", who="visitors"))[0] == 200


async def test_not_ready_until_the_application_answers(tmp_path: Path) -> None:
    async with inside(tmp_path, None) as found:
        assert (await found.ask("api", who=""))[0] == 503
        assert (await found.ask("other", who=""))[0] == 401
        status, headers, body = await found.ask("other")
        assert (status, dict(headers)["Retry-After"]) == (503, "2")
        assert b"starting" in body
        status, _, body = await found.ask(
            "other", who="", headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
        )
        assert status == 302


class Failing(web.RequestHandler):
    """Answers with an error for the first few times."""

    left = 2

    def get(self) -> None:
        if Failing.left:
            Failing.left -= 1
            self.set_status(500)


async def test_an_application_that_fails_is_not_ready(tmp_path: Path) -> None:
    async with inside(tmp_path, [(r"/", Failing)]) as found:
        assert not found.gateway.readiness.ready
        await ready(found)
        assert Failing.left == 0
        assert (await found.ask("api", who=""))[0] == 401


async def test_an_application_that_went_is_said_to_be_silent(tmp_path: Path) -> None:
    async with inside(tmp_path, ROUTES) as found:
        await ready(found)
        (tmp_path / "app.sock").unlink()
        found.gateway.upstream.close()
        status, _, body = await found.ask("x")
        assert status == 502
        assert b"does not answer" in body


async def test_a_socket_is_shown_as_a_websocket(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            if b"\x00over" in piece:
                break
        writer.close()

    server = await asyncio.start_unix_server(echo, tmp_path / "vnc.sock")
    listening = {"socket": str(tmp_path / "vnc.sock")}
    async with (
        server,
        inside(tmp_path, None, listening=listening, transport=Transport.STREAM) as found,
    ):
        await ready(found)
        assert (await found.ask("anything"))[0] == 404
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await found.client.ws_connect(found.url("stream"))
        async with found.client.ws_connect(
            found.url("stream"), headers=found.as_(), protocols=("binary",), max_msg_size=0
        ) as ws:
            assert ws.protocol == "binary"
            # What VNC's page asks by itself is no use; a key is.
            await ws.send_bytes(b"\x03 again")
            assert (await ws.receive()).data == b"\x03 again"
            assert found.gateway.activity.last is None
            await ws.send_bytes(b"\x04 key")
            assert (await ws.receive()).data == b"\x04 key"
            assert found.gateway.activity.last is not None
            await ws.ping(b"there?")
            await ws.send_bytes(PIECE * 20)
            back = b""
            while len(back) < 20 * len(PIECE):
                back += (await ws.receive()).data
            assert back == PIECE * 20
            await ws.send_bytes(b"\x00over")
            assert (await ws.receive()).data == b"\x00over"
            await ws.receive()
            assert ws.close_code == 1001


async def test_use_is_told_when_there_was_some_and_as_it_was(tmp_path: Path) -> None:
    async with inside(tmp_path, ROUTES) as found:
        await ready(found)
        heartbeats = [said for where, said in found.hub.told if "heartbeat" in where]
        assert heartbeats == [{"visitors": []}] or not heartbeats
        await until(lambda: found.hub.told)
        assert "activity" not in found.hub.told[0][1]
        await found.ask("x", who="visitors")
        await until(lambda: any("users/ada/activity" in where for where, _ in found.hub.told))
        at = found.gateway.activity.last
        assert at is not None
        said = next(said for where, said in found.hub.told if "users/ada/activity" in where)
        assert said["servers"]["abcd1234"]["last_activity"] == f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
        # Somebody came: that is told at once.
        await until(
            lambda: any(
                visitor["name"] == "ben"
                for _, said in found.hub.told
                for visitor in said.get("visitors", ())
            )
        )


def test_a_page_that_asks_for_the_same_again_and_again_is_no_use() -> None:
    class Asked:
        method = "GET"
        target = "/poll"

    moments = iter(range(100))
    activity = Activity(clock=lambda: next(moments))  # type: ignore[arg-type, return-value]
    asked: Any = Asked()
    activity.asked(asked)
    assert activity.last == 0
    for _ in range(5):
        activity.asked(asked)
    assert activity.last == 0
    asked.method = "HEAD"
    activity.asked(asked)
    assert activity.last == 0
    asked.method = "POST"
    activity.asked(asked)
    assert activity.last == 1
    asked.method, asked.target = "GET", "/other"
    activity.asked(asked)
    assert activity.last == 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        # As JupyterLab asks, every ten seconds.
        ("/api/kernels?1722500000000", "/api/kernels?1722500010000", True),
        (
            "/api/contents/a?content=0&1722500000000",
            "/api/contents/a?content=0&1722500010000",
            True,
        ),
        ("/api/kernels", "/api/kernels?1722500010000", True),
        (
            "/api/contents/a?content=0&1722500000000",
            "/api/contents/a?content=1&1722500010000",
            False,
        ),
        ("/api/contents/a?1722500000000", "/api/contents/b?1722500000000", False),
        ("/rows?from=1722500000000", "/rows?from=1722500010000", False),
        ("/rows?172250000000", "/rows?172250001000", False),
        ("/1722500000000", "/1722500010000", False),
        ("/rows?1722500000000&more", "/rows?1722500010000&more", False),
    ],
)
def test_a_time_that_is_there_against_caches_makes_no_other_address(
    first: str, second: str, *, same: bool
) -> None:
    class Asked:
        method = "GET"
        target = first

    moments = iter(range(2))
    activity = Activity(clock=lambda: next(moments))  # type: ignore[arg-type, return-value]
    asked: Any = Asked()
    activity.asked(asked)
    asked.target = second
    activity.asked(asked)
    assert activity.last == (0 if same else 1)


async def test_a_visitor_who_is_locked_out_loses_what_is_open(served: Inside) -> None:
    async with served.client.ws_connect(served.url("ws"), headers=served.as_("visitors")) as ws:
        await ws.receive()
        async with served.client.get(
            served.url("large"), headers=served.as_("visitors")
        ) as download:
            del served.hub.people["visitors"]
            async with asyncio.timeout(DEADLINE):
                assert (await ws.receive()).type in (
                    aiohttp.WSMsgType.CLOSE,
                    aiohttp.WSMsgType.CLOSED,
                    aiohttp.WSMsgType.ERROR,
                )
                with pytest.raises(aiohttp.ClientError):
                    await download.read()
    assert (await served.ask("x", who="visitors"))[0] == 401
    assert (await served.ask("x"))[0] == 200
