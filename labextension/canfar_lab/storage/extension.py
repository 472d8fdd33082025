"""Adds the storage API to a Jupyter server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from canfar_lab.storage.areas import from_environment

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def add_routes(server: ServerApp) -> None:
    """Answer for the files of a session, if the platform says where they are.

    Parameters
    ----------
    server : ServerApp
    """
    areas = from_environment(os.environ)
    if not areas.areas:
        server.log.debug("The platform tells of no storage; there is nothing to list")
        return
    from canfar_lab.preview import routes as previews
    from canfar_lab.storage.helpers import Readers, Tasks
    from canfar_lab.storage.routes import routes
    from canfar_lab.transfers import routes as transfers

    settings = server.web_app.settings
    settings["canfar_areas"] = areas
    settings["canfar_readers"] = Readers()
    settings["canfar_tasks"] = Tasks()
    transfers.prepare(settings, server.log)
    previews.prepare(settings)
    base = settings["base_url"]
    server.web_app.add_handlers(  # type: ignore[no-untyped-call]  # theirs
        ".*$", [*routes(base), *transfers.routes(base), *previews.routes(base)]
    )
