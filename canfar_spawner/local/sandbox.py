"""What a session sees of the machine, as an argument vector for bubblewrap; pure.

Nothing of the host is visible that is not named here: the view starts from an empty tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """How the host has one of ``/bin``, ``/lib`` and their like."""

    path: str
    target: str | None
    """What it links to; None for a directory, which is bound read-only."""


@dataclass(frozen=True, slots=True)
class SandboxView:
    """The view of one session."""

    bwrap: str
    setpriv: str | None
    """With it the hub is root, and the program is given the three ids below."""
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
    """Directories of the host that programs need, seen under their own paths."""
    passwd_source: str
    group_source: str
    hostname: str


def _parents(paths: list[str]) -> list[str]:
    """Give every directory above the paths, from the top: bubblewrap's own would be 0700."""
    found: dict[str, None] = {}
    for path in paths:
        for parent in reversed(PurePosixPath(path).parents):
            if str(parent) != "/":
                found.setdefault(str(parent))
    return list(found)


def _ids(view: SandboxView) -> list[str]:
    if view.setpriv is None:
        return []
    groups = ",".join(map(str, view.groups))
    return [
        view.setpriv,
        f"--reuid={view.uid}",
        f"--regid={view.gid}",
        f"--groups={groups}" if groups else "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
        "--",
    ]


def bwrap_argv(view: SandboxView, argv: list[str]) -> list[str]:
    """Give the command that runs a program in the view.

    Parameters
    ----------
    view : SandboxView
    argv : list of str
        The program, as the view sees it.

    Returns
    -------
    list of str
    """
    projects = str(PurePosixPath(view.home_target).parents[1] / "projects")
    targets = [
        view.home_target,
        *(target for _, target in view.projects),
        f"{projects}/-",
        view.session_target,
        *view.read_only,
    ]
    system = ["/usr", "/etc"]
    command = [
        view.bwrap,
        "--die-with-parent",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--hostname",
        view.hostname,
    ]
    if view.setpriv is None:
        command += ["--unshare-user", "--cap-drop", "ALL"]
    command += ["--perms", "0755", "--tmpfs", "/"]
    for path in system:
        command += ["--ro-bind", path, path]
    for entry in view.system:
        if entry.target is None:
            command += ["--ro-bind", entry.path, entry.path]
        else:
            command += ["--symlink", entry.target, entry.path]
    command += ["--ro-bind", view.passwd_source, "/etc/passwd"]
    command += ["--ro-bind", view.group_source, "/etc/group"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - the session's own
        if path == "/var/tmp":  # noqa: S108 - likewise
            command += ["--perms", "0755", "--dir", "/var"]
        command += ["--perms", "1777", "--tmpfs", path]
    for parent in _parents(targets):
        if not PurePosixPath(parent).is_relative_to("/usr"):
            command += ["--perms", "0755", "--dir", parent]
    for path in view.read_only:
        command += ["--ro-bind", path, path]
    command += ["--bind", view.home_source, view.home_target]
    for source, target in view.projects:
        command += ["--bind", source, target]
    command += ["--bind", view.scratch_source, view.scratch_target]
    command += ["--bind", view.session_source, view.session_target]
    command += ["--perms", "0755", "--dir", view.files_root]
    links = {"home": view.home_target, "projects": projects, "scratch": view.scratch_target}
    for name, target in links.items():
        command += ["--symlink", target, f"{view.files_root}/{name}"]
    command += ["--remount-ro", "/", "--chdir", view.home_target, "--"]
    return [*command, *_ids(view), *argv]
