"""Where the hub's own pages are."""

from __future__ import annotations

from urllib.parse import quote

from jupyterhub.app import JupyterHub


def hub_page(path: str) -> str:
    """Give the address of a page of this hub.

    Parameters
    ----------
    path : str
        Below the hub, such as ``spawn``.
    """
    base = JupyterHub.instance().hub.base_url if JupyterHub.initialized() else "/hub/"
    return f"{base}{path}"


def spawn_page(owner: str, session: str) -> str:
    """Give the address to which the launch of a session is posted."""
    return hub_page(f"spawn/{quote(owner, safe='')}/{session}")
