"""A hub on one machine: where its files are, which ports it uses, who may sign in."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.hub.platform import Platform
from canfar_spawner.hub.service import SessionsService
from canfar_spawner.local import run
from canfar_spawner.local.backend import LocalBackend
from canfar_spawner.local.isolation import Isolation, probe
from canfar_spawner.local.launcher import Launcher
from canfar_spawner.local.offers import serves_others
from canfar_spawner.local.provision import Provisioner
from canfar_spawner.replacing import replace_file
from canfar_spawner.site.files import SettingError, WatchedFile
from canfar_spawner.site.policy import watch_policy
from canfar_spawner.site.users_file import Users, UsersFile

_HIGHEST_PORT = 65535
_PASSWORD_LENGTH = 8
_INNER_PORTS = 3
_LOCK = "making.lock"
"""Held while hub or manager makes what both of them need."""


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
        given = environ.get("CANFAR_HUB_PASSWORD", "")
        password = given.strip()
        if given and len(password) < _PASSWORD_LENGTH:
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


def _read(path: Path) -> str:
    """Read what is kept; a blank file, left by a full disk, is as good as none."""
    try:
        return path.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _kept(path: Path, make: Callable[[str], str]) -> str:
    """Keep what is made of what a file holds, and give it; those who come meanwhile get the same.

    Parameters
    ----------
    path : Path
        Of the hub's directory.
    make : callable
        Gives what the file is to hold, of what it holds: the same where that will do, something
        where it is empty.

    Raises
    ------
    SettingError
        It cannot be read or written.
    """
    try:
        found = _read(path)
        if make(found) == found:
            return found
        lock = os.open(path.with_name(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = _read(path)
            wanted = make(found)
            if wanted != found:
                replace_file(path, wanted + "\n")
        finally:
            os.close(lock)
    except OSError as error:
        raise SettingError(_unusable(error, path)) from None
    return wanted


def _unusable(error: OSError, path: Path) -> str:
    return f"CANFAR_HUB_DATA cannot be used: {error.filename or path}: {error.strerror}."


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
        raise SettingError(_unusable(error, settings.data)) from None


def demo_password(settings: LocalSettings) -> str:
    """Give the password of the demo accounts, making and keeping one where there is none."""
    return _kept(
        settings.hub / "password",
        lambda found: settings.password or found or secrets.token_urlsafe(9),
    )


def port_is_free(port: int) -> bool:
    """Say whether a port of the loopback address can be listened on."""
    with contextlib.closing(socket.socket()) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def inner_ports(settings: LocalSettings) -> tuple[int, int, int]:
    """Give the ports of the hub's API, of the proxy's, and of the session manager.

    They stay the same from start to start: running sessions know them.
    """
    kept = [int(port) for port in json.loads(_kept(settings.hub / "ports.json", _ports))]
    hub, proxy, sessions = kept[:_INNER_PORTS]
    return hub, proxy, sessions


def _ports(found: str) -> str:
    """Add to the ports that are kept those that an earlier version did not know of."""
    kept: list[int] = []
    with contextlib.suppress(ValueError, TypeError):
        kept = [int(port) for port in json.loads(found)]
    if len(kept) >= _INNER_PORTS:
        return found
    with contextlib.ExitStack() as stack:
        for _ in range(_INNER_PORTS - len(kept)):
            trial = stack.enter_context(contextlib.closing(socket.socket()))
            trial.bind(("127.0.0.1", 0))
            kept.append(trial.getsockname()[1])
    return json.dumps(kept)


def sessions_service(settings: LocalSettings) -> SessionsService:
    """Give the session manager's place on this machine, making its secret where there is none."""
    token = _kept(settings.hub / "sessions_token", lambda found: found or secrets.token_urlsafe(32))
    address = f"http://127.0.0.1:{inner_ports(settings)[2]}"
    return SessionsService(address=address, token=token)


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
    backend = _backend(settings, policy, people, isolation)
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


def _backend(
    settings: LocalSettings,
    policy: WatchedFile[SitePolicy],
    people: WatchedFile[Users],
    isolation: Isolation,
) -> LocalBackend:
    def gids() -> dict[str, int]:
        groups = people.value.groups
        return {
            project.name: groups[project.group]
            for project in policy.value.projects
            if project.group in groups
        }

    return LocalBackend(
        Launcher(Provisioner(settings.data), isolation),
        policy=lambda: policy.value,
        gids=gids,
        others=lambda: serves_others(people.value),
    )


def make_backend(
    settings: LocalSettings, *, policy: WatchedFile[SitePolicy], users: Path, log: logging.Logger
) -> LocalBackend:
    """Make the back end of the session manager; it alone runs the queue of waiting jobs.

    Raises
    ------
    SiteFileError
        The users file is broken; says where.
    """
    people = WatchedFile(users, Users, log)
    return _backend(settings, policy, people, probe())


def running_launches(data: Path) -> list[Path]:
    """Give the directories of the launches whose supervisor lives; raises OSError."""
    runs = data / "run"
    return [path for path in sorted(runs.iterdir()) if run.is_alive(path)] if runs.is_dir() else []
