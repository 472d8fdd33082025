"""A hub on one machine: where its files are, which ports it uses, who may sign in."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from canfar_spawner.hub.platform import Platform
from canfar_spawner.local import run
from canfar_spawner.local.backend import LocalBackend
from canfar_spawner.local.isolation import probe
from canfar_spawner.local.launcher import Launcher
from canfar_spawner.local.provision import Provisioner
from canfar_spawner.site.files import WatchedFile
from canfar_spawner.site.policy import watch_policy
from canfar_spawner.site.users_file import Users, UsersFile

_HIGHEST_PORT = 65535
_PASSWORD_LENGTH = 8


class SettingError(Exception):
    """A variable of the environment that the hub cannot be started with."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What the variables ``CANFAR_HUB_…`` say."""

    data: Path
    port: int
    host: str
    """``127.0.0.1`` for one origin, or a name such as ``hub.localhost`` for one per user."""
    password: str
    """Empty: made at the first start and kept."""
    prepare: bool
    """Build the other local environments in the background."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> LocalSettings:
        """Read the environment.

        Raises
        ------
        SettingError
            A variable has a value that cannot be used.
        """
        port = environ.get("CANFAR_HUB_PORT") or "8000"
        # Python refuses to read numbers of thousands of digits.
        digits = port.isascii() and port.isdigit() and len(port) <= len(str(_HIGHEST_PORT))
        if not (digits and 0 < int(port) <= _HIGHEST_PORT):
            raise SettingError(f"CANFAR_HUB_PORT must be a number from 1 to 65535, not {port}.")
        host = environ.get("CANFAR_HUB_HOST") or "127.0.0.1"
        labels = host.split(".")
        if host != "127.0.0.1" and not (
            labels[-1] == "localhost"
            and all(label.isascii() and label.replace("-", "").isalnum() for label in labels)
        ):
            raise SettingError(
                "CANFAR_HUB_HOST must be 127.0.0.1 or end in .localhost, such as hub.localhost:"
                f" this hub listens on this machine only. It is {host}."
            )
        prepare = environ.get("CANFAR_HUB_PREPARE") or "all"
        if prepare not in ("all", "none"):
            raise SettingError(f"CANFAR_HUB_PREPARE must be all or none, not {prepare}.")
        password = environ.get("CANFAR_HUB_PASSWORD", "")
        if password and len(password) < _PASSWORD_LENGTH:
            raise SettingError(
                f"CANFAR_HUB_PASSWORD must have at least {_PASSWORD_LENGTH} characters."
            )
        return cls(
            data=Path(environ.get("CANFAR_HUB_DATA") or "var").resolve(),
            port=int(port),
            host=host,
            password=password,
            prepare=prepare == "all",
        )

    @property
    def hub(self) -> Path:
        """The directory of hub and proxy, closed to sessions."""
        return self.data / "hub"

    @property
    def url(self) -> str:
        """Where a browser finds the hub."""
        return f"http://{self.host}:{self.port}"

    def own_origins(self) -> bool:
        """Say whether every user has an origin of her own."""
        return self.host != "127.0.0.1"


def _private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)


def prepare_data(settings: LocalSettings) -> None:
    """Make the data directory, closed where it must be.

    Raises
    ------
    SettingError
        It cannot be made.
    """
    try:
        Provisioner(settings.data).prepare_tree()
        settings.hub.mkdir(mode=0o700, exist_ok=True)
        settings.hub.chmod(0o700)
    except OSError as error:
        raise SettingError(
            f"CANFAR_HUB_DATA cannot be used: {error.filename}: {error.strerror}."
        ) from None


def demo_password(settings: LocalSettings) -> str:
    """Give the password of the demo accounts, making and keeping one where there is none."""
    path = settings.hub / "password"
    if settings.password:
        _private(path, settings.password + "\n")
    elif not path.exists():
        _private(path, secrets.token_urlsafe(9) + "\n")
    return path.read_text().strip()


def port_is_free(port: int) -> bool:
    """Say whether a port of the loopback address can be listened on."""
    with contextlib.closing(socket.socket()) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def inner_ports(settings: LocalSettings) -> tuple[int, int]:
    """Give the ports of the hub's API and of the proxy's.

    They stay the same from start to start: running sessions know the first one.
    """
    path = settings.hub / "ports.json"
    with contextlib.suppress(OSError, ValueError):
        hub, proxy = json.loads(path.read_text())
        return int(hub), int(proxy)
    with contextlib.closing(socket.socket()) as one, contextlib.closing(socket.socket()) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    _private(path, json.dumps(ports))
    return ports


def make_platform(
    settings: LocalSettings, *, catalogue: Path, users: Path, log: logging.Logger
) -> tuple[Platform, Users]:
    """Put a platform for one machine together.

    Parameters
    ----------
    settings : LocalSettings
    catalogue, users : Path
        The site's files.
    log : logging.Logger

    Returns
    -------
    Platform
    Users
        The users file as it is now, for whoever may sign in.

    Raises
    ------
    SiteFileError
        A file is broken; says where.
    """
    prepare_data(settings)
    policy = watch_policy(catalogue, log)
    people = WatchedFile(users, Users, log)
    isolation = probe()
    log.info("Sessions are kept apart by %s. %s", isolation.kind, isolation.reason)

    def gids() -> dict[str, int]:
        groups = people.value.groups
        return {
            project.name: groups[project.group]
            for project in policy.value.projects
            if project.group in groups
        }

    backend = LocalBackend(
        Launcher(Provisioner(settings.data), isolation), policy=lambda: policy.value, gids=gids
    )
    backend.project_directories()
    notices = () if isolation.kind == "bubblewrap" else (isolation.reason,)
    platform = Platform(
        policy=policy,
        identities=UsersFile(people, lambda: policy.value.projects),
        backend=backend,
        data=settings.hub,
        log=log,
        notices=notices,
    )
    return platform, people.value


def running_launches(data: Path) -> list[Path]:
    """Give the directories of the launches whose supervisor lives."""
    runs = data / "run"
    return [path for path in sorted(runs.iterdir()) if run.is_alive(path)] if runs.is_dir() else []
