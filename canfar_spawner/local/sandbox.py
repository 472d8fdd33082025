"""What a session sees of the machine, as an argument vector for bubblewrap; pure.

The view starts from an empty tree, so nothing of the host is visible that is not named here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_HOST = ("/usr", "/etc")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - places in the view, not files


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """How the host has one of ``/bin``, ``/lib`` and their like."""

    path: str
    target: str | None
    """What it links to; None for what is bound read-only."""


@dataclass(frozen=True, slots=True)
class SandboxView:
    """The view of one session; a source is a path of the host, a target one of the view."""

    bwrap: str
    setpriv: str | None
    """Given where the hub is root: the program then becomes the three ids below."""
    uid: int | None
    gid: int | None
    groups: tuple[int, ...]
    home_source: str
    home_target: str
    projects: tuple[tuple[str, str], ...]
    """Source and target of each."""
    scratch_source: str
    scratch_target: str
    session_source: str
    session_target: str
    files_root: str
    """A directory with links to home, projects and scratch."""
    system: tuple[SystemEntry, ...]
    read_only: tuple[str, ...]
    """What programs need of the host, seen under the same paths."""
    passwd_source: str
    group_source: str
    hostname: str


def _above(paths: Iterable[str]) -> list[str]:
    """Give every directory above some paths, each after its own parents."""
    found = {
        str(parent): None for path in paths for parent in [*PurePosixPath(path).parents][-2::-1]
    }
    return [path for path in found if not PurePosixPath(path).is_relative_to("/usr")]


def _refuse_nesting(writable: list[str], read_only: tuple[str, ...]) -> None:
    """Refuse what bubblewrap would have to make a directory for in a user's own files."""
    for inner in (*writable, *read_only):
        for outer in writable:
            if inner != outer and PurePosixPath(inner).is_relative_to(outer):
                raise ValueError(f"{inner} cannot be shown in a session: it lies in its {outer}")


def _become(view: SandboxView) -> list[str]:
    """Give up root, once everything that only root could bind is in place."""
    if view.setpriv is None:
        return []
    if view.uid is None or view.gid is None:
        raise ValueError("a sandbox made by root needs a uid and a gid to give itself up for")
    groups = ",".join(map(str, view.groups))
    return [
        view.setpriv,
        f"--reuid={view.uid}",
        f"--regid={view.gid}",
        f"--groups={groups}" if groups else "--clear-groups",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
        "--",
    ]


def bwrap_argv(view: SandboxView, argv: list[str]) -> list[str]:
    """Give the command that runs a program in a view.

    Parameters
    ----------
    view : SandboxView
    argv : list of str
        The program and its arguments, as the view sees them.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        The view shows one thing inside another that is the user's own, or root would not become
        somebody else.
    """
    become = _become(view)
    projects = str(PurePosixPath(view.home_target).parent.parent / "projects")
    writable = {
        view.home_target: view.home_source,
        **{target: source for source, target in view.projects},
        view.scratch_target: view.scratch_source,
        view.session_target: view.session_source,
    }
    _refuse_nesting([*writable], view.read_only)
    bound = [entry.path for entry in view.system if entry.target is None]

    command = [view.bwrap, "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    command += ["--hostname", view.hostname]
    if not become:
        command += ["--unshare-user", "--cap-drop", "ALL"]
    command += ["--perms", "0755", "--tmpfs", "/"]
    for path in _HOST:
        command += ["--ro-bind", path, path]
    command += ["--ro-bind", view.passwd_source, "/etc/passwd"]
    command += ["--ro-bind", view.group_source, "/etc/group"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in _TEMPORARY:
        for parent in _above([path]):
            command += ["--perms", "0755", "--dir", parent]
        command += ["--perms", "1777", "--tmpfs", path]
    for entry in view.system:
        if entry.target is not None:
            command += ["--symlink", entry.target, entry.path]
    # Parents that bubblewrap makes by itself are closed to everybody but their owner.
    for parent in _above([*bound, *view.read_only, *writable, f"{projects}/any"]):
        command += ["--perms", "0755", "--dir", parent]
    for path in (*bound, *view.read_only):
        command += ["--ro-bind", path, path]
    for target, source in writable.items():
        command += ["--bind", source, target]
    command += ["--perms", "0755", "--dir", view.files_root]
    links = {"home": view.home_target, "projects": projects, "scratch": view.scratch_target}
    for name, target in links.items():
        command += ["--symlink", target, f"{view.files_root}/{name}"]
    command += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--chdir", view.home_target, "--", *become, *argv]
