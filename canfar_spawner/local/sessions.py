"""The session manager of one machine: ``canfar-hub sessions``, started beside the hub."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from canfar_spawner.local.settings import (
    LocalSettings,
    inner_ports,
    make_backend,
    prepare_data,
    sessions_service,
)
from canfar_spawner.manager.service import Manager, serve
from canfar_spawner.manager.settings import ManagerSettings
from canfar_spawner.site.policy import watch_policy

DATA = "sessions"
"""The manager's directory, within the hub's."""


def manager_settings(settings: LocalSettings) -> ManagerSettings:
    """Give the manager's place on this machine."""
    hub_port, _, port = inner_ports(settings)
    return ManagerSettings(
        data=settings.hub / DATA,
        host="127.0.0.1",
        port=port,
        token=sessions_service(settings).token,
        hub_api=f"http://127.0.0.1:{hub_port}/hub/api",
        hub_public=settings.url,
        own_origins=settings.own_origins(),
        arc=settings.data / "arc",
        scratch=settings.data / "scratch",
    )


def run(environ: Mapping[str, str], *, catalogue: Path, users: Path) -> int:
    """Run the manager until it is told to end.

    Raises
    ------
    SettingError, SiteFileError, ManagerError
    """
    settings = LocalSettings.read(environ)
    prepare_data(settings)
    (settings.hub / "sessions.pid").write_text(str(os.getpid()))
    log = logging.getLogger("sessions")

    def make() -> Manager:
        policy = watch_policy(catalogue, log)
        backend = make_backend(settings, policy=policy, users=users, log=log)
        return Manager(
            manager_settings(settings),
            policy=policy,
            backend=backend,
            log=log,
            # Begun once the lock is held, so that one process alone starts jobs.
            background=(backend.tend_queue,),
        )

    asyncio.run(serve(make))
    return 0
