"""What can keep sessions apart on this machine, found out by trying."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from canfar_spawner.local.sandbox import SandboxView, SystemEntry, bwrap_argv

Kind = Literal["bubblewrap", "uids", "none"]

_NOBODY = 65534
_TRIAL_WITHIN = 20.0
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True, slots=True)
class Isolation:
    """What keeps sessions apart."""

    kind: Kind
    reason: str
    """One sentence for the log and, where it is a warning, for pages."""
    bwrap: str = ""
    setpriv: str = ""


def system_entries() -> tuple[SystemEntry, ...]:
    """Say how this host lays out ``/bin``, ``/lib`` and their like."""
    found = []
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            found.append(SystemEntry(path=name, target=str(path.readlink())))
        elif path.is_dir():
            found.append(SystemEntry(path=name, target=None))
    return tuple(found)


def _base(environment: Path) -> Path | None:
    """Find the installation that a virtual environment's interpreter belongs to."""
    python = environment / "bin" / "python"
    if not python.exists():
        return None
    return python.resolve().parent.parent


def python_roots(environments: tuple[Path, ...]) -> tuple[str, ...]:
    """Give the directories that programs of virtual environments need, outside ``/usr``.

    Links on the way to an interpreter lead through other directories, which are given too.
    """
    found: dict[Path, None] = {}
    for environment in environments:
        found.setdefault(environment.resolve())
        base = _base(environment)
        if base is not None:
            found.setdefault(base)
        link = environment / "bin" / "python"
        while link.is_symlink():
            link = link.parent / link.readlink()
            found.setdefault(link.parent.parent)
    outer = [path for path in found if not path.is_relative_to("/usr")]
    kept = [
        path
        for path in outer
        if not any(path != other and path.is_relative_to(other) for other in outer)
    ]
    return tuple(str(path) for path in kept)


def _trial(bwrap: str, setpriv: str | None) -> str:
    """Run a program in a sandbox; gives why it failed, or nothing."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o755)
        for part in ("home", "scratch", "session"):
            (base / part).mkdir()
            if setpriv:
                os.chown(base / part, _NOBODY, _NOBODY)
        (base / "passwd").write_text("nobody:x:65534:65534::/:/bin/sh\n")
        (base / "group").write_text("nogroup:x:65534:\n")
        view = SandboxView(
            bwrap=bwrap,
            setpriv=setpriv,
            uid=_NOBODY,
            gid=_NOBODY,
            groups=(),
            home_source=str(base / "home"),
            home_target="/arc/home/trial",
            projects=(),
            scratch_source=str(base / "scratch"),
            scratch_target="/scratch",
            session_source=str(base / "session"),
            session_target="/run/canfar",
            files_root="/files",
            system=system_entries(),
            read_only=(),
            passwd_source=str(base / "passwd"),
            group_source=str(base / "group"),
            hostname="trial",
        )
        if setpriv is None:
            view = replace(view, uid=None, gid=None)
        try:
            done = subprocess.run(
                bwrap_argv(view, ["/bin/sh", "-c", ": > /files/home/written"]),
                capture_output=True,
                text=True,
                timeout=_TRIAL_WITHIN,
                check=False,
                env={"PATH": "/usr/bin:/bin"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode == 0 and (base / "home" / "written").exists():
            return ""
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it did not run"


def probe() -> Isolation:
    """Find out what keeps sessions apart here, by running a trial sandbox."""
    root = os.geteuid() == 0
    bwrap, setpriv = shutil.which("bwrap"), shutil.which("setpriv")
    why = "it is not installed"
    if bwrap and (setpriv or not root):
        why = _trial(bwrap, setpriv if root else None)
        if not why:
            return Isolation(
                kind="bubblewrap",
                reason="Each session sees its owner's files only.",
                bwrap=bwrap,
                setpriv=setpriv or "",
            )
    if root:
        return Isolation(
            kind="uids",
            reason=f"bubblewrap does not run here ({why}); sessions run as their owners' uids and"
            " see the machine's other files as far as permissions let them.",
        )
    return Isolation(
        kind="none",
        reason=f"bubblewrap does not run here ({why}); sessions of different users are not kept"
        " apart. Do not let others use this hub.",
    )
