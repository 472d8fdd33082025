"""What the gateway itself shows: a page while an application starts or fails, and a desktop's page."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from markupsafe import Markup

from canfar_spawner.gateway.request import Request, answer, refuse
from canfar_spawner.gateway.settings import Settings

if TYPE_CHECKING:
    from jinja2 import Template

HUB_AWAY: Final = "The hub does not answer, so nobody can be let in at this moment."
SILENT: Final = "The application does not answer."
STARTING: Final = "The application is starting."
_HERE: Final = Path(__file__).parent
_AGAIN: Final = 2
"""Seconds after which a waiting page looks again."""
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_INDEX: Final = "index.html"
_ABOUT: Final = "session.json"
"""What pages in front of an application want to know of their session."""
# What noVNC draws moves by styles of its own.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none';"
    " frame-ancestors 'self'"
)
_PLATFORM: Final = "CANFAR"
_FOR_GUESTS: Final = frozenset({404, 502})
"""Statuses that only those get who may come in: nobody else learns what the session is."""
_HEADINGS: Final = {
    401: "You are not signed in",
    403: "This is not open to you",
    404: "There is nothing at this address",
    502: SILENT.rstrip("."),
    503: "The hub does not answer",
}
_ADVICE: Final = {
    502: "It may be very busy, or be ending. Its log may say more.",
    503: "Sessions that run are not affected. This page looks again by itself.",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    packed: bytes
    content_type: str
    tag: str


class Pages:
    """The pages of one session's gateway.

    Parameters
    ----------
    settings : Settings
    log : logging.Logger
    """

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        self._settings = settings
        hub = urlsplit(settings.public_hub)
        self._home = f"{settings.public_hub}home"
        base = hub.path.removesuffix("hub/")
        origin = f"{hub.scheme}://{hub.netloc}" if hub.netloc else ""
        self._logs = f"{origin}{base}services/sessions/logs/{settings.session.session}"
        self._files = _files(settings.session.pages) if settings.session.pages else {}
        if settings.session.pages and not self._files:
            log.error("The pages %s are not built", settings.session.pages)
        if self._files:
            about = {"home": self._home}
            self._files[_ABOUT] = _about(about)
            self._for_visitors = _about({**about, "owner": settings.session.owner})

    def serve(self, request: Request, rest: str, guest: str) -> bool:
        """Answer with a file of the pages in front of the application, if there is one.

        Somebody other than the owner is told whose session she is in.
        """
        found = self._files.get(rest or _INDEX)
        if found is not None and rest == _ABOUT and guest != self._settings.session.owner:
            found = self._for_visitors
        if found is None or request.method not in ("GET", "HEAD"):
            return False
        headers = {
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": _POLICY,
            "ETag": found.tag,
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("If-None-Match") == found.tag:
            answer(request, 304, headers=headers)
            return True
        content = found.content
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            content = found.packed
            headers["Content-Encoding"] = "gzip"
        answer(request, 200, content, found.content_type, headers)
        return True

    def tell(
        self, request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with a sentence, as a page where a browser asks for one."""
        if not request.wants_page():
            refuse(request, status, sentence, headers)
            return
        more = _ADVICE.get(status)
        self._show(
            request,
            status,
            heading=_HEADINGS.get(status, "That was not done"),
            # That an application is silent is its page's heading.
            sentences=[each for each in (sentence, more) if each and each != SILENT],
            again=_AGAIN * 2 if status == 503 else 0,
            reload=request.target if status == 502 else "",
            logs=self._logs if status == 502 else "",
            headers=headers,
            name=self._settings.session.title if status in _FOR_GUESTS else _PLATFORM,
        )

    def wait(self, request: Request, *, late: bool) -> None:
        """Say that the application is starting."""
        headers = {"Retry-After": str(_AGAIN)}
        if not request.wants_page():
            refuse(request, 503, STARTING, headers)
            return
        title = self._settings.session.title
        sentences = ["The page opens by itself as soon as it answers."]
        if late:
            sentences = ["It takes longer than usual.", "The log may say what it waits for."]
        self._show(
            request,
            503,
            heading=f"{title} is starting",
            sentences=sentences,
            busy=True,
            again=_AGAIN,
            logs=self._logs if late else "",
            headers=headers,
            name=title,
        )

    def _show(
        self,
        request: Request,
        status: int,
        *,
        heading: str,
        sentences: list[str],
        again: int = 0,
        headers: dict[str, str] | None = None,
        **shown: object,
    ) -> None:
        nonce = secrets.token_urlsafe(12)
        style, theme, template = _parts()
        page = template.render(
            heading=heading,
            sentences=sentences,
            again=again,
            nonce=nonce,
            style=style,
            theme=theme,
            home=self._home,
            **shown,
        )
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}';"
            " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        )
        answer(
            request,
            status,
            page.encode(),
            _TYPES[".html"],
            {"Content-Security-Policy": policy, **(headers or {})},
        )


@lru_cache
def _parts() -> tuple[Markup, Markup, Template]:
    # Most gateways never show a page of theirs.
    from jinja2 import Environment

    style = Markup("\n".join((_HERE / name).read_text() for name in ("tokens.css", "message.css")))  # noqa: S704 - files of ours
    theme = Markup((_HERE / "theme.js").read_text())  # noqa: S704 - a file of ours
    template = Environment(autoescape=True).from_string((_HERE / "message.html").read_text())
    return style, theme, template


def _files(name: str) -> dict[str, _File]:
    found = {}
    for path in sorted((_HERE / name / "static").rglob("*")):
        content_type = _TYPES.get(path.suffix)
        if content_type is not None and path.is_file():
            at = str(path.relative_to(_HERE / name / "static"))
            found[at] = _file(path.read_bytes(), content_type)
    return found


def _about(content: dict[str, str]) -> _File:
    return _file(json.dumps(content).encode(), _TYPES[".json"])


def _file(content: bytes, content_type: str) -> _File:
    return _File(
        content=content,
        packed=gzip.compress(content, 6, mtime=0),
        content_type=content_type,
        tag=f'"{hashlib.sha256(content).hexdigest()[:16]}"',
    )
