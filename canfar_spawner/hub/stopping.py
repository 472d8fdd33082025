"""A session is stopped as soon as that is possible, and stays listed until then."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.plan import SessionPlan

_AGAIN: Final = 3.0
"""Seconds until a back end that did not answer is told again."""


async def stop_when_possible(spawner: Any, plan: SessionPlan) -> None:
    """Have the back end end a session, and tell it again while it does not answer.

    JupyterHub forgets a session whose stop fails, though it runs on. Here it is still listed, is
    stopping, and its card says what that waits for.

    Parameters
    ----------
    spawner : SessionSpawnerMixin
    plan : SessionPlan

    Raises
    ------
    Unavailable
        For a start that failed: why is to be told now, and what is left of it goes later.
    """
    while True:
        try:
            await spawner.platform.backend.stop(plan.launch)
        except Unavailable as error:
            if spawner.failure is not None:
                raise
            spawner.log.warning("%s is not stopped yet: %s", plan.launch, error.detail)
            spawner.hindrance = error.sentence
            await asyncio.sleep(_AGAIN)
        else:
            spawner.hindrance = ""
            return
