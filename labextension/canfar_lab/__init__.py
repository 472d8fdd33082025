"""The server side of the platform inside a session; imports nothing of canfar_spawner."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "canfar_lab"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Begin the work; a server that no hub started is left as it is."""
    from canfar_lab.service import begin

    begin(server)
