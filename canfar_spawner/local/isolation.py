"""What can keep sessions apart on this machine, found out by trying."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from canfar_spawner.local.sandbox import SandboxView, SystemEntry, bwrap_argv

Kind = Literal["bubblewrap", "uids", "none"]

_NOBODY = 65534
_TRIAL_WITHIN = 20.0
_TRIAL = "cat /proc/self/status && : > /files/home/written && ! touch /written 2> /dev/null"
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_VISIBLE = ("/usr", "/etc", *_SYSTEM)
_MOST_LINKS = 40
_RESOLVER = Path("/etc/resolv.conf")
_PARTS_OF_PYTHON = ("bin", "lib", "lib64", "include")


@dataclass(frozen=True, slots=True)
class Isolation:
    """What keeps sessions apart.

    ``bubblewrap``: each has a view of its own. ``uids``: the hub is root and gives each its
    owner's ids, no more. ``none``: all run as the hub's own user.
    """

    kind: Kind
    reason: str
    """A sentence for the log and, where it is a warning, for pages."""
    bwrap: str = ""
    setpriv: str = ""


def system_entries() -> tuple[SystemEntry, ...]:
    """Say how this host lays out ``/bin``, ``/lib`` and their like.

    The file that names the name servers is among them where ``/etc`` only links to it.
    """
    found = []
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            found.append(SystemEntry(path=name, target=str(path.readlink())))
        elif path.is_dir():
            found.append(SystemEntry(path=name, target=None))
    resolver = _RESOLVER.resolve()
    if resolver.is_file() and not is_visible(resolver):
        found.append(SystemEntry(path=str(resolver), target=None))
    return tuple(found)


def is_visible(path: Path) -> bool:
    """Say whether every view shows a path anyway."""
    return any(path.is_relative_to(shown) for shown in _VISIBLE)


def _links(path: Path) -> Iterator[Path]:
    """Follow a link step by step, since each step must be there in a view; ends at the file."""
    yield path
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return
        path = Path(os.path.normpath(path.parent.resolve() / path.readlink()))
        yield path


def _installation(python: Path) -> list[Path]:
    """Give what a Python needs that is started by a path; a lone link needs nothing else."""
    prefix = python.parent.parent
    if not any(prefix.glob("lib*/python3*/os.py")):
        return [python]
    home = Path.home()
    if home == prefix or home.is_relative_to(prefix):
        # A Python installed straight into a home must not show the home to everybody.
        return [prefix / part for part in _PARTS_OF_PYTHON if (prefix / part).exists()]
    return [prefix]


def _needs(environment: Path) -> Iterator[Path]:
    """Give what an environment needs, itself first."""
    yield environment
    config = environment / "pyvenv.cfg"
    if config.is_file():
        for line in config.read_text().splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home" and value.strip():
                yield from _installation(Path(value.strip()) / "python3")
    for step in _links(environment / "bin" / "python"):
        if not step.is_relative_to(environment):
            yield from _installation(step)


def python_roots(prefixes: Iterable[Path]) -> tuple[str, ...]:
    """Give what of this host must be visible for environments of Python to run.

    Parameters
    ----------
    prefixes : iterable of Path
        Directories of virtual environments, or of installations.

    Returns
    -------
    tuple of str
        Paths outside what every view shows anyway, none within another: the environments, and
        the installations that their interpreters belong to, under every path that leads there.
    """
    found: set[Path] = set()
    for prefix in prefixes:
        for path in _needs(prefix.absolute()):
            found |= {path, path.resolve()}
    outside = {path for path in found if path.exists() and not is_visible(path)}
    return tuple(
        str(path)
        for path in sorted(outside)
        if not any(path != other and path.is_relative_to(other) for other in outside)
    )


def _trial(bwrap: str, setpriv: str | None) -> str:
    """Run a program in a sandbox; gives why that failed, or nothing."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for part in ("home", "scratch", "session"):
            (base / part).mkdir()
            if setpriv:
                os.chown(base / part, _NOBODY, _NOBODY)
        (base / "passwd").write_text("nobody:x:65534:65534::/:/bin/sh\n")
        (base / "group").write_text("nogroup:x:65534:\n")
        view = SandboxView(
            bwrap=bwrap,
            setpriv=setpriv,
            uid=_NOBODY if setpriv else None,
            gid=_NOBODY if setpriv else None,
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
        try:
            done = subprocess.run(
                bwrap_argv(view, ["/bin/sh", "-c", _TRIAL]),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TRIAL_WITHIN,
                check=False,
                env={"PATH": "/usr/bin:/bin"},
            )
        except subprocess.TimeoutExpired:
            return f"it did not end within {_TRIAL_WITHIN:.0f} seconds"
        except OSError as error:
            return f"{error.filename}: {error.strerror}"
        if done.returncode != 0 or not (base / "home" / "written").exists():
            return (
                done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
            )[-1]
        return _privileges(done.stdout, _NOBODY if setpriv else os.geteuid())


def _privileges(status: str, uid: int) -> str:
    """Say what privileges a program of a trial still had, or nothing."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if set(fields["Uid"].split()) != {str(uid)}:
        return "a session would not run as its own user"
    if int(fields["CapEff"], 16) or int(fields["CapPrm"], 16):
        return "a session would keep privileges of the hub"
    return "" if fields["NoNewPrivs"].strip() == "1" else "a session could gain privileges"


def probe(bwrap: str | None = None, setpriv: str | None = None) -> Isolation:
    """Find out what keeps sessions apart here, by running a trial sandbox as sessions would.

    Parameters
    ----------
    bwrap, setpriv : str, optional
        The programs to try; those on the path where left out.

    Returns
    -------
    Isolation
    """
    root = os.geteuid() == 0
    bwrap = bwrap or shutil.which("bwrap")
    setpriv = setpriv or shutil.which("setpriv")
    if bwrap is None:
        why = "it is not installed"
    elif root and setpriv is None:
        why = "setpriv is not installed"
    else:
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
