"""What the gateway changes in requests and answers on their way: pure."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FORWARDED: Final = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
    }
)
_WHOLE_ORIGIN: Final = frozenset(
    {
        "alt-svc",
        "clear-site-data",
        "nel",
        "public-key-pins",
        "report-to",
        "set-cookie2",
        "strict-transport-security",
    }
)
"""Answers by which one address of an origin speaks for all of it: the hub's and other sessions'."""
_HUBS_COOKIES: Final = ("jupyterhub-", "__host-", "__http-")
"""Cookies that sign people in, and those that a browser takes for a whole origin only."""
_PORTS: Final = {"http": "80", "https": "443"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LOOKS_ELSEWHERE: Final = re.compile(r"[/\\]{2,}")
_SLASH: Final = re.compile(r"[/\\]")
_MARK: Final = re.compile(r"([?#]|$)")
CARTA_CONFIG: Final = "carta-config"
_CARTA_ADDRESSES: Final = ("apiAddress", "dashboardAddress")


def sent_cookies(header: str) -> str:
    """Give the cookies that are the application's business."""
    if "jupyterhub-" not in header:
        return header
    parts = [part.strip() for part in header.split(";")]
    return "; ".join(part for part in parts if part and not _is_hubs(part.partition("=")[0]))


def _is_hubs(name: str) -> bool:
    name = name.strip().lower()
    return name.startswith(("jupyterhub-", "__host-jupyterhub-"))


@dataclass(frozen=True)
class Rewriting:
    """How one session's requests and answers are changed.

    Parameters
    ----------
    prefix : str
        The session's address without host.
    keeps_prefix : bool
        Whether the application knows its address.
    secret_header : tuple of str or None
        What shows the application that it is the gateway who asks: name and value.
    application : str
        Host and port by which the application may call itself.
    rewrites : tuple of str
        What else is changed, by name.
    beats : frozenset of bytes
        What pages send on a WebSocket only to say that they are there.
    """

    prefix: str
    keeps_prefix: bool
    secret_header: tuple[str, str] | None
    application: str
    rewrites: tuple[str, ...] = ()
    beats: frozenset[bytes] = frozenset()

    def path(self, rest: str) -> str:
        """Give the path that the application sees.

        Parameters
        ----------
        rest : str
            What follows the prefix.
        """
        return f"{self.prefix}{rest}" if self.keeps_prefix else f"/{rest}"

    def request_headers(
        self,
        headers: Iterable[tuple[str, str]],
        *,
        remote_ip: str,
        scheme: str,
        keeps_authorization: bool,
    ) -> list[tuple[str, str]]:
        """Give the headers that the application is sent.

        Parameters
        ----------
        headers : iterable
        remote_ip : str
            Whose connection it is.
        scheme : str
            By which the client came.
        keeps_authorization : bool
            Whether the header Authorization is none of the hub's.
        """
        given = list(headers)
        dropped = _HOP_BY_HOP | _FORWARDED | _named(given)
        secret = self.secret_header
        if secret is not None:
            dropped |= {secret[0].lower()}
        if not keeps_authorization:
            dropped |= {"authorization"}
        found = []
        said: dict[str, str] = {}
        host = ""
        for name, value in given:
            low = name.lower()
            if low in _FORWARDED:
                said[low] = value
            if low == "host":
                host = value
            if low in dropped or low == "expect":
                continue
            if low == "cookie":
                value = sent_cookies(value)  # noqa: PLW2901 - what is sent on
                if not value:
                    continue
            found.append((name, value))
        before = said.get("x-forwarded-for")
        host = said.get("x-forwarded-host", host)
        name, port = _apart(host)
        found += [
            ("X-Forwarded-For", f"{before}, {remote_ip}" if before else remote_ip),
            ("X-Forwarded-Host", host),
            # Some put these two together, and would take the port twice from the one above.
            ("X-Forwarded-Server", name),
            ("X-Forwarded-Port", port or said.get("x-forwarded-port") or _PORTS.get(scheme, "")),
            ("X-Forwarded-Proto", scheme),
        ]
        if not self.keeps_prefix:
            found.append(("X-Forwarded-Prefix", self.prefix.rstrip("/")))
        if secret is not None:
            found.append(secret)
        return found

    def answer_headers(
        self, headers: Iterable[tuple[str, str]], *, host: str, path: str
    ) -> Iterator[tuple[str, str]]:
        """Give the headers that the client is sent.

        Parameters
        ----------
        headers : iterable
        host : str
            Whom the client believes to speak to.
        path : str
            What the application was asked for.
        """
        given = list(headers)
        dropped = _HOP_BY_HOP | _WHOLE_ORIGIN | _named(given)
        for name, value in given:
            low = name.lower()
            if low in dropped or _CONTROL.search(name):
                continue
            if low == "set-cookie":
                cookie = self.cookie(value)
                if cookie:
                    yield name, cookie
            elif low in ("location", "content-location"):
                yield name, self.location(value, host=host, path=path)
            elif low == "service-worker-allowed":
                # A wider one would answer for the hub and for other sessions.
                yield name, self.prefix
            else:
                yield name, _CONTROL.sub(" ", value)

    def location(self, value: str, *, host: str, path: str) -> str:
        """Give where an answer leads to.

        An address below the application's own becomes one below the session's. One with scheme and
        host that is neither the application's nor the session's is the application's own choice and
        stays. An address that names another host without a scheme (``//host``) is nearly always the
        echo of a request, and is read as a path. One that goes up is read as the application
        means it: its own addresses end at ``/``, where the client's go on to the hub's.

        Parameters
        ----------
        value : str
        host : str
            Whom the client believes to speak to.
        path : str
            What the application was asked for.
        """
        # Browsers take these out of the middle of an address.
        value = _CONTROL.sub("", value).strip()
        parts = _split(value)
        if parts is not None and parts.scheme in ("http", "https") and parts.netloc:
            if parts.netloc.lower() not in self._own(host):
                return value
            value = value[value.index(parts.netloc) + len(parts.netloc) :] or "/"
            if not value.startswith("/"):
                value = f"/{value}"
        if value[:1] not in ("/", "\\"):
            if parts is None or parts.scheme or not _goes_up(value):
                return value
            value = path[: path.rindex("/") + 1] + value
        begin = _LOOKS_ELSEWHERE.match(value)
        value = f"/{value[begin.end() if begin else 1 :]}"
        return self.seen(_without_dots(value))

    def _own(self, host: str) -> frozenset[str]:
        name = self.application.lower()
        return frozenset({host.lower(), name, name.replace("127.0.0.1", "localhost")})

    def seen(self, path: str) -> str:
        """Give the address at which the client finds a path of the application's."""
        if self.keeps_prefix or unquote(path).startswith(unquote(self.prefix)):
            return path
        return f"{self.prefix}{path.lstrip('/')}"

    def cookie(self, value: str) -> str | None:
        """Give a cookie that stays with the session, None where it may not be set at all."""
        pair, *attributes = (part.strip() for part in _CONTROL.sub("", value).split(";"))
        name = pair.partition("=")[0].strip().lower()
        if not name or "=" not in pair or name.startswith(_HUBS_COOKIES):
            return None
        kept = []
        path = None
        for attribute in attributes:
            key, _, said = attribute.partition("=")
            key = key.strip().lower()
            if key == "path":
                path = said.strip()
            elif key != "domain" and attribute:
                kept.append(attribute)
        if path is not None and path.startswith("/") and ".." not in path:
            inside = self.seen(path)
            if not inside.startswith(self.prefix):
                inside = self.prefix
        else:
            inside = self.prefix
        return "; ".join([pair, *kept, f"Path={inside}"])

    def changes_body(self, path: str) -> bool:
        """Say whether an answer's body is changed too: then it must be had whole and plain."""
        return CARTA_CONFIG in self.rewrites and path == "/config"

    def body(self, content: bytes) -> bytes:
        """Give CARTA's configuration with addresses at which the client finds what they name."""
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            return content
        if not isinstance(found, dict):
            return content
        for name in _CARTA_ADDRESSES:
            said = found.get(name)
            if isinstance(said, str) and said.startswith("/"):
                found[name] = self.seen(said)
        return json.dumps(found).encode()


def _goes_up(value: str) -> bool:
    """Say whether an address has a step to the directory above, however browsers may find it."""
    path, *_ = _MARK.split(value, maxsplit=1)
    return any(_plain(part) == ".." for part in _SLASH.split(path))


def _plain(part: str) -> str:
    """Give a part of a path with dots that may be escaped in it."""
    return part.lower().replace("%2e", ".")


def _without_dots(value: str) -> str:
    """Give an address whose path does not lead above where it begins, as a browser would read it."""
    path, mark, rest = _MARK.split(value, maxsplit=1)
    if "." not in path and "%2" not in path:
        return value
    found: list[str] = []
    parts = _SLASH.split(path[1:])
    for place, part in enumerate(parts):
        plain = _plain(part)
        if plain == ".." and found:
            found.pop()
        if plain not in (".", ".."):
            found.append(part)
        elif place == len(parts) - 1:
            found.append("")
    # Behind two slashes stands a host.
    return f"/{'/'.join(found).lstrip('/')}{mark}{rest}"


def _apart(host: str) -> tuple[str, str]:
    """Give name and port of a host; the port is empty where none is said."""
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host, "")


def _split(value: str) -> SplitResult | None:
    try:
        return urlsplit(value)
    except ValueError:
        return None


def _named(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Give the headers that a sender means for the next hop alone."""
    return frozenset(
        word.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for word in value.split(",")
    ) - {"host"}


def secret_header(said: tuple[str, str] | None, secret: str) -> tuple[str, str] | None:
    """Give the header in which the application is shown what it shares with the gateway."""
    if said is None or not secret:
        return None
    return said[0], said[1].replace("{secret}", secret)


def is_secret(headers: Mapping[str, str], header: tuple[str, str] | None) -> bool:
    """Say whether a client shows what only the gateway and the application's pages know."""
    if header is None:
        return False
    return hmac.compare_digest(
        headers.get(header[0], "").encode("utf-8", "replace"), header[1].encode()
    )
