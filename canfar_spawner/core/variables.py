"""What a session is told: its environment, its accounts, and its Jupyter server's configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.pods import SiteVolume
from canfar_spawner.core.resources import GIB, number
from canfar_spawner.core.storage import ARC_PROJECTS, Area

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "JULIA_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a session sees its storage: the true paths in a sandbox, else the host's own."""

    home: str
    projects: str
    """The directory that holds the projects."""
    scratch: str
    private: str
    """The session's own directory, for runtime, cache and log files; never in the home."""
    files: str
    """What JupyterLab shows: links to home, projects and scratch."""


def suggestions(plan: SessionPlan, places: Places) -> dict[str, str]:
    """Give what a session's programs are told unless its owner tells them something else."""
    return {
        **dict.fromkeys(_THREADS, str(plan.resources.threads)),
        "LANG": "C.UTF-8",
        "MPLCONFIGDIR": str(PurePosixPath(places.private) / "cache" / "matplotlib"),
        # JupyterLab asks npm for its directories, and npm logs that it was asked.
        "npm_config_cache": str(PurePosixPath(places.private) / "cache" / "npm"),
    }


def environment(
    plan: SessionPlan, places: Places, *, path: str = "", volumes: tuple[SiteVolume, ...] = ()
) -> dict[str, str]:
    """Give a session's environment, without the hub's own and the owner's variables.

    Runtime, cache and log files lie outside the home, so that a full home still starts.

    Parameters
    ----------
    plan : SessionPlan
    places : Places
    path : str
        Where its programs are; empty leaves an image's own.
    volumes : tuple of SiteVolume
        What every session of the site has besides.
    """
    resources = plan.resources
    private = PurePosixPath(places.private)
    projects = [mount.name for mount in plan.storage.find(Area.PROJECT)]
    return {
        "CANFAR_CORES": number(resources.cores_limit),
        "CANFAR_HOME": places.home,
        "CANFAR_MEMORY_GB": str(resources.memory_limit // GIB),
        "CANFAR_PROJECTS": " ".join(projects),
        "CANFAR_PROJECTS_DIR": places.projects,
        "CANFAR_SCRATCH": places.scratch,
        "CANFAR_SESSION_ENDS": f"{plan.ends:%Y-%m-%dT%H:%M:%SZ}",
        "CANFAR_SESSION_ID": plan.session,
        "CANFAR_SESSION_KIND": plan.kind,
        "CANFAR_SESSION_MODE": resources.allocation,
        "CANFAR_SESSION_NAME": plan.name,
        "CANFAR_STORAGE": storage_facts(plan, volumes),
        "HOME": places.home,
        "JUPYTER_CONFIG_PATH": str(private / "etc"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "LOGNAME": plan.owner,
        **({"PATH": path} if path else {}),
        "SHELL": "/bin/bash",
        "USER": plan.owner,
        "XDG_CACHE_HOME": str(private / "cache"),
    }


def storage_facts(plan: SessionPlan, volumes: tuple[SiteVolume, ...] = ()) -> str:
    """Give what a session may say of its storage, as JSON.

    What becomes of each area's files, and where the other sessions of its owner find them.
    """
    storage = plan.storage
    facts: dict[str, dict[str, object]] = {}
    for name, area, arc in (
        ("home", Area.HOME, storage.home),
        ("projects", Area.PROJECT, ARC_PROJECTS),
        ("scratch", Area.SCRATCH, ""),
    ):
        for mount in storage.find(area)[:1]:
            facts[name] = {"persistence": mount.persistence, **({"arc": arc} if arc else {})}
    for mount in storage.find(Area.CVMFS):
        facts["cvmfs"] = {
            "title": "CVMFS",
            "path": mount.path,
            "persistence": mount.persistence,
            "read_only": mount.read_only,
        }
    for volume in volumes:
        # What becomes of its files is the site's affair, and not promised anywhere.
        name = volume.name
        facts[f"site-{name}"] = {"title": name, "path": volume.path, "read_only": volume.read_only}
    return json.dumps(facts)


def jupyter_config(places: Places) -> str:
    """Configure the Jupyter server of a session, as JSON."""
    return json.dumps(
        {
            "ServerApp": {
                "root_dir": places.files,
                "preferred_dir": f"{places.files}/home",
                # Moving to the trash would copy whole files across file systems.
                "contents_manager_class": "jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager",
            },
            "AsyncLargeFileManager": {"delete_to_trash": False},
            "NotebookNotary": {
                "db_file": f"{places.private}/signatures.db",
                "secret_file": f"{places.private}/signatures.secret",
            },
            "LabApp": {
                "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
                "news_url": None,
                "extension_manager": "readonly",
            },
        },
        indent=1,
    )


_SHARED = """\
import os

os.umask(0o002)
os.makedirs({files!r}, exist_ok=True)
for name, target in {links!r}.items():
    path = os.path.join({files!r}, name)
    if os.path.isdir(target) and not os.path.islink(path):
        os.symlink(target, path)
"""

_ROOM = """\
import os
import tempfile

place = os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython")
try:
    os.makedirs(place, exist_ok=True)
    with tempfile.TemporaryFile(dir=place) as file:
        file.write(bytes(65536))
except OSError:
    os.environ["IPYTHONDIR"] = {instead!r}
"""


def kernel_room(places: Places) -> str:
    """Give what the Jupyter server of a session runs at its start, as its user.

    IPython's profile is its owner's and lies in the home; in a full one no kernel would start.
    """
    return _ROOM.format(instead=f"{places.private}/ipython")


def files_view(places: Places) -> str:
    """Give what the Jupyter server of a pod runs at its start, as its user.

    What it makes in a project is its group's to change, and its root is a view of three links.
    """
    links = {"home": places.home, "projects": places.projects, "scratch": places.scratch}
    return _SHARED.format(files=places.files, links=links)


def account_files(plan: SessionPlan) -> tuple[str, str]:
    """Write the passwd and group files that a session sees: its own user, and nobody."""
    identity = plan.identity
    passwd = [
        "root:x:0:0:root:/root:/usr/sbin/nologin",
        f"{identity.name}:x:{identity.uid}:{identity.group.gid}::{plan.storage.home}:/bin/bash",
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    ]
    groups = {group.gid: group.name for group in (*identity.groups, identity.group)}
    group = ["root:x:0:", *(f"{name}:x:{gid}:" for gid, name in groups.items()), "nogroup:x:65534:"]
    return "\n".join([*passwd, ""]), "\n".join([*group, ""])
