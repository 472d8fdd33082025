"""Firefly behind the gateway, with the calls that Python's firefly-client makes: a stand-in answers.

The paths and headers are those of firefly-client 3.4.0, which shows its token over https only; the
requests are made here by themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import yaml

from tests.support.hub import ROOT, Hub, Visitor

SERVER = ROOT / "tests" / "support" / "firefly_standin" / "server.py"
CHANNEL = {"FF-channel": "ffChan-1"}
SESSION = "firefly1"


def _only_firefly() -> dict[str, Any]:
    catalogue: dict[str, Any] = yaml.safe_load(
        (ROOT / "hub_config" / "catalogue.yaml").read_text()
    )["catalogue"]
    (firefly,) = (each for each in catalogue["containers"] if each["name"] == "firefly")
    firefly["local"] = {"command": ["python3", "-c", SERVER.read_text(), "{port}"]}
    return {**catalogue, "containers": [firefly]}


SITE = {"catalogue": _only_firefly()}


@pytest.fixture(scope="module")
def address(hub: Hub, ada: Visitor) -> Iterator[str]:
    """Where a session with Firefly is, as a client is told it."""
    answer = ada.launch(SESSION, container="firefly")
    assert answer.status_code in (201, 202), answer.text
    ada.wait_ready(SESSION)
    yield f"{hub.url}/user/ada/{SESSION}/firefly/"
    ada.stop(SESSION)


@pytest.fixture(scope="module")
def client(address: str, ada: Visitor) -> Iterator[httpx.Client]:
    """Calls as firefly-client makes them."""
    headers = {"Authorization": f"Bearer {ada.token}", **CHANNEL}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as opened:
        yield opened


def test_the_session_opens_with_its_page(ada: Visitor, hub: Hub, address: str) -> None:
    # As a browser, with the cookies of whoever has signed in.
    page = ada.client.get(f"{hub.public}/user/ada/{SESSION}/", headers={"Accept": "text/html"})
    assert page.status_code == 200, page.text
    assert str(page.url) == address
    assert "<title>Firefly, a stand-in</title>" in page.text


def test_access_is_confirmed_with_a_token_only(client: httpx.Client, address: str) -> None:
    assert client.get("healthz").status_code == 200
    refused = httpx.get(f"{address}healthz")
    assert refused.status_code == 401
    assert "OK" not in refused.text


def test_commands_are_asked_and_given(client: httpx.Client, address: str, ada: Visitor) -> None:
    (told,) = client.get("sticky/CmdSrv?cmd=pushAliveCheck&ipAddress=127.0.0.1").json()
    assert told["active"]
    assert told["asked"]["cmd"] == ["pushAliveCheck"]
    # Addresses that the server makes are below the one that people see.
    assert told["seen"] == address
    assert told["heard"]["ff-channel"] == CHANNEL["FF-channel"]
    assert told["heard"]["x-forwarded-proto"] == "http"
    # What opens the hub is not the application's to know.
    assert ada.token not in json.dumps(told)

    action = {"type": "ImagePlotCntlr.PlotImage", "payload": {"plotId": "x"}}
    sent = {"channelID": CHANNEL["FF-channel"], "cmd": "pushAction", "action": json.dumps(action)}
    (told,) = client.post("sticky/CmdSrv", data=sent).json()
    assert {name: values[0] for name, values in told["asked"].items()} == sent


def test_a_file_is_uploaded(client: httpx.Client) -> None:
    answer = client.post("sticky/CmdSrv?cmd=upload", files={"file": ("m31.fits", b"x" * 300_000)})
    assert answer.status_code == 200
    place = answer.text[answer.text.index("$") :]
    name, _, size = place.rpartition(":")
    assert name == "${upload-dir}/m31.fits"
    assert int(size) > 300_000


def test_events_come_by_a_websocket(address: str, ada: Visitor) -> None:
    events = f"{address.replace('http', 'ws', 1)}sticky/firefly/events?channelID=ffChan-1"

    async def listen(headers: dict[str, str]) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(events, headers=headers, autoping=False) as socket,
        ):
            first: dict[str, Any] = await socket.receive_json(timeout=60)
            await socket.ping(b"alive?")
            assert (await socket.receive(timeout=60)).type is aiohttp.WSMsgType.PONG
            return first

    shown = {"Authorization": f"Bearer {ada.token}", **CHANNEL}
    said = asyncio.run(listen(shown))
    assert said["data"]["channel"] == CHANNEL["FF-channel"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        asyncio.run(listen(CHANNEL))
    assert refused.value.status == 401
