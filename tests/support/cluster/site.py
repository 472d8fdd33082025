"""A site on the test cluster: its namespaces, its storage, the hub's account, its catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from canfar_spawner.local.environments import ROOT
from tests.support.cluster.cluster import Cluster

SESSIONS = "canfar-sessions"
STORAGE = "canfar-storage"
HUB = "canfar-hub"
MANIFESTS = ROOT / "hub_config" / "manifests"
APPLIED = ROOT / "tests" / "support" / "cluster" / "overlay"
"""The manifests of a site, with no session manager beside the one of the tests."""
PROBE_SIZES = {
    "cores": [0.1, 0.5, 1, 2, 64],
    "memory": [1, 2, 4],
    "gpus": [0, 1],
    "flexible": {"cores_request": 0.05, "cores_limit": 2, "memory_request": 1, "memory_limit": 4},
}
"""Small enough that several sessions fit on one machine of two cores."""


FIVE_LINES = """\
- name: docs
  description: What Debian says of its packages, by a web server that knows nothing of us.
  kinds: [contributed]
  image: canfar-hub/webfs
  versions: [{name: "1"}]
"""
"""All that an administrator writes for an image of somebody else's with a page on a port."""


def storage(namespace: str, arc: Path) -> list[dict[str, Any]]:
    """Give a claim of the directory that stands for the shared file system."""
    name = f"arc-{namespace}"
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                **common,
                "capacity": {"storage": "1Ti"},
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(arc), "type": "DirectoryOrCreate"},
                "claimRef": {"namespace": namespace, "name": "arc"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "arc", "namespace": namespace},
            "spec": {
                **common,
                "volumeName": name,
                "resources": {"requests": {"storage": "1Ti"}},
            },
        },
    ]


def prepare(cluster: Cluster) -> None:
    """Apply what a site applies, with storage of this machine; safe to repeat."""
    cluster.kubectl("apply", "--kustomize", str(APPLIED))
    cluster.arc.mkdir(mode=0o755, exist_ok=True)
    objects = [*storage(SESSIONS, cluster.arc), *storage(STORAGE, cluster.arc)]
    content = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--filename", "-", input=json.dumps(content))


def account_kubeconfig(
    cluster: Cluster, path: Path, *, account: str = "hub", server: str | None = None
) -> Path:
    """Write a kubeconfig with the rights of an account of the platform's, and no others.

    Parameters
    ----------
    cluster : Cluster
    path : Path
    account : str, optional
        ``hub`` or ``sessions``.
    server : str, optional
        Another address of the API server, such as a proxy's.
    """
    token = cluster.kubectl("create", "token", account, "--namespace", HUB, "--duration", "24h")
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["users"] = [{"name": account, "user": {"token": token.strip()}}]
    reached = {"cluster": content["clusters"][0]["name"], "user": account}
    content["contexts"] = [{"name": account, "context": reached}]
    content["current-context"] = account
    if server is not None:
        content["clusters"][0]["cluster"] = {"server": server}
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    return path


def probe(name: str, **changes: Any) -> dict[str, Any]:
    """Give a container that is a program of a few lines, and that may stand for JupyterLab."""
    return {
        "name": name,
        "title": name.capitalize(),
        "description": "A program of a few lines, for tests.",
        "icon": "notebook",
        "kinds": ["notebook", "headless"],
        "image": "canfar-hub/probe",
        "versions": [{"name": "1", "recommended": True}],
        "entry": "direct",
        **changes,
    }


def catalogue(**changes: Any) -> dict[str, Any]:
    """Give the project's own catalogue with small sizes and containers for tests.

    Parameters
    ----------
    **changes
        Sections that replace those of the file.
    """
    content: dict[str, Any] = yaml.safe_load((ROOT / "hub_config/catalogue.yaml").read_text())
    broken = {"cmd": ["/bin/sh", "-c", "echo nothing works here; exit 3"]}
    missing = [{"name": "no-such-tag", "recommended": True}]
    content["catalogue"]["containers"] += [
        probe("probe", aliases=["images.canfar.net/skaha/probe"]),
        probe("broken", kubespawner_override=broken),
        probe("missing", versions=missing),
        probe("private", image="private.example.org/canfar-hub/probe"),
        probe("staff", groups=["survey"]),
        probe("board", kinds=["contributed"], entry="gateway"),
        *yaml.safe_load(FIVE_LINES),
    ]
    content["images"]["sources"].append("private.example.org/canfar-hub")
    content["resources"] = {"default": PROBE_SIZES}
    content["limits"] = {"interactive": 20}
    content["storage"]["scratch_gb"] = 2
    content["pods"] = {"unschedulable_seconds": 20, "gpu_resource": "example.org/gpu"}
    return {**content, **changes}


def write_content(path: Path, content: dict[str, Any]) -> Path:
    """Write a catalogue to a file."""
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def write_catalogue(path: Path, **changes: Any) -> Path:
    """Write the tests' catalogue to a file."""
    return write_content(path, catalogue(**changes))
