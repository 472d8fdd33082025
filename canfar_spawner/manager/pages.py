"""The session manager's own pages at ``/services/sessions/``.

They work without JavaScript, and look right while the hub is away: every file they need is
served from here. What they do is done by the parts that the REST API uses as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canfar_spawner.manager.pages_frame import Frame, frame_routes
from canfar_spawner.manager.pages_sessions import session_routes
from canfar_spawner.manager.pages_sharing import sharing_routes

if TYPE_CHECKING:
    from canfar_spawner.manager.service import Manager


def page_routes(manager: Manager) -> list[Any]:
    """Give the addresses of all pages with their handlers.

    Parameters
    ----------
    manager : Manager
    """
    frame = Frame(manager)
    return [*frame_routes(frame), *session_routes(frame), *sharing_routes(frame)]
