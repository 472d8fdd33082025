"""What somebody is told before she enters a session that is somebody else's."""

from __future__ import annotations

from typing import Any

from jupyterhub.app import JupyterHub

from canfar_spawner.portal.views import Visit


def visit(oauth_client: Any) -> Visit | None:
    """Say whose session asks who somebody is; None where it is no session that asks.

    JupyterHub asks so whoever may enter a session and is not its owner, the first time.

    Parameters
    ----------
    oauth_client : jupyterhub.orm.OAuthClient
    """
    row = getattr(oauth_client, "spawner", None)
    if row is None or not JupyterHub.initialized():
        return None
    owner = JupyterHub.instance().users[row.user]
    spawner = owner.spawners[row.name]
    plan = spawner.plan
    if plan is None:
        return None
    return Visit(
        owner=owner.name,
        session=plan.session,
        name=spawner.platform.news.name(plan),
        container=plan.title,
        version=plan.version,
    )
