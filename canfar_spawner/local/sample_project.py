"""The sample data of the demo project, made at the first start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.local import environments
from canfar_spawner.site.users_file import Users

PROJECT = "demo"
_ENVIRONMENT = "astroml"
_SCRIPT = Path(__file__).parent / "sample" / "make_sample.py"
_MADE = "README.md"
"""Written last: where it is, the sample is complete."""
_WITHIN = 300.0


def provide(data: Path, policy: SitePolicy, users: Users, *, say: Callable[[str], None]) -> None:
    """Put the sample into the demo project, unless it is there or the project is not."""
    target = data / "arc" / "projects" / PROJECT
    groups = [project.group for project in policy.projects if project.name == PROJECT]
    if not groups or groups[0] not in users.groups or (target / _MADE).exists():
        return
    if not environments.is_ready(_ENVIRONMENT):
        return
    say("Making the sample data of the project demo …")
    target.mkdir(parents=True, exist_ok=True)
    python = environments.location(_ENVIRONMENT) / "bin" / "python"
    done = subprocess.run(
        [str(python), "-I", str(_SCRIPT), str(target)],
        capture_output=True,
        text=True,
        timeout=_WITHIN,
        check=False,
    )
    if done.returncode != 0:
        say(f"The sample data could not be made:\n{done.stderr[-1000:]}")
        return
    if os.geteuid() == 0:
        for path in (target, *target.rglob("*")):
            os.chown(path, 0, users.groups[groups[0]], follow_symlinks=False)
    for path in target.rglob("*"):
        path.chmod(0o2770 if path.is_dir() else 0o660)
