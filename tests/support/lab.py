"""A session with JupyterLab, and code run in it as a notebook would."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.support.hub import Visitor

_ANSWERS_WITHIN = 60.0


@dataclass
class Lab:
    """One session with JupyterLab, and the kernel that tests run code in."""

    visitor: Visitor
    session: str
    launch: Path
    kernel: str = ""

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Call the session's web server."""
        return httpx.request(
            method,
            f"{self.visitor.hub.url}/user/{self.visitor.name}/{self.session}/{path}",
            headers={"Authorization": f"Bearer {self.visitor.token}"},
            timeout=_ANSWERS_WITHIN,
            **arguments,
        )

    def run(self, code: str) -> str:
        """Run code in a kernel and give what it printed."""
        if not self.kernel:
            answer = self.call("POST", "api/kernels")
            assert answer.status_code == 201, answer.text
            self.kernel = answer.json()["id"]
        return asyncio.run(asyncio.wait_for(self._run(code), _ANSWERS_WITHIN))

    async def _run(self, code: str) -> str:
        hub = self.visitor.hub.url.replace("http", "ws", 1)
        socket = await websocket_connect(
            HTTPRequest(
                f"{hub}/user/{self.visitor.name}/{self.session}/api/kernels/{self.kernel}/channels",
                headers={"Authorization": f"Bearer {self.visitor.token}"},
            )
        )
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"}
        header |= {"session": uuid.uuid4().hex, "username": "", "date": ""}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        await socket.write_message(
            json.dumps(
                {
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": content,
                    "channel": "shell",
                    "buffers": [],
                }
            )
        )
        printed = ""
        while True:
            text = await socket.read_message()
            assert text is not None, "the kernel hung up"
            message = json.loads(text)
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            told = message["content"]
            match message["msg_type"]:
                case "stream":
                    printed += told["text"]
                case "error":
                    raise AssertionError("\n".join(told["traceback"]))
                case "status" if told["execution_state"] == "idle":
                    socket.close()
                    return printed


def launch_lab(visitor: Visitor, session: str, **options: Any) -> Lab:
    """Launch a notebook session and wait until it answers."""
    answer = visitor.launch(session, **options)
    assert answer.status_code in (201, 202), answer.text
    visitor.wait_ready(session)
    return Lab(visitor, session, visitor.hub.launches()[session])
