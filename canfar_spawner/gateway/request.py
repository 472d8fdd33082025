"""One request, and answers to it: the least that serving needs."""

from __future__ import annotations

import http.client
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine

from canfar_spawner.gateway.origins import scheme_of

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_OWN: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class Request:
    """A request, and the connection that answers go to.

    Parameters
    ----------
    start_line : RequestStartLine
    headers : HTTPHeaders
    connection : HTTP1Connection
    """

    __slots__ = (
        "closes",
        "connection",
        "headers",
        "method",
        "path",
        "protocol",
        "query",
        "remote_ip",
    )

    def __init__(self, start_line: RequestStartLine, headers: HTTPHeaders, connection: Any) -> None:
        self.method: str = start_line.method
        self.path, _, self.query = start_line.path.partition("?")
        self.headers = headers
        self.connection = connection
        self.closes = False
        context = connection.context
        self.remote_ip: str = getattr(context, "remote_ip", "")
        self.protocol: str = getattr(context, "protocol", "http")

    @property
    def host(self) -> str:
        """Whom the client believes to speak to."""
        return self.headers.get("Host", "")

    @property
    def scheme(self) -> str:
        """The scheme that the client sees, as the proxies in front tell."""
        return scheme_of(self.headers) or self.protocol

    @property
    def target(self) -> str:
        """Path and query as they came."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def argument(self, name: str) -> str:
        """Give a value of the query; empty where there is none."""
        return dict(parse_qsl(self.query, keep_blank_values=True)).get(name, "")

    def wants_page(self) -> bool:
        """Say whether a person's browser asks for something to look at."""
        if self.method not in ("GET", "HEAD") or "Authorization" in self.headers:
            return False
        mode = self.headers.get("Sec-Fetch-Mode")
        if mode is not None:
            return mode == "navigate"
        return "text/html" in self.headers.get("Accept", "")

    def has_body(self) -> bool:
        """Say whether a body follows."""
        return "Content-Length" in self.headers or "Transfer-Encoding" in self.headers

    def is_websocket(self) -> bool:
        """Say whether it asks for a WebSocket."""
        return (
            self.method == "GET"
            and self.headers.get("Upgrade", "").lower() == "websocket"
            and "upgrade" in self.headers.get("Connection", "").lower()
        )

    def below(self, prefix: str) -> str | None:
        """Give what follows a prefix, as it came; None outside of it.

        Browsers and proxies differ in which characters they escape, so what is escaped is compared
        by what it means.
        """
        if self.path.startswith(prefix):
            return self.path[len(prefix) :]
        depth = prefix.count("/")
        parts = self.path.split("/", depth)
        if len(parts) <= depth:
            return None
        return parts[depth] if unquote("/".join(parts[:depth])) + "/" == unquote(prefix) else None


def refuse(
    request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
) -> None:
    """Answer with a sentence."""
    answer(request, status, f"{sentence}\n".encode(), "text/plain; charset=utf-8", headers)


def answer(
    request: Request,
    status: int,
    body: bytes = b"",
    content_type: str = "",
    headers: dict[str, str] | None = None,
) -> None:
    """Answer in the gateway's own name.

    Parameters
    ----------
    request : Request
    status : int
    body : bytes
    content_type : str
    headers : dict of str
        More, and in place of those that keep answers out of caches.
    """
    found = HTTPHeaders({**_OWN, "Content-Length": str(len(body))})
    if content_type:
        found["Content-Type"] = content_type
    for name, value in (headers or {}).items():
        found[name] = value
    if request.closes:
        found["Connection"] = "close"
    start = ResponseStartLine("HTTP/1.1", status, http.client.responses.get(status, ""))
    connection = request.connection
    connection.write_headers(start, found, body if request.method != "HEAD" else None)
    connection.finish()


def redirect(request: Request, location: str, headers: dict[str, str] | None = None) -> None:
    """Send the client elsewhere."""
    answer(request, 302, headers={"Location": location, **(headers or {})})
