"""What a session sees of the machine, as an argument vector for bubblewrap; pure.

The view starts from an empty tree, so nothing of the host is visible that is not named here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from typing_extensions import override

_HOST = ("/usr", "/etc")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - places in the view, not files


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """How the host has one of ``/bin``, ``/lib`` and their like."""

    path: str
    target: str | None
    """What it links to; None for what is bound read-only."""


@dataclass(frozen=True, slots=True)
class BareView:
    """A view with nothing of a user's own; a source is a path of the host, a target one of the view."""

    bwrap: str
    setpriv: str | None
    """Given where the hub is root: the program then becomes the three ids below."""
    uid: int | None
    gid: int | None
    groups: tuple[int, ...]
    system: tuple[SystemEntry, ...]
    read_only: tuple[str, ...]
    """What programs need of the host, seen under the same paths."""
    passwd_source: str
    group_source: str
    hostname: str

    @property
    def writable(self) -> dict[str, str]:
        """Source of each target that may be written to."""
        return {}

    @property
    def links(self) -> dict[str, str]:
        """Target of each link."""
        return {}

    @property
    def open_directories(self) -> tuple[str, ...]:
        """What is there and empty, unless something is bound in it."""
        return ()

    @property
    def starts_in(self) -> str:
        """The directory that programs start in."""
        return "/"


@dataclass(frozen=True, slots=True)
class GatewayView(BareView):
    """The view of a gateway: the directory that it shares with its application, and no file else."""

    shared_source: str
    shared_target: str

    @property
    @override
    def writable(self) -> dict[str, str]:
        return {self.shared_target: self.shared_source}


@dataclass(frozen=True, slots=True)
class SandboxView(BareView):
    """The view of one session."""

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

    @property
    def _above_projects(self) -> str:
        return str(PurePosixPath(self.home_target).parent.parent / "projects")

    @property
    @override
    def writable(self) -> dict[str, str]:
        return {
            self.home_target: self.home_source,
            **{target: source for source, target in self.projects},
            self.scratch_target: self.scratch_source,
            self.session_target: self.session_source,
        }

    @property
    @override
    def links(self) -> dict[str, str]:
        return {
            f"{self.files_root}/home": self.home_target,
            f"{self.files_root}/projects": self._above_projects,
            f"{self.files_root}/scratch": self.scratch_target,
        }

    @property
    @override
    def open_directories(self) -> tuple[str, ...]:
        return (self._above_projects, self.files_root)

    @property
    @override
    def starts_in(self) -> str:
        return self.home_target


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


def _become(view: BareView) -> list[str]:
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


def bwrap_argv(view: BareView, argv: list[str]) -> list[str]:
    """Give the command that runs a program in a view.

    Parameters
    ----------
    view : BareView
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
    writable = view.writable
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
    inside = [f"{path}/any" for path in view.open_directories]
    for parent in _above([*bound, *view.read_only, *writable, *inside]):
        command += ["--perms", "0755", "--dir", parent]
    for path in (*bound, *view.read_only):
        command += ["--ro-bind", path, path]
    for target, source in writable.items():
        command += ["--bind", source, target]
    for name, target in view.links.items():
        command += ["--symlink", target, name]
    command += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--chdir", view.starts_in, "--", *become, *argv]
