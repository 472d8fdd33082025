"""What the accounts of hub and session manager may do: what `rights.json` says, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.applied import (
    HUB,
    MANAGER,
    MANIFESTS,
    SESSIONS,
    STORAGE,
    Manifest,
    Site,
    applied,
    documents,
)
from tests.manifests.mutants import golden
from tests.support.cluster.images import is_ready, reference
from tests.support.cluster.programs import missing

RIGHTS: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "rights.json").read_text()
)
_EVERYBODY = {"authentication.k8s.io", "authorization.k8s.io"}
"""Groups in which everybody may ask about herself."""

FORBIDDEN = (
    ("get", "", "secrets", "canfar-hub"),
    ("list", "", "secrets", "canfar-hub"),
    ("list", "", "secrets", ""),
    ("create", "", "pods", "canfar-hub"),
    ("create", "", "pods", STORAGE),
    ("create", "", "secrets", STORAGE),
    ("delete", "", "pods", STORAGE),
    ("update", "", "pods", SESSIONS),
    ("patch", "", "pods", SESSIONS),
    ("deletecollection", "", "pods", SESSIONS),
    ("create", "", "pods/exec", SESSIONS),
    ("create", "", "pods/attach", SESSIONS),
    ("create", "", "pods/portforward", SESSIONS),
    ("patch", "", "pods/ephemeralcontainers", SESSIONS),
    ("update", "", "pods/status", SESSIONS),
    ("create", "", "pods/eviction", SESSIONS),
    ("watch", "", "secrets", SESSIONS),
    ("update", "", "secrets", SESSIONS),
    ("create", "", "serviceaccounts/token", SESSIONS),
    ("create", "", "serviceaccounts/token", "canfar-hub"),
    ("create", "", "services", SESSIONS),
    ("create", "", "persistentvolumeclaims", SESSIONS),
    ("get", "", "configmaps", "canfar-hub"),
    ("update", "", "configmaps", "canfar-hub"),
    ("update", "", "resourcequotas", SESSIONS),
    ("create", "batch", "jobs", SESSIONS),
    ("patch", "batch", "jobs", STORAGE),
    ("create", "rbac.authorization.k8s.io", "rolebindings", SESSIONS),
    ("escalate", "rbac.authorization.k8s.io", "roles", SESSIONS),
    ("delete", "networking.k8s.io", "networkpolicies", SESSIONS),
    ("impersonate", "", "users", ""),
    ("patch", "", "namespaces", SESSIONS),
    ("list", "", "nodes", ""),
    ("get", "", "nodes/proxy", ""),
    ("list", "", "pods", ""),
    ("create", "", "persistentvolumes", ""),
    ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", ""),
)


@pytest.fixture(scope="module")
def site(
    need: Callable[[str, bool, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    need("cluster", not missing(("etcd", "kubernetes")), "build its programs with: make cluster")
    with applied(tmp_path_factory.mktemp("api") / "server") as site:
        yield site


def ask(site: Site, kind: str, spec: dict[str, Any], user: str = HUB) -> dict[str, Any]:
    """Ask the API server about a user's rights."""
    path = f"/apis/authorization.k8s.io/v1/{kind.lower()}s"
    question = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    answer: dict[str, Any] = site.post(path, question, user=user).object()["status"]
    return answer


def rules(site: Site, namespace: str, user: str = HUB) -> list[str]:
    """Give what a user may do in a namespace, a line for each resource."""
    found = ask(site, "SelfSubjectRulesReview", {"namespace": namespace}, user)
    assert not found["incomplete"]
    lines: dict[str, set[str]] = {}
    for rule in found["resourceRules"]:
        for group in rule.get("apiGroups", [""]):
            if group in _EVERYBODY:
                continue
            for resource in rule["resources"]:
                name = f"{resource}.{group}".rstrip(".")
                names = ",".join(rule.get("resourceNames", ()))
                lines.setdefault(f"{name} {names}".strip(), set()).update(rule["verbs"])
    return sorted(f"{' '.join(sorted(verbs))} {name}" for name, verbs in lines.items())


ACCOUNTS = {"hub": HUB, "sessions": MANAGER}


@pytest.mark.parametrize(
    ("account", "namespace"),
    [(account, namespace) for account in ACCOUNTS for namespace in RIGHTS[account]],
)
def test_an_account_may_do_what_is_listed(site: Site, account: str, namespace: str) -> None:
    assert rules(site, namespace, ACCOUNTS[account]) == RIGHTS[account][namespace]


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize(
    ("verb", "group", "resource", "namespace"), FORBIDDEN, ids=lambda word: word or "-"
)
def test_an_account_may_not(
    site: Site, account: str, verb: str, group: str, resource: str, namespace: str
) -> None:
    name, _, part = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": name, "namespace": namespace}
    attributes["subresource"] = part
    asked = {"resourceAttributes": attributes}
    answer = ask(site, "SelfSubjectAccessReview", asked, ACCOUNTS[account])
    assert not answer["allowed"], answer


def test_capacity_of_nodes_is_the_one_right_on_the_cluster_and_optional() -> None:
    kinds = {"ClusterRole", "ClusterRoleBinding"}
    assert not [each for each in documents() if each["kind"] in kinds]
    files = sorted(path.name for path in (MANIFESTS / "optional").glob("*.yaml"))
    (role,) = (
        each
        for name in files
        for each in documents(f"optional/{name}")
        if each["kind"] == "ClusterRole"
    )
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]


@pytest.mark.parametrize("namespace", [SESSIONS, STORAGE])
def test_the_account_of_sessions_and_jobs_may_do_nothing(site: Site, namespace: str) -> None:
    account = f"system:serviceaccount:{namespace}:default"
    for where in (SESSIONS, STORAGE, "canfar-hub", "kube-system"):
        assert rules(site, where, account) == []


def test_a_session_has_no_token_of_the_cluster(site: Site) -> None:
    made = site.pod(golden("flexible"), SESSIONS).object()
    assert made["spec"]["automountServiceAccountToken"] is False
    for volume in made["spec"]["volumes"]:
        assert "projected" not in volume
    for container in made["spec"]["containers"]:
        for mount in container["volumeMounts"]:
            assert not mount["mountPath"].startswith("/var/run/secrets")


# On the running cluster: what a session finds.

LOOK = """
import json, os, ssl, sys, urllib.error, urllib.request

def status(path):
    # Who the server is does not matter to somebody who sends nothing secret.
    context = ssl._create_unverified_context()
    try:
        return urllib.request.urlopen(sys.argv[1] + path, context=context, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code

places = ("/var/run/secrets", "/run/secrets")
print(json.dumps({
    "id": [os.getuid(), os.getgid(), *os.getgroups()],
    "secrets": [place for place in places if os.path.exists(place)],
    "answers": [status(path) for path in sys.argv[2:]],
    "capabilities": [l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")],
    "more": [l.split()[1] for l in open("/proc/self/status") if l.startswith("NoNewPrivs")],
}))
"""


def looking(address: str) -> Manifest:
    """Give a session's pod that looks around instead of working; it needs nothing but an image."""
    pod = golden("no-projects")
    pod["metadata"]["namespace"] = SESSIONS
    paths = [f"/api/v1/namespaces/{SESSIONS}/secrets", f"/api/v1/namespaces/{SESSIONS}/pods"]
    (program,) = pod["spec"]["containers"]
    program |= {
        "image": reference("probe"),
        "command": ["python3", "-c", LOOK],
        "args": [address, *paths],
        "env": [],
        "workingDir": "/scratch",
    }
    kept = {"private", "scratch", "shared-memory"}
    for place in (pod["spec"]["volumes"], program["volumeMounts"]):
        place[:] = [each for each in place if each["name"] in kept]
    sizes = {"cpu": "200m", "memory": "256Mi"}
    pod["spec"]["resources"] = {"requests": sizes, "limits": sizes}
    program["resources"] = {"limits": {"memory": "256Mi"}}
    return pod


@pytest.fixture
def looked(site: Site, need: Callable[[str, bool, str], None]) -> Iterator[Any]:
    cluster = site.cluster
    need("cluster", cluster is not None, "start it with: make cluster")
    assert cluster is not None
    need("images", is_ready("probe"), "build it: python3 -m tests.support.cluster.images probe")
    port = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    address = f"https://{cluster.addresses.bridge}:{port.rpartition(':')[2]}"
    pod = looking(address)
    name, where = pod["metadata"]["name"], ("--namespace", SESSIONS)
    made = site.post(f"/api/v1/namespaces/{SESSIONS}/pods", pod)
    assert made, made.text
    try:
        for _ in range(2):
            ended = site.kubectl(
                "wait",
                *where,
                "--for=jsonpath={.status.phase}=Succeeded",
                "--timeout=50s",
                f"pod/{name}",
            )
            if ended:
                break
        log = site.kubectl("logs", *where, name)
        assert ended, f"{ended.text}\n{log.text}"
        yield json.loads(log.text)
    finally:
        site.kubectl("delete", "pod", *where, name, "--grace-period=1")


def test_a_session_finds_no_token_and_may_ask_for_nothing(looked: dict[str, Any]) -> None:
    assert looked["secrets"] == []
    assert set(looked["answers"]) <= {401, 403}
    assert len(looked["answers"]) == 2
    assert set(looked["capabilities"]) == {"0" * 16}
    assert looked["more"] == ["1"]
    pod = golden("no-projects")["spec"]["securityContext"]
    user, group, *groups = looked["id"]
    assert (user, group) == (pod["runAsUser"], pod["runAsGroup"])
    assert set(groups) - {group} == set(pod["supplementalGroups"])
