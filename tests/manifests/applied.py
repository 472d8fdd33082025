"""A real API server that a site's manifests have been applied to.

A cluster of somebody else's where ``CANFAR_TEST_KUBECONFIG`` names one, the running test cluster
where there is one (``CANFAR_CLUSTER``), else etcd and API server alone: admission, rights and
quotas need no more.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from canfar_spawner.local.environments import ROOT
from tests.support.apiserver import running_apiserver
from tests.support.cluster import Cluster
from tests.support.cluster.programs import program

Manifest = dict[str, Any]

MANIFESTS = ROOT / "hub_config" / "manifests"
HUB = "system:serviceaccount:canfar-hub:hub"
SESSIONS = "canfar-sessions"
STORAGE = "canfar-storage"
_DEADLINE = 60.0


def documents(*files: str) -> list[Manifest]:
    """Read manifests; without names all that a site applies."""
    names = files or tuple(
        yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    )
    return [
        document
        for name in names
        for document in yaml.safe_load_all((MANIFESTS / name).read_text())
        if document
    ]


def find(kind: str, name: str, namespace: str | None = None) -> Manifest:
    """Give one of the manifests."""
    (found,) = (
        each
        for each in documents()
        if each["kind"] == kind
        and each["metadata"]["name"] == name
        and each["metadata"].get("namespace") == namespace
    )
    return found


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    accepted: bool
    text: str

    def __bool__(self) -> bool:
        return self.accepted

    def object(self) -> Manifest:
        """Give what it made."""
        assert self.accepted, self.text
        made: Manifest = json.loads(self.text)
        return made


@dataclass(frozen=True)
class Site:
    """An API server with the manifests in it, as its administrator."""

    kubeconfig: Path
    cluster: Cluster | None

    def kubectl(self, *words: str, given: Any = None) -> Answer:
        """Run kubectl; gives an answer also where it failed."""
        command = [str(program("kubectl")), "--kubeconfig", str(self.kubeconfig), *words]
        environ = dict(os.environ)
        if self.cluster is not None:
            command, environ = self.cluster.enter(command), self.cluster.environ()
        done = subprocess.run(
            command,
            env=environ,
            input="" if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )
        failed = done.returncode != 0
        return Answer(not failed, done.stderr if failed else done.stdout)

    def apply(self, *objects: Manifest) -> None:
        """Apply objects and insist on it."""
        given = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        answer = self.kubectl("apply", "--filename", "-", given=given)
        assert answer.accepted, answer.text

    def post(self, path: str, what: Manifest, *, user: str = HUB) -> Answer:
        """Send an object to a path of the API, as the hub unless said otherwise."""
        identity = ("--as", user) if user else ()
        return self.kubectl("create", "--raw", path, "--filename", "-", *identity, given=what)

    def put(self, path: str, what: Manifest) -> Answer:
        """Replace an object by way of a path of the API, as the administrator."""
        return self.kubectl("replace", "--raw", path, "--filename", "-", given=what)

    def pod(self, pod: Manifest, namespace: str, *, user: str = HUB) -> Answer:
        """Ask whether a pod would be made: all of admission, and nothing is kept."""
        pod = copy.deepcopy(pod)
        pod["metadata"]["namespace"] = namespace
        return self.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod, user=user)

    def job(self, job: Manifest, namespace: str = STORAGE) -> Answer:
        """Ask whether a Job would be made."""
        job = copy.deepcopy(job)
        job["metadata"]["namespace"] = namespace
        return self.post(f"/apis/batch/v1/namespaces/{namespace}/jobs?dryRun=All", job)


def until(condition: Any, what: str) -> None:
    """Wait for what the API server does in its own time: it reads policies in the background."""
    end = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def _enter(cluster: Cluster | None, directory: Path) -> contextlib.AbstractContextManager[Path]:
    if cluster is not None:
        return contextlib.nullcontext(cluster.kubeconfig)
    if os.environ.get("CANFAR_TEST_KUBECONFIG"):
        return contextlib.nullcontext(Path(os.environ["CANFAR_TEST_KUBECONFIG"]))

    @contextlib.contextmanager
    def alone() -> Iterator[Path]:
        with running_apiserver(directory) as server:
            yield server.kubeconfig

    return alone()


@contextlib.contextmanager
def applied(directory: Path) -> Iterator[Site]:
    """Have the manifests applied.

    Parameters
    ----------
    directory : Path
        For the data of an API server, where one is started.
    """
    foreign = os.environ.get("CANFAR_TEST_KUBECONFIG")
    cluster = Cluster.load() if os.environ.get("CANFAR_CLUSTER") and not foreign else None
    with _enter(cluster, directory) as kubeconfig:
        site = Site(kubeconfig, cluster)
        answer = site.kubectl("apply", "--kustomize", str(MANIFESTS))
        assert answer.accepted, answer.text
        yield site
