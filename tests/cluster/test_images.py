"""Each of our images does a piece of real work in a pod, as somebody whom the image does not know.

The namespace enforces the restricted Pod Security, and the root of the file system is read-only.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Need
from tests.support.cluster import Cluster, ClusterError, images
from tests.support.hub import ROOT

pytestmark = pytest.mark.cluster

NAMESPACE = "canfar-test-images"
UID = 20001
SECONDS = 300.0
Built = Callable[[str], None]
ALONE = """\
import socket
try:
    socket.create_connection(("pypi.org", 443), timeout=2)
except OSError:
    pass
else:
    raise SystemExit("there is a network")
"""
"""Said before what an image does: from here nothing outside of the cluster is to be had."""


@pytest.fixture(scope="module")
def cluster(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with a namespace of its own for these pods."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    cluster.kubectl("apply", "--filename", "-", input=json.dumps(namespace))
    cluster.kubectl("wait", "--namespace", NAMESPACE, "--for=create", "serviceaccount/default")
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture
def built(need: Need) -> Built:
    """``built("hub")`` skips where that image is not in the registry as its sources are now."""

    def look(name: str) -> None:
        how = f"build it with: python3 -m tests.support.cluster.images {name}"
        need(f"image-{name}", images.is_ready(name), how)

    return look


def pod(name: str, command: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsUser": UID,
                "runAsGroup": UID,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "notebook",
                    "image": images.reference(name),
                    "imagePullPolicy": "Always",
                    **({"command": command} if command else {}),
                    "env": [{"name": "HOME", "value": "/tmp"}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def phase(cluster: Cluster, name: str) -> str:
    path = "jsonpath={.status.phase}"
    return cluster.kubectl("get", "pod", name, "--namespace", NAMESPACE, "--output", path)


def start(cluster: Cluster, name: str, command: list[str], until: set[str]) -> str:
    """Run a pod until it is in one of the phases, and give which."""
    cluster.kubectl("apply", "--filename", "-", input=json.dumps(pod(name, command)))
    deadline = time.monotonic() + SECONDS
    while (now := phase(cluster, name)) not in until | {"Succeeded", "Failed"}:
        if time.monotonic() > deadline:
            told = cluster.kubectl("describe", "pod", name, "--namespace", NAMESPACE)
            pytest.fail(f"{name} is {now} after {SECONDS:.0f} s:\n{told}")
        time.sleep(0.2)
    return now


def does_its_work(cluster: Cluster, name: str, *, before: str = "") -> None:
    script = ROOT / "images" / name / "tests" / "smoke.py"
    run = f"exec(compile({script.read_text()!r}, 'smoke.py', 'exec'), {{'__name__': '__main__'}})"
    ended = start(cluster, name, ["python3", "-c", f"{before}{run}"], set())
    told = cluster.kubectl("logs", name, "--namespace", NAMESPACE)
    assert ended == "Succeeded", told


@pytest.mark.parametrize("name", ["notebook", "astroml", "hub", "gateway"])
def test_the_image_does_its_work(cluster: Cluster, built: Built, name: str) -> None:
    built(name)
    does_its_work(cluster, name)


@pytest.mark.long
@pytest.mark.parametrize("name", ["casa", "desktop", "marimo", "webterminal"])
def test_an_image_does_its_work_without_a_network(
    cluster: Cluster, built: Built, name: str
) -> None:
    built(name)
    does_its_work(cluster, name, before=ALONE)


def test_the_probe_answers_and_ends_when_it_is_told_to(cluster: Cluster, built: Built) -> None:
    built("probe")
    assert start(cluster, "probe", [], {"Running"}) == "Running"
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5000/a').read().decode())"
    inside = ["exec", "probe", "--namespace", NAMESPACE, "--", "python3", "-c", ask]
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            answer = json.loads(cluster.kubectl(*inside))
        except ClusterError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            break
    assert answer["path"] == "/a"
    began = time.monotonic()
    cluster.kubectl("delete", "pod", "probe", "--namespace", NAMESPACE)
    # It would be killed after 30 seconds.
    assert time.monotonic() - began < 15


@pytest.mark.long
def test_make_images_pushes_to_the_registry_of_a_site(
    cluster: Cluster, built: Built, tmp_path: Path
) -> None:
    built("notebook")
    # Every step has been done there before, so that nothing is fetched.
    storage = tmp_path / "storage.conf"
    storage.write_text(
        "[storage]\n"
        'driver = "overlay"\n'
        f'graphroot = "{images.directory() / "storage"}"\n'
        f'runroot = "{images.directory() / "run"}"\n'
    )
    registry = f"{cluster.addresses.registry}/site"
    program = ["images/build.py", "--tool", "buildah", "--base", images.BASE]
    done = subprocess.run(
        cluster.enter(["python3", *program, "--registry", registry, "notebook"]),
        cwd=ROOT,
        env=cluster.environ() | {"CONTAINERS_STORAGE_CONF": str(storage)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tags = f"http://{cluster.addresses.registry}/v2/site/canfar-hub/notebook/tags/list"
    ask = f"import urllib.request as r; print(r.urlopen('{tags}').read().decode())"
    assert json.loads(cluster.command("python3", "-c", ask))["tags"] == ["26.11"]
