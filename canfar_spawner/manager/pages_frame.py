"""The frame of the session manager's own pages: how they look, and who is signed in to them.

They work without JavaScript, and look right while the hub is away: every file they need is
served from here.
"""

from __future__ import annotations

import hashlib
import logging
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader
from jupyterhub._data import DATA_FILES_PATH
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from tornado import web
from tornado.web import Finish
from typing_extensions import override

from canfar_spawner import portal
from canfar_spawner.core.errors import NotAllowed, SessionError, Unavailable
from canfar_spawner.hub.service import SERVICE
from canfar_spawner.manager.app import Answer
from canfar_spawner.manager.pages_said import Said
from canfar_spawner.manager.pages_views import ProblemView
from canfar_spawner.portal.branding import site
from canfar_spawner.portal.language import Spoken, preferred, say, speak

if TYPE_CHECKING:
    from canfar_spawner.manager.callers import Caller
    from canfar_spawner.manager.service import Manager
    from canfar_spawner.manager.settings import ManagerSettings

_TEMPLATES: Final = (
    Path(__file__).parent / "templates",
    *(Path(p) / "templates" for p in portal.__path__),
)
_STATIC: Final = Path(DATA_FILES_PATH) / "static"
_ICONS: Final = r"components/@fortawesome/fontawesome-free"
_FILES: Final = (
    r"(canfar/[a-z]+\.(?:js|css|svg)|css/style\.min\.css"
    # What JupyterHub's style asks for in its turn.
    rf"|{_ICONS}/css/(?:fontawesome|solid)\.css|{_ICONS}/webfonts/fa-solid-900\.woff2)"
)
_KNOWN_FOR: Final = 5
"""Seconds after which a page asks the hub again who somebody is."""
_ACCESS: Final = frozenset({"access:services", f"access:services!service={SERVICE}"})


class _NoCookiesInLog(logging.Filter):
    """Keeps JupyterHub's note on a new form token, which names the browser's session, out."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Setting new xsrf cookie")


@lru_cache
def _version(path: str) -> str:
    """Give a mark that changes with a file, so that browsers may keep it."""
    try:
        return hashlib.sha256((_STATIC / path).read_bytes()).hexdigest()[:12]
    except OSError:
        return "0"


def _sign_in(settings: ManagerSettings) -> HubOAuth:
    """Make the client by which the hub signs people in to these pages."""
    origin = settings.origin if settings.own_origins else ""
    return HubOAuth(
        api_token=settings.token,
        api_url=settings.hub_api,
        base_url=settings.prefix,
        hub_host=settings.hub_public if settings.own_origins else "",
        hub_prefix=f"{settings.base_url}hub/",
        oauth_client_id=f"service-{SERVICE}",
        oauth_redirect_uri=f"{origin}{settings.prefix}oauth_callback",
        cache_max_age=_KNOWN_FOR,
    )


class Frame:
    """What all pages of one manager share.

    Parameters
    ----------
    manager : Manager
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.settings = manager.settings
        self.hub_auth = _sign_in(manager.settings)
        self.said = Said(manager.clock)
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            trim_blocks=False,
            extensions=[Spoken],
        )
        logging.getLogger("tornado.application").addFilter(_NoCookiesInLog())

    @property
    def policy(self) -> str:
        """What a browser may do with these pages: nothing inline, nothing of others."""
        hub = urlsplit(self.settings.hub_public)
        port = f":{hub.port}" if hub.port else ""
        # A form may lead on to the hub, to sign in, and to a session's own origin.
        others = f" {hub.scheme}://*.{hub.hostname}{port}" if self.settings.own_origins else ""
        return "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                f"img-src 'self' data: https: {self.settings.hub_public}",
                "font-src 'self'",
                "connect-src 'self'",
                f"form-action 'self' {self.settings.hub_public}{others}",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            )
        )

    def draw(self, template: str, *, user: str, xsrf: str, view: object) -> str:
        """Draw a page as the hub draws its own.

        Parameters
        ----------
        template : str
        user : str
            Who is signed in; empty for nobody.
        xsrf : str
            What forms carry against forgery.
        view : object
            What the page shows.
        """
        settings = self.settings
        branding = self.manager.policy().branding
        if branding.logo and branding.logo.startswith("/"):
            branding = branding.model_copy(update={"logo": f"{settings.hub_public}{branding.logo}"})
        return self._templates.get_template(f"manager/{template}").render(
            canfar=SimpleNamespace(site=site(branding, now=self.manager.clock())),
            base_url=settings.hub_page if settings.own_origins else f"{settings.base_url}hub/",
            manager_url=settings.prefix,
            static_url=lambda path, **_: f"{settings.prefix}static/{path}?v={_version(path)}",
            user=SimpleNamespace(name=user) if user else None,
            logout_url=f"{settings.hub_page}logout",
            login_url=settings.prefix,
            xsrf=xsrf,
            view=view,
        )


class Page(HubOAuthenticated, Answer):  # type: ignore[misc]
    """A page for whoever is signed in; subclasses answer."""

    frame: Frame
    caller: Caller

    @override
    def initialize(self, **given: object) -> None:
        """Take the frame."""
        super().initialize()
        self.frame = cast("Frame", given["frame"])
        self.hub_auth = self.frame.hub_auth
        # JupyterHub's mixin would ask the hub while everything else waits.
        self._hub_auth_user_cache: dict[str, Any] | None = None

    @override
    def set_default_headers(self) -> None:
        """Say that it is a page, and that nobody may frame it."""
        super().set_default_headers()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")

    @override
    async def prepare(self) -> None:
        """Find out who is signed in, and refuse forged forms."""
        speak(preferred(self.request.headers.get("Accept-Language", "")))
        await super().prepare()
        self.set_header("Content-Security-Policy", self.frame.policy)
        caller = await self.signed_in()
        if caller is None:
            if self.request.method not in ("GET", "HEAD"):
                raise NotAllowed(
                    "You were signed out. Go back, reload the page and sign in; nothing was changed.",
                    code="signed_out",
                )
            self.redirect(self.get_login_url())
            raise Finish
        self.caller = caller
        if self.request.method not in ("GET", "HEAD"):
            self.check_form()

    async def signed_in(self) -> Caller | None:
        """Find out whose page it is, by the cookie that signing in has left."""
        cookie = self.get_secure_cookie(self.hub_auth.cookie_name)
        if cookie is None:
            return None
        caller = await self.manager.callers.of(cookie.decode("ascii", "replace"))
        if caller is None or caller.kind != "user" or _ACCESS.isdisjoint(caller.scopes):
            return None
        self._hub_auth_user_cache = {"name": caller.name, "kind": "user"}
        return caller

    def check_form(self) -> None:
        """Refuse what another site made this browser send.

        Raises
        ------
        NotAllowed
        """
        try:
            self.check_xsrf_cookie()
        except web.HTTPError:
            raise NotAllowed(
                "This page was open for too long. Go back, reload it and send it again; nothing"
                " was changed.",
                code="old_page",
            ) from None

    def lead_on(self, path: str, about: str = "", **words: str) -> None:
        """Lead from a form to a page that says what came of it: a reload sends nothing again.

        Parameters
        ----------
        path : str
            Below the service's own.
        about : str
            What the words are about; a page takes those about itself.
        """
        key = self.frame.said.leave(self.caller.name, about, words)
        self.redirect(f"{self.frame.settings.prefix}{path}?said={key}", status=303)

    def said(self, about: str = "") -> dict[str, str]:
        """Give what the form before this page has left for it."""
        key = self.get_query_argument("said", "")
        return self.frame.said.take(key, self.caller.name, about) if key else {}

    def show(self, template: str, view: object, status: int = 200) -> None:
        """Answer with a page."""
        user = self._hub_auth_user_cache
        xsrf = self.xsrf_token if user else b""
        self.set_status(status)
        self.finish(
            self.frame.draw(
                template,
                user=user["name"] if user else "",
                xsrf=xsrf.decode("ascii"),
                view=view,
            )
        )

    @override
    def refuse(self, error: SessionError) -> None:
        """Answer with a page that says what went wrong."""
        status = 403 if error.code in ("signed_out", "old_page") else error.status
        titles = {
            401: say("You are not signed in"),
            403: say("This is not open to you"),
            404: say("There is nothing at this address"),
            409: say("Something else changed it first"),
            503: say("A part of the platform does not answer"),
        }
        if isinstance(error, Unavailable):
            self.set_header("Retry-After", str(error.retry_after))
        title = titles.get(status, say("That was not done"))
        self.show("problem.html", ProblemView(title, error.sentence, status), status)

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a page, whatever went wrong."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, SessionError):
            self.refuse(error)
            return
        known = {
            400: (
                say("The request was not understood"),
                say("Go back, reload the page and try again."),
            ),
            403: (
                say("Signing in did not work"),
                say("Open the page again; it signs you in anew."),
            ),
            404: (
                say("There is nothing at this address"),
                say("A session that ended is gone from here."),
            ),
            405: (say("This address does not answer that"), say("Start from your home page.")),
        }
        failed = (
            say("The platform made a mistake"),
            say("Running sessions are not affected."),
        )
        title, sentence = known.get(status_code, failed)
        self.show("problem.html", ProblemView(title, sentence, status_code), status_code)


class Callback(HubOAuthCallbackHandler, Page):  # type: ignore[misc]
    """Where the hub sends people back to once it has signed them in."""

    @override
    async def prepare(self) -> None:
        """Let in whoever comes from signing in."""
        speak(preferred(self.request.headers.get("Accept-Language", "")))
        await Answer.prepare(self)
        self.set_header("Content-Security-Policy", self.frame.policy)
        # The mixin looks at it where a browser comes back a second time.
        await self.signed_in()


class Static(web.StaticFileHandler):
    """The files of the pages."""

    @override
    def set_extra_headers(self, path: str) -> None:
        """Let browsers keep a file whose address names its version."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        if self.get_argument("v", ""):
            self.set_header("Cache-Control", "public, max-age=31536000, immutable")


def frame_routes(frame: Frame) -> list[Any]:
    """Give the addresses that every page needs."""
    return [
        ("oauth_callback", Callback, {"frame": frame}),
        (f"static/{_FILES}", Static, {"path": str(_STATIC)}),
    ]
