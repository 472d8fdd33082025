"""The gateway of a session on this machine: where its application listens, and how it is run."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.errors import StartFailed
from canfar_spawner.core.gateway import (
    DIRECTORY,
    SOCKET,
    Listening,
    gateway_variables,
    takes_socket,
)
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.local.isolation import python_roots

_LONGEST: Final = 107
"""Bytes that the path of a socket has room for."""
_ANYWHERE: Final = 0
_PACKAGES: Final = ("canfar_spawner", "canfar_lab")
"""Where the gateway's own code is."""


def listening_of(argv: tuple[str, ...], shared: str, *, taken: int) -> Listening:
    """Decide where an application listens.

    Parameters
    ----------
    argv : tuple of str
        Its command, with ``{port}`` or ``{socket}``.
    shared : str
        The directory that it shares with its gateway, as both see it.
    taken : int
        The gateway's own port, on which nothing listens yet.

    Raises
    ------
    StartFailed
    """
    if not takes_socket(argv):
        return Listening(port=_free_port(taken))
    path = f"{shared}/{SOCKET}"
    if len(path.encode()) > _LONGEST:
        raise StartFailed(
            "The session's files lie too deep for its program. Tell the administrators.",
            detail=f"{path} is longer than {_LONGEST} bytes; choose a shorter CANFAR_HUB_DATA",
        )
    return Listening(socket=path)


def short_directory(launch: str) -> Path:
    """Give a directory for a launch's socket whose path is short wherever the data lies."""
    return Path(tempfile.gettempdir()) / f"canfar-{launch}"


def shared_directory(session: Path, launch: str, *, sandboxed: bool) -> Path:
    """Give the directory of this machine in which gateway and application meet.

    Parameters
    ----------
    session : Path
        The session's own.
    launch : str
    sandboxed : bool
        Whether both see it under a short path, wherever it is.
    """
    inside = session / DIRECTORY
    if sandboxed or len(f"{inside}/{SOCKET}".encode()) <= _LONGEST:
        return inside
    return short_directory(launch)


def _free_port(taken: int) -> int:
    with contextlib.ExitStack() as held:
        while True:
            trial = held.enter_context(contextlib.closing(socket.socket()))
            trial.bind(("127.0.0.1", _ANYWHERE))
            port: int = trial.getsockname()[1]
            if port != taken:
                return port


def gateway_argv() -> list[str]:
    """Give the command of the gateway, which is part of the hub's own software."""
    return [sys.executable, "-I", "-m", "canfar_spawner.gateway"]


def gateway_roots() -> tuple[str, ...]:
    """Give what a view must show for it to run."""
    # In a checkout the code lies beside the environment: its own, and what watches visitors in
    # sessions that need no gateway.
    specs = [importlib.util.find_spec(name) for name in _PACKAGES]
    places = [Path(spec.origin).parent for spec in specs if spec and spec.origin]
    return python_roots((Path(sys.prefix), *places))


def gateway_environment(
    plan: SessionPlan, secrets: Secrets, listening: Listening, *, path: str
) -> dict[str, str]:
    """Give the gateway's variables."""
    return {
        **gateway_variables(plan, secrets, listening),
        "HOME": "/",
        "LANG": "C.UTF-8",
        "LOGNAME": plan.owner,
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        "USER": plan.owner,
    }
