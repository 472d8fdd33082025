"""What the gateway is told at its start, by variables alone."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from canfar_spawner.core.gateway import PREFIX, SECRET, SETTINGS, TOKEN, GatewaySettings

_HIDDEN: Final = (SECRET, TOKEN, "JPY_API_TOKEN")
"""What nothing that the gateway starts, and no dump of its environment, is to hold."""


@dataclass(frozen=True)
class Settings:
    """Everything one gateway is told."""

    session: GatewaySettings
    token: str = field(repr=False)
    """The session's own, by which it speaks to hub and session manager."""
    secret: str = field(repr=False)
    """What gateway and application share; empty where they share nothing."""
    prefix: str
    """The session's address without host, with a slash at both ends."""
    address: str
    """Where to listen."""
    port: int
    server_name: str
    client_id: str
    access_scopes: frozenset[str]
    """Whoever holds one of them may come in."""
    hub_api: str
    hub_host: str
    """Where the hub is seen from outside, if that is another origin than this."""
    hub_prefix: str
    callback: str
    """Where the hub sends people back to."""
    public: str
    """The session's address as people see it, empty where the hub does not know it."""
    public_hub: str
    activity_url: str
    activity_every: float
    manager: str
    """Where heartbeats go, empty for nowhere."""
    cookie_options: dict[str, object]
    host_cookies: bool
    """Whether the cookie of signing in belongs to the whole origin, which then is one person's."""

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Self:
        """Read the variables, and remove those with secrets.

        Parameters
        ----------
        environ : mutable mapping
            ``os.environ``.

        Raises
        ------
        ValueError
            Something is missing, or cannot be read; it says what, and never its value.
        """
        missing = [
            name
            for name in (SETTINGS, TOKEN, PREFIX, "JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_CLIENT_ID")
            if not environ.get(name)
        ]
        if missing:
            raise ValueError(f"{', '.join(missing)} must be set: a hub's spawner starts this")
        listen = urlsplit(environ["JUPYTERHUB_SERVICE_URL"])
        base = environ.get("JUPYTERHUB_BASE_URL") or "/"
        hub_host = environ.get("JUPYTERHUB_HOST", "")
        found = cls(
            session=GatewaySettings.model_validate_json(environ[SETTINGS]),
            token=environ[TOKEN],
            secret=environ.get(SECRET, ""),
            prefix=f"/{environ[PREFIX].strip('/')}/",
            address=listen.hostname or "0.0.0.0",  # noqa: S104 - a pod's; its fence is the network policy
            port=listen.port or 8888,
            server_name=environ.get("JUPYTERHUB_SERVER_NAME", ""),
            client_id=environ["JUPYTERHUB_CLIENT_ID"],
            access_scopes=frozenset(json.loads(environ["JUPYTERHUB_OAUTH_ACCESS_SCOPES"])),
            hub_api=environ["JUPYTERHUB_API_URL"],
            hub_host=hub_host,
            hub_prefix=f"{base}hub/",
            callback=environ["JUPYTERHUB_OAUTH_CALLBACK_URL"],
            public=environ.get("JUPYTERHUB_PUBLIC_URL", ""),
            public_hub=environ.get("JUPYTERHUB_PUBLIC_HUB_URL") or f"{hub_host}{base}hub/",
            activity_url=environ.get("JUPYTERHUB_ACTIVITY_URL", ""),
            activity_every=float(environ.get("JUPYTERHUB_ACTIVITY_INTERVAL") or 300),
            manager=environ.get("CANFAR_SESSIONS_URL", "").rstrip("/"),
            cookie_options=json.loads(environ.get("JUPYTERHUB_COOKIE_OPTIONS") or "{}"),
            host_cookies=environ.get("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0") == "1",
        )
        if not found.access_scopes:
            raise ValueError("JUPYTERHUB_OAUTH_ACCESS_SCOPES must name who may come in")
        for name in _HIDDEN:
            environ.pop(name, None)
        return found
