"""What the hub orders of a supervisor, as ``spec.json`` has it; standard library only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ORDER: Final = "spec.json"
"""The file of a launch with its order; it holds secrets and is gone when the launch is over."""


@dataclass(frozen=True)
class Program:
    """One program of a launch."""

    argv: list[str]
    env: dict[str, str]
    log: str
    cwd: str | None = None
    user: dict[str, Any] | None = None
    """Whom to become before it starts: ``uid``, ``gid`` and ``groups``."""
    log_owner: list[int] | None = None
    """Uid and gid of its log; the user's own where one is given."""
    umask: int = 0o022


@dataclass(frozen=True)
class Order:
    """One launch."""

    launch_id: str
    session: str
    owner: str
    program: Program
    """Its end is the launch's."""
    gateway: Program | None = None
    """What stands before the program and is started again whenever it ends."""
    grace: float = 10.0
    wipe: Sequence[str] = ()
    port: int | None = None
    deadline: float | None = None


_PROGRAMS = ("argv", "env", "log", "cwd", "user", "log_owner", "umask")


def _program(content: dict[str, Any]) -> Program:
    """Take what is a program's from an order; fails where anything is of the wrong kind."""
    taken = {name: content.pop(name, None) for name in _PROGRAMS}
    program = Program(**{name: value for name, value in taken.items() if value is not None})
    nobody: dict[str, Any] = {"uid": 0, "gid": 0, "groups": []}
    user = nobody if program.user is None else program.user
    words = [program.log, program.cwd or "", *program.env.values()]
    "".join(words + program.argv)
    sum([user["uid"], user["gid"], program.umask] + user["groups"] + (program.log_owner or []))
    if not program.argv:
        raise ValueError("no program is named")
    return program


def _gateway(content: dict[str, Any]) -> Program:
    program = _program(content)
    if content:
        raise ValueError("something in it is not known")
    return program


def read_order(launch_dir: Path) -> Order:
    """Read an order.

    Raises
    ------
    ValueError
        There is none, or it is not what the hub writes; never repeats what it says, which may be
        secret.
    """
    try:
        content = json.loads((launch_dir / ORDER).read_text())
        gateway = content.pop("gateway", None)
        order = Order(
            program=_program(content),
            gateway=None if gateway is None else _gateway(gateway),
            **content,
        )
        "".join([order.launch_id, order.session, order.owner, *order.wipe])
        sum([order.grace, order.port or 0, order.deadline or 0])
    except OSError as error:
        raise ValueError(f"{ORDER}: {error.strerror}") from None
    except (TypeError, ValueError, AttributeError, KeyError):
        raise ValueError(f"{ORDER} is not what the hub writes") from None
    return order
