"""The session manager as the manifests deploy it: a pod of the hub's image, with its own account."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.conftest import Need
from tests.support.cluster import Cluster, images, site
from tests.support.cluster.site import HUB
from tests.support.hub import wait_for

pytestmark = pytest.mark.cluster

HERE = ("--namespace", HUB)
SECONDS = 180.0


def made(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": HUB},
        **more,
    }


def volume(cluster: Cluster) -> dict[str, Any]:
    """Give a directory of the node for the manager's claim; only its user may write there."""
    place = cluster.run / "sessions-data"
    place.mkdir(mode=0o700, exist_ok=True)
    os.chown(place, 1000, 1000)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "sessions-data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "20Gi"},
            "hostPath": {"path": str(place)},
            "claimRef": {"namespace": HUB, "name": "sessions"},
        },
    }


@pytest.fixture(scope="module")
def pod(cluster: Cluster, need: Need) -> Iterator[dict[str, Any]]:
    """Deploy it as a site does, and give its pod."""
    how = "build it with: python3 -m tests.support.cluster.images hub"
    need("image-hub", images.is_ready("hub"), how)
    objects = [
        volume(cluster),
        made("Secret", "canfar-sessions", stringData={"token": secrets.token_hex(32)}),
        made("ConfigMap", "canfar-site", data={"catalogue.yaml": yaml.safe_dump(site.catalogue())}),
    ]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "--filename", "-", input=given)
    # Nothing forwards the addresses of services on this cluster.
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    address = urlsplit(server)
    reached = (
        f"KUBERNETES_SERVICE_HOST={address.hostname}",
        f"KUBERNETES_SERVICE_PORT={address.port}",
    )
    cluster.kubectl("set", "env", "deployment/sessions", *HERE, *reached)
    cluster.kubectl("scale", "deployment/sessions", *HERE, "--replicas", "1")

    def ready() -> dict[str, Any] | None:
        chosen = ("--selector", "app.kubernetes.io/component=sessions", "--output", "json")
        for each in json.loads(cluster.kubectl("get", "pods", *HERE, *chosen))["items"]:
            for condition in each["status"].get("conditions", ()):
                if (condition["type"], condition["status"]) == ("Ready", "True"):
                    return dict(each)
        return None

    try:
        yield wait_for(ready, "the session manager's pod", seconds=SECONDS)
    finally:
        cluster.kubectl("scale", "deployment/sessions", *HERE, "--replicas", "0")
        site.prepare(cluster)


def log(cluster: Cluster, pod: dict[str, Any]) -> str:
    return cluster.kubectl("logs", *HERE, pod["metadata"]["name"])


def test_it_serves_and_is_nobody_in_particular(cluster: Cluster, pod: dict[str, Any]) -> None:
    address = f"http://{pod['status']['podIP']}:10101/services/sessions"
    answer = httpx.get(f"{address}/v1/openapi.json", timeout=30, trust_env=False)
    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.1")
    assert httpx.get(f"{address}/v1/session", timeout=30, trust_env=False).status_code in (401, 503)
    name = pod["metadata"]["name"]
    run = ("exec", *HERE, name, "--", "python3", "-c")
    assert cluster.kubectl(*run, "import os; print(os.getuid(), os.getgid())") == "1000 1000\n"
    tried = "import pathlib\ntry: pathlib.Path('/srv/x').touch()\nexcept OSError as e: print(e.strerror)"
    assert "Read-only" in cluster.kubectl(*run, tried)


def test_its_account_lets_it_follow_sessions(cluster: Cluster, pod: dict[str, Any]) -> None:
    wait_for(lambda: "The session manager serves" in log(cluster, pod), "it to begin")
    written = log(cluster, pod)
    assert "Forbidden" not in written
    assert "are not followed" not in written
    kept = cluster.run / "sessions-data" / "data"
    assert (kept / "sessions.sqlite").exists()
    assert kept.stat().st_mode & 0o777 == 0o700
