"""The manifests of a site agree with the code and with the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from canfar_spawner.core.pods import ArcPolicy, PodsPolicy
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.kubernetes import manifests as made
from canfar_spawner.kubernetes.provisioner import WORK
from canfar_spawner.kubernetes.sessions import LISTEN
from canfar_spawner.kubernetes.settings import SESSIONS_ADDRESS
from canfar_spawner.kubernetes.sidecar import gateway_image
from canfar_spawner.kubernetes.told import PORT
from canfar_spawner.local.environments import ROOT
from tests.manifests.applied import MANIFESTS, SESSIONS, STORAGE, documents, find

CATALOGUE: dict[str, Any] = yaml.safe_load((ROOT / "hub_config/catalogue.yaml").read_text())
PARAMETERS: dict[str, str] = find("ConfigMap", "canfar-admission", "canfar-hub")["data"]


def test_everything_is_applied_or_optional() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    files = {path.name for path in MANIFESTS.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed) == files
    assert listed[0] == "namespaces.yaml"


def test_nothing_has_the_name_of_something_else() -> None:
    names = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in documents()
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("namespace", "level"),
    [(SESSIONS, "restricted"), ("canfar-hub", "restricted"), (STORAGE, "baseline")],
)
def test_pod_security_is_enforced(namespace: str, level: str) -> None:
    labels = find("Namespace", namespace)["metadata"]["labels"]
    for way in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{way}"] == level


@pytest.mark.parametrize("name", [SESSIONS, STORAGE])
def test_a_policy_that_fails_denies(name: str) -> None:
    policy = find("ValidatingAdmissionPolicy", name)["spec"]
    binding = find("ValidatingAdmissionPolicyBinding", name)["spec"]
    assert policy["failurePolicy"] == "Fail"
    assert binding["policyName"] == name
    assert binding["validationActions"] == ["Deny"]
    assert binding["paramRef"]["parameterNotFoundAction"] == "Deny"
    assert all(rule["message"].endswith(".") for rule in policy["validations"])


def test_the_rules_know_the_labels_that_pods_have() -> None:
    text = (MANIFESTS / "admission-sessions.yaml").read_text()
    ours = (made.INSTANCE, made.LAUNCH, made.SESSION, made.OWNER, made.UID, made.KIND, made.MODE)
    for name in ours:
        assert name.startswith(f"{made.PREFIX}/")
        assert f"'{name.removeprefix(f'{made.PREFIX}/')}'" in text
    assert made.USERNAME in text
    assert WORK in (MANIFESTS / "admission-storage.yaml").read_text()


def test_the_parameters_are_the_defaults_of_the_catalogue() -> None:
    arc = ArcPolicy()
    assert PARAMETERS["arc"] == arc.claim == arc.storage_claim
    assert (PARAMETERS["homes"], PARAMETERS["projects"]) == (arc.homes, arc.projects)
    assert (PodsPolicy().namespace, arc.namespace) == (SESSIONS, STORAGE)


def test_what_the_catalogue_offers_may_run() -> None:
    allowed = set(PARAMETERS["images"].split())
    assert set(CATALOGUE["images"]["sources"]) <= allowed
    registry = CATALOGUE["catalogue"]["registry"]
    for container in CATALOGUE["catalogue"]["containers"]:
        project = container["image"].split("/")[0]
        assert f"{registry}/{project}" in allowed
    assert PARAMETERS["provisioner"].split() == [f"{registry}/canfar-hub/hub"]
    (gateway,) = PARAMETERS["gateway"].split()
    assert gateway_image(SitePolicy.model_validate(CATALOGUE)).startswith(f"{gateway}:")


def test_the_one_port_that_is_let_in_is_the_gateways() -> None:
    (rule,) = find("NetworkPolicy", "hub-and-proxy-to-sessions", SESSIONS)["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": PORT}]


def test_no_role_has_everything_of_anything() -> None:
    for each in documents():
        for rule in each.get("rules", ()) if each["kind"] == "Role" else ():
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


def test_a_limit_range_gives_no_container_a_limit() -> None:
    # It would end the class that a pod has by its own resources.
    (limits,) = find("LimitRange", "sessions", SESSIONS)["spec"]["limits"]
    assert limits["type"] == "Pod"
    assert set(limits) == {"type", "max"}


def test_neither_priority_ends_a_running_pod() -> None:
    classes = [each for each in documents() if each["kind"] == "PriorityClass"]
    assert {each["metadata"]["name"] for each in classes} == {
        "canfar-interactive",
        "canfar-batch",
    }
    assert {each["preemptionPolicy"] for each in classes} == {"Never"}
    assert not any(each.get("globalDefault") for each in classes)


def test_storage_is_the_same_in_both_namespaces() -> None:
    pattern = documents("optional/arc.yaml")
    volumes = {
        each["metadata"]["name"]: each["spec"]
        for each in pattern
        if each["kind"] == "PersistentVolume"
    }
    claims = [each for each in pattern if each["kind"] == "PersistentVolumeClaim"]
    assert {each["metadata"]["namespace"] for each in claims} == {SESSIONS, STORAGE}
    for claim in claims:
        volume = volumes[claim["spec"]["volumeName"]]
        assert claim["metadata"]["name"] == PARAMETERS["arc"]
        assert volume["claimRef"]["namespace"] == claim["metadata"]["namespace"]
        assert volume["persistentVolumeReclaimPolicy"] == "Retain"
    first, second = volumes.values()
    assert first["nfs"] == second["nfs"]


# The session manager.


def manager() -> dict[str, Any]:
    spec: dict[str, Any] = find("Deployment", "sessions", "canfar-hub")["spec"]
    return spec


def test_there_is_one_session_manager_and_never_two() -> None:
    assert manager()["replicas"] == 1
    assert manager()["strategy"] == {"type": "Recreate"}


def test_the_session_manager_runs_as_nobody_in_particular() -> None:
    pod = manager()["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["serviceAccountName"] == "sessions"
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_the_session_manager_is_the_hubs_image_and_gets_no_plain_secret() -> None:
    (container,) = manager()["template"]["spec"]["containers"]
    image = yaml.safe_load((ROOT / "hub_config/helm/values.yaml").read_text())["hub"]["image"]
    assert container["image"] == f"{image['name']}:{image['tag']}"
    plain = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    assert not [name for name in plain if name.endswith(("_TOKEN", "_DATABASE", "_PASSWORD"))]


def test_hub_and_session_manager_agree() -> None:
    (container,) = manager()["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    hub = yaml.safe_load((ROOT / "hub_config/helm/values.yaml").read_text())["hub"]["extraEnv"]
    for name in ("CANFAR_HUB_URL", "CANFAR_HUB_ORIGINS"):
        assert given[name] == hub[name]
    service = find("Service", "sessions", "canfar-hub")
    (port,) = service["spec"]["ports"]
    where = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}"
    assert f"{where}:{port['port']}" == SESSIONS_ADDRESS
    assert LISTEN.endswith(f":{container['ports'][0]['containerPort']}")
    pod = manager()["template"]
    assert service["spec"]["selector"] == manager()["selector"]["matchLabels"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (secret,) = (each["secret"] for each in pod["spec"]["volumes"] if "secret" in each)
    token = hub["CANFAR_SESSIONS_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert (secret["secretName"], secret["items"][0]["key"]) == (token["name"], token["key"])
