"""A hub on a cluster: its platform, and what JupyterHub is told beyond the platform's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jupyterhub.app import JupyterHub

from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.hub.adopt import known_launches
from canfar_spawner.hub.platform import Platform
from canfar_spawner.hub.service import SessionsService
from canfar_spawner.kubernetes.backend import KubernetesBackend
from canfar_spawner.kubernetes.client import KubeClient
from canfar_spawner.kubernetes.provisioner import ArcProvisioner
from canfar_spawner.kubernetes.sweeper import Sweeper, of_sessions
from canfar_spawner.portal.setup import configure
from canfar_spawner.site.files import SettingError, WatchedFile
from canfar_spawner.site.policy import watch_policy
from canfar_spawner.site.users_file import Users, UsersFile

SESSIONS_ADDRESS: Final = "http://sessions.canfar-hub:10101"
"""Where the manifests put the session manager."""
_SECRET_LENGTH: Final = 32

Identities = Callable[[Callable[[], SitePolicy]], IdentitySource]
"""Makes an identity source, given what gives the policy."""


def users_file(path: Path, log: logging.Logger) -> Identities:
    """Take identities from a users file; raises SiteFileError where it is broken."""
    people = WatchedFile(path, Users, log)
    return lambda policy: UsersFile(people, lambda: policy().projects)


def secret_of(environ: Mapping[str, str], name: str) -> str:
    """Give the secret that a variable holds, or the file that the variable ``…_FILE`` names.

    Raises
    ------
    SettingError
        There is none.
    """
    path = environ.get(f"{name}_FILE")
    found = environ.get(name, "")
    if path:
        try:
            found = Path(path).read_text()
        except (OSError, ValueError) as error:
            raise SettingError(f"{name}_FILE cannot be read: {path}: {error}.") from None
    found = found.strip()
    if len(found) < _SECRET_LENGTH:
        raise SettingError(
            f"{name} must be a secret of at least {_SECRET_LENGTH} characters, the same for hub and"
            f" session manager; or {name}_FILE a file that holds it. Make one with: openssl rand"
            " -hex 32"
        )
    return found


def own_origins(environ: Mapping[str, str], url: str) -> bool:
    """Say whether each user has an origin of her own; hub and session manager must agree.

    Raises
    ------
    SettingError
        CANFAR_HUB_ORIGINS is neither of its two words.
    """
    origins = environ.get("CANFAR_HUB_ORIGINS") or (
        "one" if url.startswith("http://127.0.0.1") else "own"
    )
    if origins not in ("one", "own"):
        raise SettingError(f"CANFAR_HUB_ORIGINS must be own or one, not {origins}.")
    return origins == "own"


def sessions_service(environ: Mapping[str, str]) -> SessionsService:
    """Give the session manager's place, from the variables of the hub.

    Raises
    ------
    SettingError
        There is no secret that hub and manager share.
    """
    return SessionsService(
        address=(environ.get("CANFAR_SESSIONS_ADDRESS") or SESSIONS_ADDRESS).rstrip("/"),
        token=secret_of(environ, "CANFAR_SESSIONS_TOKEN"),
    )


def make_backend(
    policy: Callable[[], SitePolicy],
    *,
    data: Path,
    log: logging.Logger,
    kubeconfig: Path | None = None,
) -> KubernetesBackend:
    """Make a back end: hub and session manager have one each.

    Parameters
    ----------
    policy : callable
        Gives the site's policy.
    data : Path
        Where it is remembered which directories the provisioner has made.
    log : logging.Logger
    kubeconfig : Path, optional
        How to reach the cluster; by default ``KUBECONFIG``, else the pod's own account.
    """
    client = KubeClient(kubeconfig=kubeconfig, log=log)
    provisioner = ArcProvisioner(client, policy=policy, data=data, log=log)
    return KubernetesBackend(client, policy=policy, provisioner=provisioner, log=log)


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

    return Platform(
        policy=watched,
        identities=identities(policy),
        backend=make_backend(policy, data=data, log=log, kubeconfig=kubeconfig),
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
        mine=of_sessions,
        known=lambda: known_launches(JupyterHub.instance().db),
        ended=platform.ended,
        clock=platform.clock,
        log=platform.log,
    )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # Not a hub: something that only reads its configuration.
        return
    for work in (sweeper.run(), backend.tidy()):
        platform.keep(work)


def configure_cluster(config: Any, platform: Platform, *, sessions: SessionsService) -> None:
    """Set everything that makes a JupyterHub this platform's, on a cluster.

    Parameters
    ----------
    config : traitlets.config.Config
        ``c`` of a ``jupyterhub_config.py``; what the file sets afterwards wins.
    platform : Platform
    sessions : SessionsService
        The session manager, a Deployment of its own.
    """
    configure(config, platform, sessions=sessions)
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
