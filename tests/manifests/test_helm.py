"""The chart of Zero to JupyterHub with our values, rendered; nothing is installed."""

from __future__ import annotations

import base64
import os
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from canfar_spawner.local.environments import ROOT
from tests.manifests.applied import Manifest, documents
from tests.support.cluster.programs import missing, program

VALUES = ROOT / "hub_config" / "helm" / "values.yaml"
FILES = {
    "users": "hub_config/users.yaml",
    "oidc": "hub_config/auth/oidc.py",
}


def chart() -> Path | None:
    named = os.environ.get("CANFAR_Z2JH_CHART")
    path = (ROOT / named).resolve() if named else None
    return path if path and (path / "Chart.yaml").exists() else None


@pytest.fixture(scope="module")
def rendered(need: Callable[[str, bool, str], None]) -> list[Manifest]:
    need("chart", chart() is not None, "name its directory in CANFAR_Z2JH_CHART")
    need("helm", not missing(("helm",)), "build it with: make cluster")
    given = [f"--set-file=hub.extraFiles.{name}.stringData={path}" for name, path in FILES.items()]
    done = subprocess.run(
        [
            str(program("helm")),
            "template",
            "canfar",
            str(chart()),
            "--namespace=canfar-hub",
            # Built without its version Helm takes the cluster for an old one.
            "--kube-version=1.36.3",
            f"--values={VALUES}",
            *given,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def one(rendered: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (
        each for each in rendered if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return found


def values(rendered: list[Manifest]) -> dict[str, Any]:
    """Give the values as the hub reads them."""
    data = one(rendered, "Secret", "hub")["data"]
    found: dict[str, Any] = yaml.safe_load(base64.b64decode(data["values.yaml"]))
    return found


def test_the_chart_is_of_the_line_that_the_values_are_for() -> None:
    directory = chart()
    if directory is None:
        pytest.skip("chart is missing; name its directory in CANFAR_Z2JH_CHART")
    version = yaml.safe_load((directory / "Chart.yaml").read_text())["version"]
    assert version.startswith("4.4.")


def test_the_chart_makes_no_rights_and_no_privileges(rendered: list[Manifest]) -> None:
    kinds = {each["kind"] for each in rendered}
    assert kinds == {
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Secret",
        "Service",
    }
    assert {each["metadata"]["name"] for each in rendered if each["kind"] == "Deployment"} == {
        "hub",
        "proxy",
    }


def test_nothing_of_the_chart_has_the_name_of_ours(rendered: list[Manifest]) -> None:
    ours = {
        (each["kind"], each["metadata"]["name"])
        for each in documents()
        if each["metadata"].get("namespace") == "canfar-hub"
    }
    assert not ours & {(each["kind"], each["metadata"]["name"]) for each in rendered}


def test_the_hub_is_ours_with_the_account_of_the_manifests(rendered: list[Manifest]) -> None:
    spec = one(rendered, "Deployment", "hub")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container["image"] == f"registry.example.org/canfar-hub/hub:{version}"
    assert spec["serviceAccountName"] == "hub"
    # The account itself gives its token to no pod that does not ask.
    assert spec["automountServiceAccountToken"] is True
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    for name in ("site", "users.yaml", "oidc.py"):
        assert f"/usr/local/etc/canfar/{name}" in mounted


@pytest.mark.parametrize("name", ["hub", "proxy"])
def test_policies_of_the_network_find_the_charts_pods(rendered: list[Manifest], name: str) -> None:
    labels = one(rendered, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == name


def test_sessions_reach_the_hub(rendered: list[Manifest]) -> None:
    rules = one(rendered, "NetworkPolicy", "hub")["spec"]["ingress"]
    (ours,) = (rule for rule in rules for each in rule["from"] if "namespaceSelector" in each)
    selector = ours["from"][0]["namespaceSelector"]["matchLabels"]
    assert selector == {"kubernetes.io/metadata.name": "canfar-sessions"}
    assert ours["ports"] == [{"protocol": "TCP", "port": 8081}]
    hub = values(rendered)["hub"]["config"]["JupyterHub"]
    assert hub["hub_connect_url"] == "http://hub.canfar-hub:8081"
    assert one(rendered, "Service", "hub")["spec"]["ports"][0]["port"] == 8081


def test_what_must_differ_from_the_chart_does(rendered: list[Manifest]) -> None:
    found = values(rendered)
    assert found["hub"]["config"]["JupyterHub"]["spawner_class"] == "canfar"
    assert found["hub"]["config"]["JupyterHub"]["authenticator_class"] == "null"
    assert found["hub"]["consecutiveFailureLimit"] == 0
    user = found["singleuser"]
    # Helm leaves out what is null.
    assert user.get("fsGid") is None
    assert user.get("uid") is None
    assert user["memory"].get("guarantee") is None
    assert user["storage"]["type"] == "none"
    assert user["cloudMetadata"]["blockWithIptables"] is False
    assert user["networkPolicy"]["enabled"] is False
    assert user["startTimeout"] == 900
    assert found["cull"]["enabled"] is False
    assert found["rbac"]["create"] is False
    assert found["scheduling"]["userScheduler"]["enabled"] is False


def test_no_value_is_a_secret() -> None:
    environment = yaml.safe_load(VALUES.read_text())["hub"]["extraEnv"]
    for name, value in environment.items():
        if "SECRET" in name or "KEY" in name or "TOKEN" in name:
            assert set(value["valueFrom"]) == {"secretKeyRef"}


def test_the_configuration_is_python() -> None:
    source = yaml.safe_load(VALUES.read_text())["hub"]["extraConfig"]["canfar"]
    compile(source, "canfar", "exec")
