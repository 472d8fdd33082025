"""The session manager of a cluster: ``canfar-hub sessions --cluster``, a Deployment of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

from typing_extensions import override

from canfar_spawner.core.names import LaunchId
from canfar_spawner.kubernetes.settings import (
    make_backend,
    own_origins,
    secret_of,
)
from canfar_spawner.kubernetes.starts import HopelessStarts
from canfar_spawner.kubernetes.sweeper import Sweeper, of_batch_jobs
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.service import Manager, serve
from canfar_spawner.manager.settings import ManagerSettings
from canfar_spawner.site.files import SettingError
from canfar_spawner.site.policy import watch_policy

LISTEN: Final = "http://0.0.0.0:10101"
HUB_API: Final = "http://hub.canfar-hub:8081/hub/api"


def manager_settings(environ: Mapping[str, str]) -> ManagerSettings:
    """Read the manager's variables; docs/admin/kubernetes.md has them all.

    Raises
    ------
    SettingError
        A variable is missing or cannot be used.
    """
    public = (environ.get("CANFAR_HUB_URL") or "http://127.0.0.1:8000").rstrip("/")
    listen = urlsplit(environ.get("CANFAR_SESSIONS_LISTEN") or LISTEN)
    if listen.scheme != "http" or not listen.hostname or not listen.port:
        raise SettingError(f"CANFAR_SESSIONS_LISTEN must be such as {LISTEN}.")
    base_url = environ.get("CANFAR_SESSIONS_BASE_URL") or "/"
    if not base_url.startswith("/") or not base_url.endswith("/"):
        raise SettingError("CANFAR_SESSIONS_BASE_URL must begin and end with a slash.")
    arc = environ.get("CANFAR_SESSIONS_ARC", "")
    if arc and not Path(arc).is_absolute():
        raise SettingError("CANFAR_SESSIONS_ARC must be a whole path, such as /arc.")
    return ManagerSettings(
        data=Path(environ.get("CANFAR_SESSIONS_DATA") or "var/sessions").resolve(),
        host=listen.hostname,
        port=listen.port,
        token=secret_of(environ, "CANFAR_SESSIONS_TOKEN"),
        hub_api=(environ.get("CANFAR_SESSIONS_HUB_API") or HUB_API).rstrip("/"),
        hub_public=public,
        base_url=base_url,
        own_origins=own_origins(environ, public),
        database=environ.get("CANFAR_SESSIONS_DATABASE", ""),
        arc=Path(arc) if arc else None,
    )


def make_manager(settings: ManagerSettings, *, catalogue: Path, log: logging.Logger) -> Manager:
    """Put the manager of a cluster together.

    Parameters
    ----------
    settings : ManagerSettings
    catalogue : Path
        The site's file, the same as the hub's.
    log : logging.Logger

    Raises
    ------
    SiteFileError
        The catalogue is broken; says where.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    policy = watch_policy(catalogue, log)
    backend = make_backend(lambda: policy.value, data=settings.data, log=log)

    async def sweep() -> None:
        registry = manager.registry
        await Sweeper(
            backend,
            mine=of_batch_jobs,
            known=lambda: frozenset(record.launch for record in registry.live()),
            ended=EndedJobs(registry),
            clock=manager.clock,
            log=log,
        ).run()

    async def give_up() -> None:
        await HopelessStarts(
            registry=manager.registry,
            jobs=manager.jobs,
            pods=lambda: policy.value.pods,
            clock=manager.clock,
            log=log,
        ).run()

    manager = Manager(
        settings, policy=policy, backend=backend, log=log, background=(sweep, give_up)
    )
    return manager


class EndedJobs(Container[LaunchId]):
    """The launches of jobs that are known to have ended.

    Parameters
    ----------
    registry : Registry
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @override
    def __contains__(self, launch: object) -> bool:
        record = self._registry.by_launch(cast("LaunchId", launch))
        return record is not None and not record.live


def run(environ: Mapping[str, str], *, catalogue: Path) -> int:
    """Run the manager until it is told to end.

    Raises
    ------
    SettingError, SiteFileError, ManagerError
    """
    settings = manager_settings(environ)
    log = logging.getLogger("sessions")
    asyncio.run(serve(lambda: make_manager(settings, catalogue=catalogue, log=log)))
    return 0
