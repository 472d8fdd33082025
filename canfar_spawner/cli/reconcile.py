"""``canfar-hub reconcile --check``: what records, back end and hub do not agree on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from canfar_spawner.cli.client_config import TOKEN, ClientConfigError, given_token, hub_at
from canfar_spawner.core.errors import SessionError
from canfar_spawner.local.settings import LocalSettings, inner_ports, sessions_service
from canfar_spawner.manager.reconcile import check


class ReconcileError(Exception):
    """Nothing could be compared; says why in a sentence."""


def _where(hub_url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Give the manager's address, and a token that it takes."""
    try:
        given = given_token(environ)
        if not hub_url:
            return _here(environ, given)
        if given:
            return hub_at(hub_url).service_url, given
    except ClientConfigError as error:
        raise ReconcileError(str(error)) from None
    raise ReconcileError(f"Put the token of an administrator into {TOKEN}.")


def _here(environ: Mapping[str, str], given: str) -> tuple[str, str]:
    settings = LocalSettings.read(environ)
    try:
        there = (settings.hub / "ports.json").is_file()
    except OSError as error:
        raise ReconcileError(
            f"{settings.hub} cannot be looked into: {error.strerror}. Run this as whoever started"
            " the hub, such as with sudo."
        ) from None
    if not there:
        raise ReconcileError(
            f"There is no hub in {settings.data}. Name its directory with CANFAR_HUB_DATA, or a"
            " hub elsewhere with --hub."
        )
    service = sessions_service(settings)
    port = inner_ports(settings)[2]
    return f"http://127.0.0.1:{port}/services/sessions", given or service.token


def reconcile(*, hub_url: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Ask the running session manager for what does not agree; nothing is changed.

    Raises
    ------
    ReconcileError, SettingError
    """
    service, token = _where(hub_url, environ)
    try:
        found = asyncio.run(check(service, token))
    except SessionError as error:
        raise ReconcileError(error.sentence) from None
    return tuple(difference.line for difference in found)
