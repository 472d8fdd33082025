"""What stands beside the sessions: storage and the platform's load, filled in by the browser."""

from __future__ import annotations

from typing import Any

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.filling import places
from canfar_spawner.core.storage import SCRATCH, Area, Persistence
from canfar_spawner.hub.platform import Platform
from canfar_spawner.portal.language import marked, say
from canfar_spawner.portal.views import StorageRow, WidgetsView

KEPT = {
    Persistence.BACKED_UP: marked("kept and backed up"),
    Persistence.KEPT: marked("kept, no backup"),
    Persistence.WIPED: marked("wiped when the session ends"),
}
_KEPT_HERE = marked("kept on this machine, no backup")


def kept_words(persistence: Persistence, *, here: bool) -> str:
    """Say how an area is kept.

    Parameters
    ----------
    persistence : Persistence
    here : bool
        The hub's own machine keeps it.
    """
    if here and persistence is Persistence.KEPT:
        return say(_KEPT_HERE)
    return say(KEPT[persistence])


def widgets(platform: Platform, user: Any) -> WidgetsView:
    """Give a user's storage; how full it is the browser asks the session manager.

    Parameters
    ----------
    platform : Platform
    user : jupyterhub.user.User
    """
    here = not platform.backend.enforces_sizes
    try:
        found = places(platform.identities.identity(user.name), platform.policy.storage)
    except SessionError:
        found = ()
    rows = [
        StorageRow(
            area=place.area.value,
            label=say("Home") if place.area is Area.HOME else place.name,
            path=place.path,
            kept=kept_words(place.promised.persistence, here=here),
        )
        for place in found
    ]
    # Before the projects, of which there may be many.
    rows.insert(
        1,
        StorageRow(
            area=Area.SCRATCH.value,
            label=say("Scratch"),
            path=SCRATCH,
            kept=kept_words(Persistence.WIPED, here=here),
        ),
    )
    return WidgetsView(storage=tuple(rows), here=here)
