"""What every page of the hub answers with besides itself: how it may behave, and in whose language.

JupyterHub has a setting for headers that are the same everywhere, and none for what depends on the
hub and its services or on who asks. Both are decided in its `BaseHandler`, so that is extended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.pages import AdminHandler

from canfar_spawner.hub.platform import SETTING
from canfar_spawner.hub.service import SERVICE
from canfar_spawner.portal.asking import note_query, refuse_no_text
from canfar_spawner.portal.language import preferred, speak

HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # An address may name a session, or hold a code by which somebody enters one.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer of the hub."""


def origin(url: str) -> str:
    """Give the origin of an address; empty for a path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""


def page_policy(
    *,
    users: str = "",
    manager: str = "",
    callbacks: Iterable[str] = (),
    logo: str = "",
    report: str = "",
    styled_by_script: bool = False,
) -> str:
    """Say what a browser may do with a page of the hub: nothing inline, nothing of others.

    Parameters
    ----------
    users : str
        The hub's public origin, where each user has one of her own below it; else empty.
    manager : str
        The session manager's origin, where it is another.
    callbacks : iterable of str
        Where services want people back after they have signed in: a form's answer may lead there.
    logo : str
        The site's logo.
    report : str
        Where a browser tells of what it has refused.
    styled_by_script : bool
        Whether the page's own script brings its styles, as JupyterHub's administration page does.
    """
    parts = urlsplit(users)
    below = [f"{parts.scheme}://*.{parts.netloc}"] if parts.netloc else []
    forms = ["'self'", *below, *sorted({origin(url) for url in callbacks} - {""})]
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", *(["'unsafe-inline'"] if styled_by_script else [])],
        "img-src": ["'self'", "data:", *filter(None, [origin(logo)])],
        "font-src": ["'self'"],
        "connect-src": ["'self'", *filter(None, [origin(manager)])],
        "form-action": forms,
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    if report:
        rules["report-uri"] = [report]
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())


def _policy(handler: Any) -> str:
    """Give the policy of a handler's answer."""
    services = handler.settings.get("services", {})
    manager = services.get(SERVICE)
    platform = handler.settings.get(SETTING)
    return page_policy(
        users=handler.subdomain_host,
        manager=getattr(manager, "host", "") or "",
        callbacks=[service.oauth_redirect_uri or "" for service in services.values()],
        logo=(platform.policy.branding.logo or "") if platform else "",
        report=handler.csp_report_uri,
        styled_by_script=isinstance(handler, AdminHandler),
    )


def guard_pages() -> None:
    """Give every page a strict policy and the reader's language, once for a process."""
    if getattr(BaseHandler, "_canfar_guarded", False):
        return
    prepare = BaseHandler.prepare

    async def prepare_in_language(handler: Any) -> None:
        note_query(handler.request.query_arguments)
        speak(preferred(handler.request.headers.get("Accept-Language", "")))
        await prepare(handler)
        refuse_no_text(handler.request.query_arguments)

    BaseHandler.content_security_policy = property(_policy)
    BaseHandler.prepare = prepare_in_language
    BaseHandler._canfar_guarded = True  # noqa: SLF001 - named so that it meets none of JupyterHub's
