"""The session manager's interface as a script without the public client calls it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.hub import ONE_USE, Hub, Visitor, wait_for

PROBE = "registry.example.org/canfar-hub/probe:1"
"""The image of the container that begins at once."""
OVER = ("Completed", "Failed")


def _client() -> httpx.Client:
    # Certificates of a machine are read for each client that may need them; none does here.
    return httpx.Client(
        verify=False,  # noqa: S501 - plain http on this machine
        trust_env=False,
        limits=ONE_USE,
    )


@dataclass
class V1:
    """Somebody's way to ``/services/sessions/v1``; without a token, nobody's."""

    hub: Hub
    token: str = field(default="", repr=False)
    direct: bool = False
    """Past the proxy: for tests in which the hub or its proxy is away."""
    client: httpx.Client = field(default_factory=_client, repr=False)
    """Shared by threads."""

    @classmethod
    def of(cls, visitor: Visitor, *, direct: bool = False) -> V1:
        """Call as somebody who is signed in."""
        return cls(visitor.hub, visitor.token, direct)

    @property
    def root(self) -> str:
        """The address of the service."""
        if self.direct:
            return self.hub.sessions_url()
        return f"{self.hub.url}/services/sessions"

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send one request; no redirect is followed."""
        headers = dict(arguments.pop("headers", None) or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        arguments.setdefault("timeout", 60)
        return self.client.request(method, f"{self.root}{path}", headers=headers, **arguments)

    def create(self, *env: str, **fields: str) -> httpx.Response:
        """Ask for a session as the public client does: everything in the query."""
        given = {"name": "test", "image": PROBE, "type": "headless", **fields}
        pairs = [*given.items(), *(("env", each) for each in env)]
        return self.call("POST", "/v1/session", params=pairs)

    def created(self, *env: str, **fields: str) -> str:
        """Create a session and give its id."""
        answer = self.create(*env, **fields)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text.strip()

    def row(self, session: str) -> dict[str, Any] | None:
        """Give what is told of a session, None where there is none."""
        answer = self.call("GET", f"/v1/session/{session}")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return dict(answer.json())

    def rows(self, **filters: str) -> list[dict[str, Any]]:
        """List sessions."""
        answer = self.call("GET", "/v1/session", params=filters)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return list(answer.json())

    def status(self, session: str) -> str:
        """Give a session's status word, empty where there is no session."""
        return str((self.row(session) or {}).get("status", ""))

    def wait(self, session: str, *words: str) -> dict[str, Any]:
        """Wait until a session has one of some status words, and give what is told of it."""
        wait_for(lambda: self.status(session) in words, f"{session} to be {' or '.join(words)}")
        row = self.row(session)
        assert row is not None
        return row

    def logs(self, session: str) -> bytes:
        """Give what a session wrote."""
        answer = self.call("GET", f"/v1/session/{session}", params={"view": "logs"})
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.content

    def delete(self, session: str) -> None:
        """End a session and wait until nothing of it is live."""
        assert self.call("DELETE", f"/v1/session/{session}").status_code == 200
        wait_for(lambda: self.status(session) in {"", *OVER}, f"{session} to end", seconds=60)

    def clear(self) -> None:
        """End every session of this person."""
        live = [row["id"] for row in self.rows() if row["status"] not in OVER]
        for session in live:
            assert self.call("DELETE", f"/v1/session/{session}").status_code == 200
        for session in live:
            self.wait_gone(session)

    def wait_gone(self, session: str) -> None:
        """Wait until a session is over."""
        wait_for(lambda: self.status(session) in {"", *OVER}, f"{session} to end")
