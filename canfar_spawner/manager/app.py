"""The web side of the session manager: what every handler shares, and the application."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from tornado import web
from typing_extensions import override

from canfar_spawner.core.errors import Invalid, PlatformError, SessionError, Unavailable

if TYPE_CHECKING:
    from canfar_spawner.manager.service import Manager

LARGEST_BODY: Final = 1_000_000
"""Bytes that a request may have."""
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class Answer(web.RequestHandler):
    """What every handler of the manager shares: errors in a sentence, safe headers."""

    request_id = ""

    @property
    def manager(self) -> Manager:
        """The manager with all its parts."""
        return cast("Manager", self.settings["manager"])

    @override
    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    @override
    def initialize(self, **_: object) -> None:
        self.request_id = secrets.token_hex(8)

    @override
    async def prepare(self) -> None:
        self.set_header("X-Request-Id", self.request_id)
        origin = self.request.headers.get("Origin")
        if origin == self.manager.settings.hub_public:
            # The hub's own pages, and no look-alike.
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
            self.set_header("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE")
            self.set_header("Access-Control-Expose-Headers", "Retry-After, X-Request-Id")
            # Else a browser asks before each of the calls that a page makes again and again.
            self.set_header("Access-Control-Max-Age", "600")
        self.set_header("Vary", "Origin")

    def tell(self, text: str, status: int = 200) -> None:
        """Answer with plain text."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)

    def tell_json(self, content: object, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content, separators=(",", ":")))

    def refuse(self, error: SessionError) -> None:
        """Answer with a refusal, as a sentence or, where the client asks for it, as JSON."""
        if isinstance(error, Unavailable):
            self.set_header("Retry-After", str(error.retry_after))
        if error.status == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="sessions"')
        if self.wants_json():
            self.tell_json(error.as_json(), error.status)
        else:
            self.tell(f"{error.sentence}\n", error.status)

    def wants_json(self) -> bool:
        """Say whether a refusal is to be JSON: our own pages and panels ask for it."""
        return "application/problem+json" in self.request.headers.get("Accept", "")

    @override
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        # What a client did wrong is no event of the platform.
        if isinstance(value, SessionError):
            if isinstance(value, PlatformError):
                self.manager.log.warning("%s: %s", value.code, value.detail or value.sentence)
            return
        super().log_exception(typ, value, tb)

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, SessionError):
            self.refuse(error)
            return
        sentences = {
            400: "The request could not be read.",
            404: "There is nothing at this address.",
            405: "This address does not take that method.",
            413: f"The request is too large: at most {LARGEST_BODY // 1000} kB are taken.",
        }
        fallback = "The session manager failed. The administrators find the reason in its log."
        self.tell(f"{sentences.get(status_code, fallback)}\n", status_code)

    def json_body(self) -> Any:
        """Read a JSON body; raises Invalid where it is none."""
        try:
            return json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise Invalid("The body must be JSON.") from None

    @override
    def options(self, *_: str) -> None:
        """Answer a browser that asks before it calls across origins."""
        self.set_status(204)
        self.finish()

    @override
    def data_received(self, chunk: bytes) -> None:  # pragma: no cover - nothing is streamed
        """Take nothing piece by piece."""


class NothingHere(Answer):
    """Every address that is none."""

    @override
    async def prepare(self) -> None:
        await super().prepare()
        raise web.HTTPError(404)


class Health(Answer):
    """Whether the manager works: for probes of a cluster and for whoever watches it."""

    @override
    def get(self) -> None:
        """Tell which part does not work, if any."""
        problems = self.manager.problems()
        self.tell_json({"ok": not problems, "problems": problems}, 503 if problems else 200)


class Front(Answer):
    """The service's address without the slash at its end, as clients write it."""

    @override
    def head(self) -> None:
        """Say that there is something here."""
        self.finish()

    @override
    def get(self) -> None:
        """Lead to the pages."""
        self.redirect(self.manager.settings.prefix)


def application(manager: Manager, routes: Sequence[Any]) -> web.Application:
    """Put the application together.

    Parameters
    ----------
    manager : Manager
    routes : sequence
        Pairs of a path below the service's prefix, as a regular expression, and a handler.
    """
    prefix = manager.settings.prefix
    handlers = [(f"{prefix}{path}", handler, *rest) for path, handler, *rest in routes]
    return web.Application(
        [
            *handlers,
            (prefix.rstrip("/"), Front),
            (f"{prefix}health", Health),
            ("/health", Health),
        ],
        default_handler_class=NothingHere,
        # Signed-in people stay so over a restart; a changed secret of the service signs them out.
        cookie_secret=hashlib.sha256(f"cookies {manager.settings.token}".encode()).hexdigest(),
        manager=manager,
        log_function=manager.note_request,
    )
