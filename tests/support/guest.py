"""Somebody in a session: her calls, and the sockets of a kernel and a terminal that stay open."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.support.hub import DEADLINE, Visitor


def enter_page(visitor: Visitor, path: str) -> httpx.Response:
    """Open a page of a session as a browser does, and agree where it asks for that."""
    answer = visitor.client.get(path, headers={"Accept": "text/html"})
    if "/oauth2/authorize" in answer.url.path and answer.status_code == 200:
        fields = {
            name: html.unescape(value)
            for name, value in re.findall(
                r'<input[^>]*name="(_xsrf|scopes)"[^>]*value="([^"]*)"', answer.text
            )
        }
        answer = visitor.client.post(str(answer.url), data=fields)
    assert answer.status_code == 200, answer.text
    return answer


@dataclass
class Socket:
    """An open WebSocket, read until the other side ends it."""

    connection: WebSocketClientConnection
    heard: list[str] = field(default_factory=list)
    closed_at: float | None = None
    reader: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        while (message := await self.connection.read_message()) is not None:
            self.heard.append(str(message))
        self.closed_at = time.monotonic()

    async def says(self, word: str) -> None:
        """Wait until something has been heard."""
        async with asyncio.timeout(DEADLINE):
            while not any(word in text for text in self.heard):
                assert self.closed_at is None, f"closed before it said {word}: {self.heard[-3:]}"
                await asyncio.sleep(0.05)

    async def closed(self) -> float:
        """Wait until the other side has closed it, and give when that was."""
        assert self.reader is not None
        await asyncio.wait_for(asyncio.shield(self.reader), DEADLINE)
        assert self.closed_at is not None
        return self.closed_at


@dataclass
class Guest:
    """A person, or a token, in somebody's session."""

    visitor: Visitor
    owner: str
    session: str

    @property
    def path(self) -> str:
        """Where the session is on the hub."""
        return f"/user/{self.owner}/{self.session}/"

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Call the session's web server."""
        return httpx.request(
            method,
            f"{self.visitor.hub.url}{self.path}{path}",
            headers={"Authorization": f"Bearer {self.visitor.token}"},
            timeout=DEADLINE,
            **arguments,
        )

    def status(self, path: str = "api/status") -> int:
        """Say with which status the session answers."""
        return self.call("GET", path).status_code

    async def open(self, path: str) -> Socket:
        """Open a socket."""
        address = f"{self.visitor.hub.url}{self.path}{path}".replace("http", "ws", 1)
        headers = {"Authorization": f"Bearer {self.visitor.token}"}
        return Socket(await websocket_connect(HTTPRequest(address, headers=headers)))

    async def refused(self, path: str) -> int:
        """Give the status with which a socket is refused."""
        try:
            socket = await self.open(path)
        except HTTPClientError as error:
            return int(error.code)
        raise AssertionError(f"{path} was opened: {socket}")

    async def terminal(self) -> tuple[str, Socket]:
        """Open a terminal of her own and see that a shell answers."""
        answer = await asyncio.to_thread(self.call, "POST", "api/terminals")
        assert answer.status_code == 200, answer.text
        path = f"terminals/websocket/{answer.json()['name']}"
        socket = await self.open(path)
        await type_in(socket)
        return path, socket

    async def kernel(self) -> tuple[str, Socket]:
        """Start a kernel and see that it answers."""
        answer = await asyncio.to_thread(self.call, "POST", "api/kernels")
        assert answer.status_code == 201, answer.text
        path = f"api/kernels/{answer.json()['id']}/channels"
        socket = await self.open(path)
        await execute(socket)
        return path, socket


async def type_in(socket: Socket) -> None:
    """See that a terminal's shell still answers through this socket."""
    number = uuid.uuid4().int % 10**9
    await socket.connection.write_message(json.dumps(["stdin", f"echo $(({number} + 1))\r"]))
    await socket.says(str(number + 1))


async def execute(socket: Socket) -> None:
    """See that a kernel still computes through this socket."""
    number = uuid.uuid4().int % 10**9
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"}
    header |= {"session": uuid.uuid4().hex, "username": "", "date": ""}
    content = {"code": f"print({number} + 1)", "silent": False, "store_history": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "buffers": []}
    message |= {"content": content | {"allow_stdin": False}, "channel": "shell"}
    await socket.connection.write_message(json.dumps(message))
    await socket.says(str(number + 1))
