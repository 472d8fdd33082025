"""Applications that answer before they are ready, or never: the hub and its people are told so."""

from __future__ import annotations

import base64
import socket

import pytest

from tests.support.gateway import Gated, ask, ok
from tests.support.hub import wait_for

pytestmark = [
    pytest.mark.environment("proxy"),
    # What is between the gateway and an application is the same in both.
    pytest.mark.parametrize("gateway_hub", ["127.0.0.1"], indirect=True, ids=["one-origin"]),
]

NOT_READY = {
    "silent": b"",
    "an error": b"HTTP/1.1 503 Not Yet\r\nContent-Length: 0\r\n\r\n",
    "half an answer": b"HTTP/1.1 200 O",
    "not HTTP": b"RFB 003.008\n",
}


def become(behind: Gated, answer: bytes) -> None:
    """Tell the application, past the gateway, what it is to answer where it is looked for."""
    query = base64.urlsafe_b64encode(answer).decode()
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(str(behind.socket))
        opened.sendall(f"GET /become?{query} HTTP/1.1\r\n\r\n".encode())
        assert opened.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_an_application_that_is_not_ready_is_waited_for(behind: Gated) -> None:
    """The hub is told so at once, and whoever may come is told, until it answers."""
    behind.end_gateway()
    behind.start_gateway(ready_path="/ready")
    behind.settings["ready_path"] = "/"
    for answer in (*NOT_READY.values(), NOT_READY["silent"]):
        become(behind, answer)
        for _ in range(2):
            with behind.direct() as opened:
                opened.ask("GET", f"{behind.prefix}api")
                assert opened.answer().status == 503
            assert ask(behind, "echo").status == 503
    become(behind, ok())
    wait_for(lambda: ask(behind, "echo").status == 200, "the application to be reached")
    with behind.direct() as opened:
        opened.ask("GET", f"{behind.prefix}api")
        assert opened.answer().status < 500
