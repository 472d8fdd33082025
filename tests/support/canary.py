"""Secrets that are planted with every real hub and looked for everywhere they must not be.

`watch` puts itself around `tests.support.hub.Hub`: whoever runs a hub in a test has the canary
with it, without asking for it.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hub import Hub, Visitor
from tests.support.v1 import V1

VARIABLE = "CANARY"
"""The variable that every launch by the API gets on top of its own."""


@dataclass
class Answer:
    """What was answered, and to what."""

    asked: str
    sent: bytes
    content: bytes
    is_page: bool


@dataclass
class Canary:
    """The secrets of one hub, and what has been seen of it."""

    hub: Hub
    env: str = field(default_factory=lambda: f"canary-env-{secrets.token_hex(16)}")
    registry: str = field(default_factory=lambda: f"canary-registry-{secrets.token_hex(16)}")
    tokens: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)

    def secrets(self) -> dict[str, str]:
        """Give every secret by what it is."""
        found = {"the value of a variable": self.env, "a registry's secret": self.registry}
        found["the demo password"] = self.hub.password
        for index, token in enumerate(sorted(self.tokens)):
            found[f"token {index}"] = token
        return found

    def plant(self) -> None:
        """Let the hub refuse requests that carry secrets."""
        visitor = self.hub.sign_in("admin")
        refused = [
            visitor.launch("canary01", container="no-such-container", env={VARIABLE: self.env}),
            visitor.launch("canary02", container="no-such-container", wrong=self.env),
            visitor.launch(
                "canary03",
                image="images.canfar.net.evil.org/skaha/canary:1",
                kind="notebook",
                registry_user="canary",
                registry_secret=self.registry,
            ),
            visitor.launch_by_form(
                "canary04",
                {
                    "image": "images.canfar.net.evil.org/skaha/canary:1",
                    "kind": "notebook",
                    "env": f"{VARIABLE}={self.env}",
                    "registry_user": "canary",
                    "registry_secret": self.registry,
                },
            ),
        ]
        for answer in refused:
            assert answer.status_code == 400, answer.text

    def note(self, response: httpx.Response) -> None:
        """Keep an answer of the hub."""
        response.read()
        request = response.request
        made = request.method == "POST" and request.url.path.endswith("/tokens")
        if made and response.status_code == 201:
            self.tokens.add(str(response.json()["token"]))
            return
        kind = response.headers.get("Content-Type", "")
        self.answers.append(
            Answer(
                asked=f"{request.method} {request.url}",
                sent=request.read(),
                content=response.content + str(response.headers.raw).encode(),
                is_page=kind.startswith("text/html"),
            )
        )

    def learn_tokens(self) -> None:
        """Read the tokens that sessions were given."""
        self.tokens |= self.hub.tokens()

    def sweep(self) -> None:
        """Fail where a secret is found, or where a file that may hold one is open to others."""
        self.learn_tokens()
        assert self.answers, "nothing was ever asked of this hub"
        found = [*self._in_files(), *self._in_processes(), *self._in_answers()]
        found += self.hub.left_open()
        assert not found, "\n".join(["secrets where none may be:", *found])

    def _places(self, content: bytes, where: str) -> Iterator[str]:
        # Said to whoever starts the hub, on the terminal that is a file in tests.
        content = content.replace(f"the password is {self.hub.password}\n".encode(), b"")
        for what, secret in self.secrets().items():
            if secret.encode() in content:
                yield f"{what} in {where}"

    def _in_files(self) -> Iterator[str]:
        for where, content in self.hub.evidence():
            yield from self._places(content, where)

    def _in_processes(self) -> Iterator[str]:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                arguments = (process / "cmdline").read_bytes()
                yield from self._places(arguments, f"the arguments of {arguments[:60]!r}")

    def _in_answers(self) -> Iterator[str]:
        for answer in self.answers:
            for what, secret in self.secrets().items():
                if secret.encode() not in answer.content:
                    continue
                # A refused form comes back as it was filled in, to who has filled it in.
                if answer.is_page and secret == self.env and self.env.encode() in answer.sent:
                    continue
                yield f"{what} in the answer to {answer.asked}"


def _canary(hub: Hub) -> Canary:
    found = hub.__dict__.get("canary")
    if found is None:
        found = hub.__dict__["canary"] = Canary(hub)
    assert isinstance(found, Canary)
    return found


def _started(start: Callable[[Hub], None]) -> Callable[[Hub], None]:
    @functools.wraps(start)
    def started(hub: Hub) -> None:
        first = "canary" not in hub.__dict__
        start(hub)
        if first:
            _canary(hub).plant()

    return started


def _cleared(clear: Callable[[Hub], None]) -> Callable[[Hub], None]:
    @functools.wraps(clear)
    def cleared(hub: Hub) -> None:
        canary = _canary(hub)
        try:
            if canary.answers:  # none: it never came up, and says so itself
                canary.sweep()
        finally:
            clear(hub)
        if canary.answers:
            canary.sweep()

    return cleared


def _api(api: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    @functools.wraps(api)
    def noted(visitor: Visitor, method: str, path: str, **arguments: Any) -> httpx.Response:
        answer = api(visitor, method, path, **arguments)
        _canary(visitor.hub).note(answer)
        return answer

    return noted


def _call(call: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    @functools.wraps(call)
    def noted(v1: V1, method: str, path: str, **arguments: Any) -> httpx.Response:
        answer = call(v1, method, path, **arguments)
        _canary(v1.hub).note(answer)
        return answer

    return noted


def _launch(launch: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    @functools.wraps(launch)
    def launched(visitor: Visitor, session: str, **options: Any) -> httpx.Response:
        env = options.get("env", {})
        if isinstance(env, dict):
            options["env"] = {VARIABLE: _canary(visitor.hub).env, **env}
        answer = launch(visitor, session, **options)
        _canary(visitor.hub).learn_tokens()
        return answer

    return launched


def _visitor(made: Callable[[Visitor], None]) -> Callable[[Visitor], None]:
    @functools.wraps(made)
    def making(visitor: Visitor) -> None:
        visitor.client.event_hooks["response"].append(_canary(visitor.hub).note)
        made(visitor)

    return making


@contextlib.contextmanager
def watch() -> Iterator[None]:
    """Have the canary with every hub that runs in this block."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Hub, *Hub.__subclasses__()):
            if "start" in kind.__dict__:
                patch.setattr(kind, "start", _started(kind.start))
            if "clear" in kind.__dict__:
                patch.setattr(kind, "clear", _cleared(kind.clear))
        patch.setattr(Visitor, "api", _api(Visitor.api))
        patch.setattr(V1, "call", _call(V1.call))
        patch.setattr(Visitor, "launch", _launch(Visitor.launch))
        patch.setattr(Visitor, "__post_init__", _visitor(Visitor.__post_init__))
        yield
