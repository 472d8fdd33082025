"""Where the session manager listens, keeps its files and finds the hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jupyterhub.utils import subdomain_hook_idna

from canfar_spawner.hub.service import SERVICE


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """Everything that one session manager is told; the rest is in the catalogue."""

    data: Path
    """Its own directory: database, kept logs, lock."""
    host: str
    port: int
    token: str = field(repr=False)
    """The secret that hub and manager share."""
    hub_api: str
    """The hub's REST API, such as ``http://127.0.0.1:8081/hub/api``."""
    hub_public: str
    """The hub as browsers write it, without the base URL: ``https://hub.example.org``."""
    base_url: str = "/"
    own_origins: bool = False
    """Every user, and this service, has an origin of her own."""
    database: str = ""
    """SQLAlchemy's URL; empty is a SQLite file in `data`."""
    arc: Path | None = None
    """The directory with ``home`` and ``projects``, where the manager can see it."""
    scratch: Path | None = None
    """The directory with a scratch for each launch, where the manager can see it."""

    @property
    def database_url(self) -> str:
        """The database in use."""
        return self.database or f"sqlite:///{self.data / 'sessions.sqlite'}"

    @property
    def logs(self) -> Path:
        """Where the logs of ended jobs are kept."""
        return self.data / "logs"

    @property
    def prefix(self) -> str:
        """The path of the service, with a slash at both ends."""
        return f"{self.base_url}services/{SERVICE}/"

    @property
    def public(self) -> str:
        """The service as browsers and scripts write it, without a slash at the end."""
        return f"{self.origin}{self.prefix}".rstrip("/")

    @property
    def origin(self) -> str:
        """The origin that the service's pages have."""
        if not self.own_origins:
            return self.hub_public
        hub = urlsplit(self.hub_public)
        name = subdomain_hook_idna(SERVICE, hub.hostname, kind="service")
        port = f":{hub.port}" if hub.port else ""
        return f"{hub.scheme}://{name}{port}"

    @property
    def hub_page(self) -> str:
        """The hub's pages, with a slash at the end."""
        return f"{self.hub_public}{self.base_url}hub/"
