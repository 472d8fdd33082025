"""A session gets its route as soon as the check after a restart of the hub has found it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_LOOK_EVERY: Final = 0.1


async def route_when_checked(spawner: Any) -> None:
    """Add the route of a session whose check ended after the hub had begun to serve.

    JupyterHub adds it when all checks are over: one session that is still starting would keep the
    others from their owners.

    Parameters
    ----------
    spawner : SessionSpawnerMixin
    """
    settings = spawner.user.settings
    while spawner.pending == "check":  # noqa: ASYNC110 - JupyterHub tells nobody of its end
        await asyncio.sleep(_LOOK_EVERY)
    # Otherwise all routes are seen to when the hub begins to serve.
    if spawner.ready and settings["app"].http_server is not None:
        try:
            await settings["proxy"].add_user(spawner.user, spawner.name)
        except Exception as error:  # noqa: BLE001 - JupyterHub looks after all routes later
            spawner.log.warning("%s has no route yet: %r", spawner.name, error)
