"""Where a container's program is on this machine, and what it needs to be seen with it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from canfar_spawner.core.catalogue import LocalProgram
from canfar_spawner.core.gateway import takes_socket
from canfar_spawner.core.kinds import KINDS, Entry, SessionKind
from canfar_spawner.local import environments
from canfar_spawner.local.isolation import is_visible, python_roots

SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where sessions look for programs, after their container's own."""
_SINGLEUSER: Final = "jupyterhub-singleuser"
CHOSEN: Final = {"carta_backend": "CANFAR_CARTA"}
"""The variables of the hub that say where a program is, in place of looking for it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A program of this machine."""

    argv: tuple[str, ...]
    """With its path; what stands for where to listen is not filled in yet."""
    path: str
    """Where its session looks for programs."""
    roots: tuple[str, ...]
    """What a view must show for it to run."""


def command_of(program: LocalProgram, kind: SessionKind, entry: Entry) -> tuple[str, ...]:
    """Give the command of a container, without knowing where its program is; empty: it has none."""
    if entry is Entry.GATEWAY and KINDS[kind].interactive:
        return program.command or KINDS[kind].application.argv
    if program.environment is not None:
        return (_SINGLEUSER, *program.command)
    return program.command


def opens_port(program: LocalProgram, kind: SessionKind, entry: Entry) -> bool:
    """Say whether a program behind the gateway has to be reached by a port of this machine."""
    behind = entry is Entry.GATEWAY and KINDS[kind].interactive
    command = command_of(program, kind, entry)
    return behind and bool(command) and not takes_socket(command)


def lacking(program: LocalProgram) -> list[str]:
    """Give what a container's program needs of the machine, and what the machine does not have."""
    return [name for name in program.needs if shutil.which(name, path=SYSTEM_PATH) is None]


def find(program: LocalProgram, kind: SessionKind, entry: Entry) -> Found | None:
    """Look for a container's program.

    One that the hub is told of by a variable comes first, then that of the container's
    environment; a kind's own program may also be the machine's.
    """
    command = command_of(program, kind, entry)
    if not command or lacking(program):
        return None
    name = command[0]
    chosen = os.environ.get(CHOSEN.get(name, ""), "")
    if chosen:
        return _found(chosen, command, search="/") if Path(chosen).is_absolute() else None
    if program.environment is not None:
        where = environments.location(program.environment)
        if (where / ".complete").exists():
            found = _found(name, command, search=str(where / "bin"), prefix=where)
            if found is not None:
                return found
        if program.command or name == _SINGLEUSER:
            return None
    return _found(name, command, search=SYSTEM_PATH)


def _found(
    name: str, command: tuple[str, ...], *, search: str, prefix: Path | None = None
) -> Found | None:
    # As sessions find it: the hub's own path says nothing of theirs.
    found = shutil.which(name, path=search)
    if found is None:
        return None
    prefixes = [prefix] if prefix else []
    if prefix is None and not is_visible(Path(found).resolve()):
        prefixes.append(_installed_in(Path(found).resolve()))
    if prefix is None and not is_visible(Path(found)):
        prefixes.append(_installed_in(Path(found)))
    return Found(
        argv=(found, *command[1:]),
        path=f"{Path(found).parent}:{SYSTEM_PATH}",
        roots=python_roots(prefixes),
    )


def _installed_in(path: Path) -> Path:
    """Give the directory of what a program belongs to; never one that holds homes."""
    above = path.parent.parent
    wide = above == Path("/") or Path.home().is_relative_to(above)
    return path.parent if path.parent.name != "bin" or wide else above
