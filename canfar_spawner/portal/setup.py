"""What a hub of this platform is configured with, whichever back end it has."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from canfar_spawner.core.authority import ACCESS_SCOPE, SESSION_SCOPE
from canfar_spawner.hub.courier import keep_in_touch
from canfar_spawner.hub.gate import make_gate
from canfar_spawner.hub.platform import SETTING, Platform
from canfar_spawner.hub.rows import NoOptionsInLog, guard_rows
from canfar_spawner.hub.service import ADDRESS, SERVICE, SessionsService
from canfar_spawner.portal.form import launch_form, spawner_form
from canfar_spawner.portal.handlers import HEADERS, guard_pages
from canfar_spawner.portal.language import Spoken
from canfar_spawner.portal.pages import Pages

REVOKED_WITHIN: Final = 5
"""Seconds after which a session notices that a visitor's access is gone."""


def _set(section: Any, name: str, default: Any) -> Any:
    """Give what a section has set already."""
    found = section.get(name)
    return found if isinstance(found, type(default)) else default


def configure(config: Any, platform: Platform, *, sessions: SessionsService) -> None:
    """Set everything that makes a JupyterHub this platform's.

    Parameters
    ----------
    config : traitlets.config.Config
        ``c`` of a ``jupyterhub_config.py``; what the file sets afterwards wins.
    platform : Platform
    sessions : SessionsService
        The session manager, which runs beside the hub.
    """
    guard_rows()
    guard_pages()
    hub, spawner = config.JupyterHub, config.Spawner
    hub.allow_named_servers = True
    hub.named_server_limit_per_user = make_gate(launch_form)
    hub.default_url = "/hub/home"
    hub.redirect_to_server = False
    hub.cleanup_servers = False
    # One that is still starting is waited for in vain; meanwhile nobody is served.
    hub.init_spawners_timeout = 6
    # Added to what is there: a chart has settings, templates and roles of its own.
    tornado = _set(hub, "tornado_settings", {})
    headers = {**HEADERS, **tornado.get("headers", {})}
    hub.tornado_settings = {**tornado, SETTING: platform, "headers": headers}
    jinja = _set(hub, "jinja_environment_options", {})
    hub.jinja_environment_options = {
        **jinja,
        "extensions": [*jinja.get("extensions", []), Spoken],
    }
    hub.services = [*_set(hub, "services", []), sessions.entry()]
    hub.template_paths = [
        str(Path(__file__).parent / "templates"),
        *_set(hub, "template_paths", []),
    ]
    hub.template_vars = {**_set(hub, "template_vars", {}), "canfar": Pages(platform)}
    hub.custom_scopes = {
        **_set(hub, "custom_scopes", {}),
        SESSION_SCOPE: {"description": "See, extend, share and stop sessions."},
    }
    hub.load_roles = [
        *_set(hub, "load_roles", []),
        {
            "name": "user",
            "scopes": ["self", f"access:services!service={SERVICE}", f"{SESSION_SCOPE}!user"],
        },
        {
            "name": "server",
            "scopes": ["users:activity!user", f"{ACCESS_SCOPE}!server"],
        },
        sessions.role(),
    ]
    spawner.options_form = spawner_form
    # A wider scope here would put a visitor's power into the owner's process.
    spawner.oauth_client_allowed_scopes = [f"{ACCESS_SCOPE}!server", f"{SESSION_SCOPE}!server"]
    base_url = str(hub.get("base_url") or "/")
    spawner.environment = {
        **_set(spawner, "environment", {}),
        ADDRESS: sessions.at(base_url),
    }
    spawner.args = [f"--HubOAuth.cache_max_age={REVOKED_WITHIN}"]
    logging.getLogger("JupyterHub").addFilter(NoOptionsInLog())
    logging.getLogger("tornado.application").addFilter(NoOptionsInLog())
    keep_in_touch(platform, sessions, base_url=base_url)
