"""One request, and answers to it: the least that serving needs."""

from __future__ import annotations

import http.client
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from tornado.httputil import HTTPHeaders

from canfar_spawner.gateway.origins import scheme_of

if TYPE_CHECKING:
    from canfar_spawner.gateway.connection import Connection

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_OWN: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_FIRST_LINE: Final = re.compile(rb"(GET|HEAD) (/[!-~]*) HTTP/1\.1")
_MOST_HEADS: Final = 64
_LONGEST_HEAD: Final = 8192


class Head:
    """The headers of a request, and what was found out from them alone.

    Parameters
    ----------
    headers : HTTPHeaders
    """

    __slots__ = ("headers", "memory")

    def __init__(self, headers: HTTPHeaders) -> None:
        self.headers = headers
        self.memory: dict[Any, Any] = {}
        """By whoever found it; it holds for every GET and HEAD with these very headers."""


class Heads:
    """Headers that came lately, by their bytes: a page asks again and again with the same ones.

    Only those of whole requests without a body are kept, so that whatever begins with a first line
    and goes on with these bytes, and no more, is one such request too.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Head] = OrderedDict()

    def again(self, data: bytes) -> tuple[str, str, Head] | None:
        """Give method, target and headers of what has come, if they are known."""
        if len(data) > _LONGEST_HEAD:
            return None
        end = data.find(b"\r\n")
        head = self._known.get(data[end:])
        if head is None:
            return None
        first = _FIRST_LINE.fullmatch(data, 0, end)
        return None if first is None else (first[1].decode(), first[2].decode(), head)

    def keep(self, data: bytes, head: Head) -> None:
        """Keep the headers of a whole request without a body, which is all that came."""
        if len(data) > _LONGEST_HEAD:
            return
        end = data.find(b"\r\n")
        if _FIRST_LINE.fullmatch(data, 0, end):
            self._known[data[end:]] = head
            if len(self._known) > _MOST_HEADS:
                self._known.popitem(last=False)


class Request:
    """A request, and the connection that answers go to.

    Parameters
    ----------
    method : str
    target : str
        Path and query as they came.
    head : Head
    connection : Connection
    """

    __slots__ = (
        "chunked",
        "closes",
        "connection",
        "head",
        "headers",
        "length",
        "method",
        "old",
        "path",
        "query",
        "remote_ip",
        "upgrades",
    )

    def __init__(self, method: str, target: str, head: Head, connection: Connection) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.head = head
        self.headers = head.headers
        self.connection: Any = connection
        self.remote_ip = connection.remote_ip
        self.closes = False
        """Whether the connection ends with the gateway's own answer."""
        self.old = False
        """Whether the client speaks HTTP/1.0."""
        self.upgrades = False
        """Whether the client goes on in another protocol if it may."""
        self.length: int | None = None
        """Bytes of its body, None where it has none or they are not known."""
        self.chunked = False
        """Whether a body follows of whatever length."""

    @property
    def host(self) -> str:
        """Whom the client believes to speak to."""
        return self.headers.get("Host", "")

    @property
    def scheme(self) -> str:
        """The scheme that the client sees, as the proxies in front tell."""
        return scheme_of(self.headers) or "http"

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
        return self.chunked or self.length is not None

    def is_websocket(self) -> bool:
        """Say whether it asks for a WebSocket."""
        return (
            self.upgrades
            and self.method == "GET"
            and self.headers.get("Upgrade", "").lower() == "websocket"
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
    found = {**_OWN, "Content-Length": str(len(body))}
    if content_type:
        found["Content-Type"] = content_type
    found |= headers or {}
    connection: Connection = request.connection
    connection.begin(
        status,
        http.client.responses.get(status, ""),
        found.items(),
        body if request.method != "HEAD" else b"",
        closes=request.closes,
    )
    connection.finish()


def redirect(request: Request, location: str, headers: dict[str, str] | None = None) -> None:
    """Send the client elsewhere."""
    answer(request, 302, headers={"Location": location, **(headers or {})})
