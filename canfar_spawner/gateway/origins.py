"""Whether a request comes from the session's own pages, or another site's: pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_TELL_SCHEME = ("X-Scheme", "X-Forwarded-Proto")
"""Headers of proxies, in the order in which the hub reads them."""


def scheme_of(headers: Mapping[str, str]) -> str:
    """Give the scheme that the client sees, as the outermost proxy tells; empty where none does."""
    for name in _TELL_SCHEME:
        said = headers.get(name)
        if said:
            return _SCHEMES.get(said.split(",")[0].strip().lower(), "")
    return ""


def _place(origin: str) -> tuple[str, str, int] | None:
    """Take an origin apart; None where it is none."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if not parts.hostname or parts.path not in ("", "/") or parts.query or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def is_own(origin: str, headers: Mapping[str, str], *, public: str) -> bool:
    """Say whether an origin is the session's own.

    Parameters
    ----------
    origin : str
        As a browser tells it.
    headers : mapping
        They tell whom the browser believes to speak to.
    public : str
        The session's address as people see it, if that is known.
    """
    said = _place(origin)
    if said is None or said[0] not in _PORTS:
        return False
    known = urlsplit(public)
    if public and said == _place(f"{known.scheme}://{known.netloc}"):
        return True
    # No browser lets a page choose whom it is believed to speak to.
    scheme = scheme_of(headers) or said[0]
    return said == _place(f"{scheme}://{headers.get('Host', '')}")


def is_foreign(headers: Mapping[str, str], *, public: str) -> bool:
    """Say whether a request tells by itself that another site's page makes it."""
    origin = headers.get("Origin")
    if origin is None:
        return False
    if origin == "null":
        # A page may hide where it is; the browser still says what it is to this address.
        return headers.get("Sec-Fetch-Site") != "same-origin"
    return not is_own(origin, headers, public=public)


def may_use_cookie(headers: Mapping[str, str], *, changes: bool, public: str) -> bool:
    """Say whether a cookie counts: browsers send it with whatever makes them ask.

    Parameters
    ----------
    headers : mapping
    changes : bool
        Whether the request may change something, or opens a WebSocket: then it must show that the
        session's own page makes it.
    public : str
    """
    if is_foreign(headers, public=public):
        return False
    site = headers.get("Sec-Fetch-Site")
    if not changes:
        if site in (None, "same-origin", "none"):
            return True
        # Somebody follows a link, or comes back from signing in; nothing is embedded elsewhere.
        return (
            headers.get("Sec-Fetch-Mode") == "navigate"
            and headers.get("Sec-Fetch-Dest", "document") == "document"
        )
    if headers.get("Origin", "null") != "null":
        return True
    if site is not None:
        return site == "same-origin"
    referer = urlsplit(headers.get("Referer", ""))
    return is_own(f"{referer.scheme}://{referer.netloc}", headers, public=public)
