"""The storage provisioner: the only thing that makes and owns directories on arc."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.storage import Area
from canfar_spawner.local.gateway import short_directory
from canfar_spawner.site.directories import HOME_MODE, PASSED_THROUGH, PROJECT_MODE, make


class Provisioner:
    """Makes homes, projects, scratch and the directories of launches.

    Everything is idempotent, and owned by the session's user where the hub runs as root.

    Parameters
    ----------
    data : Path
        The hub's data directory.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.homes = data / "arc" / "home"
        self.projects = data / "arc" / "projects"
        self.scratch = data / "scratch"
        self.runs = data / "run"
        self._root = os.geteuid() == 0

    def prepare_tree(self) -> None:
        """Make the directories that all sessions pass through."""
        for path in (self.data, self.data / "arc", self.homes, self.projects, self.scratch):
            path.mkdir(mode=PASSED_THROUGH, parents=True, exist_ok=True)
            path.chmod(PASSED_THROUGH)
        self.runs.mkdir(mode=0o711, exist_ok=True)
        self.runs.chmod(0o711)

    def _make(self, path: Path, mode: int, uid: int, gid: int) -> bool:
        """Make a directory and say whether it is new; only root gives it to somebody else."""
        return make(path, mode=mode, owner=(uid, gid) if self._root else None)

    def home(self, identity: PosixIdentity) -> Path:
        """Make a user's home, with mode 0700."""
        path = self.homes / identity.name
        self._make(path, HOME_MODE, identity.uid, identity.group.gid)
        return path

    def project(self, name: str, gid: int) -> Path:
        """Make a project's directory, shared by its group, with mode 2770."""
        path = self.projects / name
        owner = 0 if self._root else os.geteuid()
        self._make(path, PROJECT_MODE, owner, gid)
        return path

    def prepare(self, plan: SessionPlan, gids: dict[str, int]) -> Path:
        """Make everything a session needs and give the directory of its launch.

        Parameters
        ----------
        plan : SessionPlan
        gids : dict
            The group id of each of its projects.

        Raises
        ------
        Unavailable
            The disk is full or not writable, or a project has no group id here.
        """
        lost = [m.name for m in plan.storage.find(Area.PROJECT) if m.name not in gids]
        if lost:
            raise Unavailable(
                f"The group of the project {lost[0]} has no number here, so the session cannot be"
                " given the project. Tell the administrators.",
                detail=f"no gid for {', '.join(lost)}",
            )
        try:
            self.home(plan.identity)
            for mount in plan.storage.find(Area.PROJECT):
                self.project(mount.name, gids[mount.name])
            uid, gid = plan.identity.uid, plan.identity.group.gid
            self._make(self.scratch / plan.launch, HOME_MODE, uid, gid)
            launch = self.runs / plan.launch
            self._make(launch, 0o711, os.geteuid(), os.getegid())
            self._make(launch / "session", HOME_MODE, uid, gid)
        except OSError as error:
            raise Unavailable(
                "The session's directories could not be made. Tell the administrators.",
                detail=f"{error.filename}: {error.strerror}",
            ) from None
        return launch

    def make_shared(self, plan: SessionPlan, path: Path) -> None:
        """Make the directory in which gateway and application meet; raises OSError."""
        self._make(path, HOME_MODE, plan.identity.uid, plan.identity.group.gid)

    def forget(self, launch: str) -> None:
        """Remove what is left of an ended launch."""
        shutil.rmtree(self.runs / launch, ignore_errors=True)
        shutil.rmtree(self.scratch / launch, ignore_errors=True)
        shutil.rmtree(short_directory(launch), ignore_errors=True)
