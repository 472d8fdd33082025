"""The only place that starts ``canfar-run``: a plan becomes a command, files and a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.catalogue import LocalProgram
from canfar_spawner.core.errors import StartFailed, Unavailable
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.storage import ARC_PROJECTS, SCRATCH, Area
from canfar_spawner.core.variables import (
    Places,
    account_files,
    environment,
    jupyter_config,
    kernel_room,
    suggestions,
)
from canfar_spawner.local import environments, run
from canfar_spawner.local.isolation import Isolation, python_roots, system_entries
from canfar_spawner.local.provision import Provisioner
from canfar_spawner.local.sandbox import SandboxView, bwrap_argv

_SINGLEUSER = "jupyterhub-singleuser"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where sessions look for programs, after their container's own."""
_PRIVATE = "/run/canfar"
_FILES = "/files"
_GRACE = 8.0


class Launcher:
    """Carries plans out on this machine.

    Parameters
    ----------
    provisioner : Provisioner
    isolation : Isolation
        What keeps sessions apart, found by trying.
    """

    def __init__(self, provisioner: Provisioner, isolation: Isolation) -> None:
        self.provisioner = provisioner
        self.isolation = isolation
        self._sandboxed = isolation.kind == "bubblewrap"
        self._root = os.geteuid() == 0

    def places(self, plan: SessionPlan) -> Places:
        """Say where the session will see its storage."""
        if self._sandboxed:
            return Places(
                home=plan.storage.home,
                projects=ARC_PROJECTS,
                scratch=SCRATCH,
                private=_PRIVATE,
                files=_FILES,
            )
        made = self.provisioner
        private = made.runs / plan.launch / "session"
        return Places(
            home=str(made.homes / plan.owner),
            projects=str(made.projects),
            scratch=str(made.scratch / plan.launch),
            private=str(private),
            files=str(private / "files"),
        )

    def start(
        self,
        plan: SessionPlan,
        secrets: Secrets,
        *,
        program: LocalProgram,
        gids: dict[str, int],
        port: int,
    ) -> None:
        """Prepare everything and start the supervisor; returns without waiting for the program.

        Raises
        ------
        Unavailable
            The directories could not be made.
        StartFailed
            The program is not on this machine.
        """
        launch = self.provisioner.prepare(plan, gids)
        roots, argv = self._program(program, port)
        places = self.places(plan)
        try:
            self._write_private(launch / "session", plan, places)
            variables = {
                **suggestions(plan, places),
                **{name: value.get_secret_value() for name, value in secrets.env},
                **environment(plan, places, path=f"{Path(argv[0]).parent}:{SYSTEM_PATH}"),
                "CANFAR_LAUNCH_ID": plan.launch,
            }
            self._write_spec(launch, plan, self._command(plan, roots, argv), variables, port)
        except (OSError, ValueError) as error:
            raise Unavailable(
                "The session could not be prepared. Tell the administrators.", detail=str(error)
            ) from None
        self.supervise(launch)

    @staticmethod
    def supervise(launch: Path) -> None:
        """Start ``canfar-run`` for a launch; a second one for the same launch does nothing."""
        subprocess.Popen(
            [sys.executable, "-I", str(Path(run.__file__)), str(launch)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"LANG": "C.UTF-8", "PATH": SYSTEM_PATH},
            start_new_session=True,
        )

    def _program(self, program: LocalProgram, port: int) -> tuple[tuple[str, ...], list[str]]:
        if program.environment is not None:
            where = environments.location(program.environment)
            executable = where / "bin" / _SINGLEUSER
            if not executable.exists():
                raise StartFailed(
                    "The container's software is not ready on this machine.",
                    detail=f"{executable} is missing",
                )
            return python_roots((where,)), [str(executable), *program.command]
        argv = [word.replace("{port}", str(port)) for word in program.command]
        found = shutil.which(argv[0], path=SYSTEM_PATH)
        if found is None:
            raise StartFailed(
                "The container's program is not on this machine.", detail=f"{argv[0]} not found"
            )
        return (), [found, *argv[1:]]

    def _command(self, plan: SessionPlan, roots: tuple[str, ...], argv: list[str]) -> list[str]:
        if not self._sandboxed:
            return argv
        launch = self.provisioner.runs / plan.launch
        identity = plan.identity
        view = SandboxView(
            bwrap=self.isolation.bwrap,
            setpriv=self.isolation.setpriv if self._root else None,
            uid=identity.uid if self._root else None,
            gid=identity.group.gid if self._root else None,
            groups=identity.gids,
            home_source=str(self.provisioner.homes / plan.owner),
            home_target=plan.storage.home,
            projects=tuple(
                (str(self.provisioner.projects / mount.name), mount.path)
                for mount in plan.storage.find(Area.PROJECT)
            ),
            scratch_source=str(self.provisioner.scratch / plan.launch),
            scratch_target=SCRATCH,
            session_source=str(launch / "session"),
            session_target=_PRIVATE,
            files_root=_FILES,
            system=system_entries(),
            read_only=roots,
            passwd_source=str(launch / "passwd"),
            group_source=str(launch / "group"),
            hostname=plan.session,
        )
        return bwrap_argv(view, argv)

    def _write_private(self, private: Path, plan: SessionPlan, places: Places) -> None:
        """Write what the session reads at its start; the files become the user's own."""
        etc, files = private / "etc", private / "files"
        etc.mkdir(exist_ok=True)
        (etc / "jupyter_server_config.json").write_text(jupyter_config(places))
        (etc / "jupyter_server_config.py").write_text(kernel_room(places))
        for name in ("runtime", "cache"):
            (private / name).mkdir(mode=0o700, exist_ok=True)
        if not self._sandboxed:
            files.mkdir(exist_ok=True)
            links = {"home": places.home, "projects": places.projects, "scratch": places.scratch}
            for name, target in links.items():
                if not (files / name).is_symlink():
                    (files / name).symlink_to(target)
        identity = plan.identity
        if self._root:
            for path in private.rglob("*"):
                os.chown(path, identity.uid, identity.group.gid, follow_symlinks=False)
        for name, text in zip(("passwd", "group"), account_files(plan), strict=True):
            (private.parent / name).write_text(text)
            (private.parent / name).chmod(0o644)

    def _write_spec(
        self,
        launch: Path,
        plan: SessionPlan,
        argv: list[str],
        variables: dict[str, str],
        port: int,
    ) -> None:
        identity = plan.identity
        drop = self._root and not self._sandboxed
        user = {"uid": identity.uid, "gid": identity.group.gid, "groups": list(identity.gids)}
        spec = {
            "launch_id": plan.launch,
            "session": plan.session,
            "owner": plan.owner,
            "argv": argv,
            "env": variables,
            # The link leads to the home; a program started there finds its way by HOME.
            "cwd": "/" if self._sandboxed else str(self.provisioner.homes / plan.owner),
            "log": str(launch / "session.log"),
            "log_owner": [identity.uid, identity.group.gid] if self._root else None,
            "user": user if drop else None,
            "umask": 0o002,
            "grace": _GRACE,
            "wipe": [str(self.provisioner.scratch / plan.launch), str(launch / "session")],
            "port": port,
            "deadline": plan.ends.timestamp(),
        }
        partial = launch / "spec.new"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(spec, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(launch / "spec.json")
