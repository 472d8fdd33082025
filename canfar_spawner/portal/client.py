"""What pages say of the public client: its texts for this site, and a token's scopes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from canfar_spawner.core.client_setup import (
    DAYS,
    MOST_DAYS,
    PLACEHOLDER,
    ClientSetup,
    client_scopes,
    client_setup,
)
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.policy import SitePolicy

SOMEWHERE: Final = "https://hub.invalid/services/sessions"
"""Stands for the manager's address on pages that do not know it; the browser does."""


@dataclass(frozen=True, slots=True)
class ClientView:
    """What the pages with texts for the client show."""

    setup: ClientSetup
    service_url: str
    scopes: tuple[str, ...] = client_scopes()
    placeholder: str = PLACEHOLDER
    days: int = DAYS
    most_days: int = MOST_DAYS

    def fits(self, scopes: Iterable[str], user: str) -> bool:
        """Say whether a token has just the scopes of the client."""
        return {scope.removesuffix(f"={user}") for scope in scopes} == set(self.scopes)


def batch_image(policy: SitePolicy) -> str:
    """Give an image that anybody can run a batch job with, the recommended one if there is one."""
    for container in policy.catalogue.offered(frozenset()):
        if SessionKind.HEADLESS in container.kinds:
            return str(policy.catalogue.image(container, container.default_version))
    return f"{policy.catalogue.registry}/project/name:tag"


def client_view(policy: SitePolicy, service_url: str = SOMEWHERE) -> ClientView:
    """Give the texts for one site.

    Parameters
    ----------
    policy : SitePolicy
    service_url : str, optional
        The session manager's address, without ``/v1``.
    """
    setup = client_setup(service_url=service_url, image=batch_image(policy))
    return ClientView(setup=setup, service_url=service_url)
