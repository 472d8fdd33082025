"""A hub on a cluster: its platform, and what JupyterHub is told beyond the platform's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.app import JupyterHub

from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.hub.adopt import known_launches
from canfar_spawner.hub.platform import Platform
from canfar_spawner.kubernetes.backend import KubernetesBackend
from canfar_spawner.kubernetes.client import KubeClient
from canfar_spawner.kubernetes.provisioner import ArcProvisioner
from canfar_spawner.kubernetes.sweeper import Sweeper
from canfar_spawner.portal.setup import configure
from canfar_spawner.site.files import WatchedFile
from canfar_spawner.site.policy import watch_policy
from canfar_spawner.site.users_file import Users, UsersFile

Identities = Callable[[Callable[[], SitePolicy]], IdentitySource]
"""Makes an identity source, given what gives the policy."""


def users_file(path: Path, log: logging.Logger) -> Identities:
    """Take identities from a users file; raises SiteFileError where it is broken."""
    people = WatchedFile(path, Users, log)
    return lambda policy: UsersFile(people, lambda: policy().projects)


def make_platform(
    *,
    data: Path,
    catalogue: Path,
    identities: Identities,
    log: logging.Logger,
    kubeconfig: Path | None = None,
    notices: tuple[str, ...] = (),
) -> Platform:
    """Put a platform for a cluster together.

    Parameters
    ----------
    data : Path
        The hub's own directory: outbox, ended launches, what the provisioner has made.
    catalogue : Path
        The site's file.
    identities : callable
        `users_file`, or another source.
    log : logging.Logger
    kubeconfig : Path, optional
        How to reach the cluster; by default ``KUBECONFIG``, else the pod's own account.
    notices : tuple of str
        What users must know of this installation.

    Raises
    ------
    SiteFileError
        A file is broken; says where.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    watched = watch_policy(catalogue, log)

    def policy() -> SitePolicy:
        return watched.value

    client = KubeClient(kubeconfig=kubeconfig, log=log)
    backend = KubernetesBackend(
        client,
        policy=policy,
        provisioner=ArcProvisioner(client, policy=policy, data=data, log=log),
        log=log,
    )
    return Platform(
        policy=watched,
        identities=identities(policy),
        backend=backend,
        data=data,
        log=log,
        notices=notices,
    )


def _keep_tidy(platform: Platform) -> None:
    """Follow the pods and sweep what is left over, for as long as the hub runs."""
    backend = platform.backend
    if not isinstance(backend, KubernetesBackend):
        return
    sweeper = Sweeper(
        backend,
        known=lambda: known_launches(JupyterHub.instance().db),
        ended=platform.ended,
        clock=platform.clock,
        log=platform.log,
    )
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        # Not a hub: something that only reads its configuration.
        return
    for work in (sweeper.run(), backend.tidy()):
        task = loop.create_task(work)
        platform.tasks.add(task)
        task.add_done_callback(platform.tasks.discard)


def configure_cluster(config: Any, platform: Platform) -> None:
    """Set everything that makes a JupyterHub this platform's, on a cluster.

    Parameters
    ----------
    config : traitlets.config.Config
        ``c`` of a ``jupyterhub_config.py``; what the file sets afterwards wins.
    platform : Platform
    """
    configure(config, platform)
    _keep_tidy(platform)
    config.JupyterHub.spawner_class = "canfar"
    spawner = config.CanfarSpawner
    pods = platform.policy.pods
    spawner.namespace = pods.namespace
    # Events are watched by the platform's own cache, for its own pods.
    spawner.events_enabled = False
    # Storage is the plan's; a claim for each user would be a second home.
    spawner.storage_pvc_ensure = False
    spawner.delete_pvc = False
