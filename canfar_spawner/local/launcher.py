"""The only place that starts ``canfar-run``: a plan becomes a command, files and a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.catalogue import LocalProgram
from canfar_spawner.core.errors import StartFailed, Unavailable, shown
from canfar_spawner.core.gateway import (
    DIRECTORY,
    Listening,
    application_variables,
    has_gateway,
    prefix_of,
    started,
)
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Reason
from canfar_spawner.core.storage import ARC_PROJECTS, SCRATCH, Area
from canfar_spawner.core.variables import (
    Places,
    account_files,
    environment,
    jupyter_config,
    kernel_room,
    suggestions,
)
from canfar_spawner.local import environments, gateway, run
from canfar_spawner.local.isolation import Isolation, system_entries
from canfar_spawner.local.kept import KeptPlans
from canfar_spawner.local.order import ORDER
from canfar_spawner.local.programs import SYSTEM_PATH, Found, command_of, find
from canfar_spawner.local.provision import Provisioner
from canfar_spawner.local.sandbox import GatewayView, SandboxView, bwrap_argv
from canfar_spawner.local.state import QUEUED
from canfar_spawner.replacing import replace_file

_PRIVATE = "/run/canfar"
_FILES = "/files"
_GRACE = 8.0
GATEWAY_LOG = "gateway.log"
"""The file with what a session's gateway says, beside ``session.log``."""


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
        self.plans = KeptPlans(provisioner.runs)
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

        A batch job gets no supervisor yet: its order is marked as one that waits for its turn.

        Raises
        ------
        Unavailable
            The directories could not be made.
        StartFailed
            The program is not on this machine.
        """
        found = self._found(plan, program)
        launch = self.provisioner.prepare(plan, gids)
        places = self.places(plan)
        queued = not KINDS[plan.kind].interactive
        try:
            self._write_private(launch / "session", plan, places)
            programs, wiped = self._programs(launch, plan, secrets, found, port)
            self.plans.keep(plan)
            if queued:
                (launch / QUEUED).touch(mode=0o600)
            # Last: with its order a launch is begun.
            self._write_order(launch, plan, {**programs, "wipe": wiped, "port": port})
        except (OSError, ValueError) as error:
            raise Unavailable(
                "The session could not be prepared. Tell the administrators.", detail=str(error)
            ) from None
        if not queued:
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

    @staticmethod
    def _found(plan: SessionPlan, program: LocalProgram) -> Found:
        """Find the program of a plan's container, and the one that a batch job names."""
        found = find(program, plan.kind, plan.entry)
        if found is None:
            name = next(iter(command_of(program, plan.kind, plan.entry)), "its program")
            if program.environment is not None:
                raise StartFailed(
                    "The container's software is not ready on this machine.",
                    detail=f"{name} is missing in {environments.location(program.environment)}",
                )
            raise StartFailed(
                "The container's program is not on this machine.", detail=f"{name} not found"
            )
        # Looked up once more where it runs; a path may mean a file that only its user sees.
        wanted = plan.command[0] if plan.command else found.argv[0]
        if "/" not in wanted and shutil.which(wanted, path=found.path) is None:
            raise StartFailed(
                f"There is no program {shown(wanted)} in {plan.title}.",
                code=Reason.PROGRAM_MISSING,
            )
        return found

    def _programs(
        self, launch: Path, plan: SessionPlan, secrets: Secrets, found: Found, port: int
    ) -> tuple[dict[str, object], list[str]]:
        """Give what is to be run, as an order has it, and the directories to wipe at its end."""
        places = self.places(plan)
        wiped = [self.provisioner.scratch / plan.launch, launch / "session"]
        own = {
            **environment(plan, places, path=found.path),
            "CANFAR_LAUNCH_ID": plan.launch,
        }
        told = suggestions(plan, places)
        if not has_gateway(plan):
            told.update((name, value.get_secret_value()) for name, value in secrets.env)
            argv = [word.replace("{port}", str(port)) for word in found.argv]
            argv = list(plan.command) or argv
            program = self._program(launch, plan, found.roots, argv, {**told, **own})
            return program, [str(path) for path in wiped]
        shared = gateway.shared_directory(
            launch / "session", plan.launch, sandboxed=self._sandboxed
        )
        self.provisioner.make_shared(plan, shared)
        wiped.append(shared)
        seen = f"{places.private}/{DIRECTORY}" if self._sandboxed else str(shared)
        listening = gateway.listening_of(found.argv, seen, taken=port)
        start = started(plan, places, listening, prefix=prefix_of(secrets), command=found.argv)
        told.update(application_variables(plan, secrets))
        program = self._program(
            launch, plan, found.roots, list(start.argv), {**told, **start.env, **own}
        )
        program["gateway"] = self._gateway(launch, plan, secrets, listening, shared)
        return program, [str(path) for path in wiped]

    def _program(
        self,
        launch: Path,
        plan: SessionPlan,
        roots: tuple[str, ...],
        argv: list[str],
        variables: dict[str, str],
    ) -> dict[str, object]:
        identity = plan.identity
        return {
            "argv": self._command(plan, roots, argv),
            "env": variables,
            # The link leads to the home; a program started there finds its way by HOME.
            "cwd": "/" if self._sandboxed else str(self.provisioner.homes / plan.owner),
            "log": str(launch / "session.log"),
            "log_owner": [identity.uid, identity.group.gid] if self._root else None,
            "user": self._user(plan),
            "umask": 0o002,
        }

    def _gateway(
        self,
        launch: Path,
        plan: SessionPlan,
        secrets: Secrets,
        listening: Listening,
        shared: Path,
    ) -> dict[str, object]:
        argv = gateway.gateway_argv()
        if self._sandboxed:
            view = GatewayView(
                **self._view(plan, gateway.gateway_roots()),
                shared_source=str(shared),
                shared_target=f"{_PRIVATE}/{DIRECTORY}",
            )
            argv = bwrap_argv(view, argv)
        return {
            "argv": argv,
            "env": gateway.gateway_environment(plan, secrets, listening, path=SYSTEM_PATH),
            "cwd": "/",
            # Of those who run the hub: it is no part of what a session says.
            "log": str(launch / GATEWAY_LOG),
            "log_owner": [os.geteuid(), os.getegid()] if self._root else None,
            "user": self._user(plan),
            "umask": 0o077,
        }

    def _user(self, plan: SessionPlan) -> dict[str, object] | None:
        """Say whom the supervisor makes of a program; a sandbox made by root does so itself."""
        identity = plan.identity
        if not self._root or self._sandboxed:
            return None
        return {"uid": identity.uid, "gid": identity.group.gid, "groups": list(identity.gids)}

    def _view(self, plan: SessionPlan, roots: tuple[str, ...]) -> dict[str, Any]:
        """Give what the views of a session's programs have in common."""
        launch = self.provisioner.runs / plan.launch
        identity = plan.identity
        return {
            "bwrap": self.isolation.bwrap,
            "setpriv": self.isolation.setpriv if self._root else None,
            "uid": identity.uid if self._root else None,
            "gid": identity.group.gid if self._root else None,
            "groups": identity.gids,
            "system": system_entries(),
            "read_only": roots,
            "passwd_source": str(launch / "passwd"),
            "group_source": str(launch / "group"),
            "hostname": plan.session,
        }

    def _command(self, plan: SessionPlan, roots: tuple[str, ...], argv: list[str]) -> list[str]:
        if not self._sandboxed:
            return argv
        made = self.provisioner
        view = SandboxView(
            **self._view(plan, roots),
            home_source=str(made.homes / plan.owner),
            home_target=plan.storage.home,
            projects=tuple(
                (str(made.projects / mount.name), mount.path)
                for mount in plan.storage.find(Area.PROJECT)
            ),
            scratch_source=str(made.scratch / plan.launch),
            scratch_target=SCRATCH,
            session_source=str(made.runs / plan.launch / "session"),
            session_target=_PRIVATE,
            files_root=_FILES,
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

    def _write_order(self, launch: Path, plan: SessionPlan, programs: dict[str, object]) -> None:
        order = {
            "launch_id": plan.launch,
            "session": plan.session,
            "owner": plan.owner,
            "grace": _GRACE,
            "deadline": plan.ends.timestamp(),
            **programs,
        }
        replace_file(launch / ORDER, json.dumps(order))
