"""A real API server that a site's manifests have been applied to.

A cluster of somebody else's where ``CANFAR_TEST_KUBECONFIG`` names one, the running test cluster
where there is one (``CANFAR_CLUSTER``), else etcd and API server alone: admission, rights and
quotas need no more.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from canfar_spawner.local.environments import ROOT
from tests.support.apiserver import running_apiserver
from tests.support.cluster import Cluster
from tests.support.cluster.programs import program
from tests.support.cluster.site import APPLIED

Manifest = dict[str, Any]

MANIFESTS = ROOT / "hub_config" / "manifests"
HUB = "system:serviceaccount:canfar-hub:hub"
MANAGER = "system:serviceaccount:canfar-hub:sessions"
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
    requests: httpx.Client | None = None
    """For what needs no more than a request: a process of kubectl's takes fifty times as long."""

    def _send(self, method: str, path: str, what: Manifest, user: str) -> Answer | None:
        """Send an object to a path of the API; None where only kubectl knows how to sign in."""
        if self.requests is None:
            return None
        headers = {"Impersonate-User": user} if user else {}
        answer = self.requests.request(method, path, json=what, headers=headers)
        if answer.is_success:
            return Answer(accepted=True, text=answer.text)
        return Answer(accepted=False, text=str(answer.json()["message"]))

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
        sent = self._send("POST", path, what, user)
        if sent is not None:
            return sent
        identity = ("--as", user) if user else ()
        return self.kubectl("create", "--raw", path, "--filename", "-", *identity, given=what)

    def put(self, path: str, what: Manifest) -> Answer:
        """Replace an object by way of a path of the API, as the administrator."""
        sent = self._send("PUT", path, what, "")
        if sent is not None:
            return sent
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


def _requests(kubeconfig: Path, directory: Path) -> httpx.Client | None:
    """Give a connection as the administrator, where a key or a token is all that it takes."""
    content = yaml.safe_load(kubeconfig.read_text())
    server, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cafile=server.get("certificate-authority"))
    if "certificate-authority-data" in server:
        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
    headers = {}
    if user.get("token"):
        headers["Authorization"] = f"Bearer {user['token']}"
    elif "client-key-data" in user:
        identity = directory.with_name(f"{directory.name}-identity.pem")
        identity.touch(mode=0o600)
        for part in ("client-certificate-data", "client-key-data"):
            with identity.open("ab") as file:
                file.write(base64.b64decode(user[part]))
        context.load_cert_chain(identity)
    else:
        return None
    return httpx.Client(
        base_url=server["server"],
        verify=context,
        headers=headers,
        timeout=_DEADLINE,
        trust_env=False,
    )


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
        site = Site(kubeconfig, cluster, None if foreign else _requests(kubeconfig, directory))
        answer = site.kubectl("apply", "--kustomize", str(APPLIED))
        assert answer.accepted, answer.text
        yield site
