"""The sample data of the demo project, made at the first start."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.local import environments
from canfar_spawner.local.provision import Provisioner
from canfar_spawner.site.directories import open_directory
from canfar_spawner.site.users_file import Users

PROJECT = "demo"
_ENVIRONMENT = "astroml"
_SCRIPT = Path(__file__).parent / "sample" / "make_sample.py"
_MADE = "README.md"
"""Written last: where it is, the sample is complete."""
FILES = frozenset(
    {
        *(f"field_{band}.fits" for band in "gri"),
        *("line_cube.fits", "sources.fits", "sources.csv", "measure_sources.ipynb", _MADE),
    }
)
_PARTIAL = re.compile(r"\.(?P<name>.+)\.\d+")
"""What a killed script leaves of a file."""
_WITHIN = 300.0


def _may_be_made(target: Path) -> bool:
    """Say whether a directory holds nothing, or part of a sample; anything else is its users'."""
    try:
        directory = open_directory(target)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    try:
        with os.scandir(directory) as entries:
            there = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except FileNotFoundError:
        # Somebody works in it.
        return False
    finally:
        os.close(directory)
    return _MADE not in there and all(_is_ours(name, found) for name, found in there.items())


def _is_ours(name: str, found: os.stat_result) -> bool:
    partial = _PARTIAL.fullmatch(name)
    return (
        (partial["name"] if partial else name) in FILES
        and stat.S_ISREG(found.st_mode)
        and found.st_uid == os.geteuid()
    )


def provide(data: Path, policy: SitePolicy, users: Users, *, say: Callable[[str], None]) -> None:
    """Put the sample into the demo project, unless the project is in use or is not there."""
    groups = [project.group for project in policy.projects if project.name == PROJECT]
    if not groups or groups[0] not in users.groups:
        return
    if not environments.is_ready(_ENVIRONMENT):
        return
    provisioner = Provisioner(data)
    gid = users.groups[groups[0]]
    python = environments.location(_ENVIRONMENT) / "bin" / "python"
    try:
        if not _may_be_made(provisioner.projects / PROJECT):
            return
        say("Making the sample data of the project demo …")
        provisioner.projects.mkdir(parents=True, exist_ok=True)
        target = provisioner.project(PROJECT, gid)
        # Only root may give files to a group that it is not in.
        owner = ("--gid", str(gid)) if os.geteuid() == 0 else ()
        done = subprocess.run(
            [str(python), "-I", str(_SCRIPT), *owner, "--", str(target)],
            capture_output=True,
            text=True,
            timeout=_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"The sample data could not be made: {error}")
        return
    if done.returncode != 0:
        say(f"The sample data could not be made:\n{done.stderr[-1000:]}")
