"""The session manager as the hub knows it: an external service with a token of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from canfar_spawner.core.authority import ACCESS_SCOPE, SESSION_SCOPE

SERVICE: Final = "sessions"
"""The name of the session manager's service."""

ADDRESS: Final = "CANFAR_SESSIONS_URL"
"""The variable by which a session knows where to tell the manager of itself."""


@dataclass(frozen=True, slots=True)
class SessionsService:
    """Where the session manager listens, and the secret that hub and manager share."""

    address: str
    """As hub, proxy and sessions reach it: ``http://host:port``, without a path."""
    token: str = field(repr=False)

    def at(self, base_url: str) -> str:
        """Give the address of its pages, without a slash at the end."""
        return f"{self.address}{base_url}services/{SERVICE}"

    def entry(self) -> dict[str, Any]:
        """Give the service as ``JupyterHub.services`` takes it."""
        return {
            "name": SERVICE,
            "url": self.address,
            "api_token": self.token,
            # Told to the pages, which make a link of their own of it.
            "display": True,
            # Both sides are the platform's own; the page after signing in would ask for nothing.
            "oauth_no_confirm": True,
            "oauth_client_allowed_scopes": [
                f"access:services!service={SERVICE}",
                f"{SESSION_SCOPE}!user",
            ],
        }

    @staticmethod
    def role() -> dict[str, Any]:
        """Give the rights of the service: it sees and ends sessions and shares them, no more.

        It starts nothing, gives out no tokens and reads no secrets of users: a launch is made
        with the token of whoever asks for it.
        """
        return {
            "name": SERVICE,
            "services": [SERVICE],
            "scopes": [
                "list:users",
                "read:users",
                "read:users:name",
                "read:users:groups",
                "read:groups",
                "read:groups:name",
                "read:servers",
                "admin:server_state",
                "delete:servers",
                "shares",
                ACCESS_SCOPE,
            ],
        }
