"""Admission by a site's manifests: what may run runs, and what may not does not, whoever asks."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from canfar_spawner.kubernetes.provisioner import Directories, provision_job
from tests.core.world import site as policy_of
from tests.manifests.applied import (
    HUB,
    MANAGER,
    SESSIONS,
    STORAGE,
    Manifest,
    Site,
    applied,
    find,
    until,
)
from tests.manifests.golden import GOLDEN, golden_site
from tests.manifests.golden import _pod as golden_pod
from tests.manifests.mutants import MUTANTS, Change, both, drop, golden, put, user
from tests.support.cluster.programs import missing

PODS = sorted(
    path.stem for path in GOLDEN.glob("*.json") if json.loads(path.read_text())["kind"] == "Pod"
)
OF_A_SITE = {"many-projects", "gpu"}
"""Pods with volumes, credentials and classes that a site adds to what is delivered."""
_RUN = secrets.token_hex(3)
FENCED = f"canfar-rules-{_RUN}"
OPEN = f"canfar-rules-open-{_RUN}"
"""Here Pod Security lets everything pass: what is denied, the policy has denied."""
POLICY = "ValidatingAdmissionPolicy 'canfar-sessions'"
INVALID = {"project named .."}
"""What the API itself refuses first."""
NOT_THERE = {"account"}
"""What Kubernetes does not find where sessions run; elsewhere in these tests it is there."""


def _copy(manifest: Manifest, name: str, namespace: str | None = None) -> Manifest:
    made = copy.deepcopy(manifest)
    made["metadata"] = {"name": name, **({"namespace": namespace} if namespace else {})}
    return made


def _neighbour(namespace: str, level: str) -> list[Manifest]:
    """Give a namespace with the same policy and rights, and the parameters of a larger site."""
    binding = _copy(find("ValidatingAdmissionPolicyBinding", "canfar-sessions"), namespace)
    selector = {"kubernetes.io/metadata.name": namespace}
    binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] = selector
    binding["spec"]["paramRef"]["name"] = "canfar-rules"
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": level},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "site", "namespace": namespace},
        },
        _copy(find("Role", "hub", SESSIONS), "hub", namespace),
        _copy(find("RoleBinding", "hub", SESSIONS), "hub", namespace),
        binding,
    ]


@pytest.fixture(scope="module")
def site(
    need: Callable[[str, bool, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    need("cluster", not missing(("etcd", "kubernetes")), "build its programs with: make cluster")
    parameters = _copy(find("ConfigMap", "canfar-admission", "canfar-hub"), "canfar-rules")
    parameters["metadata"]["namespace"] = "canfar-hub"
    parameters["data"] |= {
        "claims": "cvmfs\ncatalogues\n",
        "drivers": "cvmfs.csi.cern.ch",
        "pullSecrets": "site-registry",
    }
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nvidia"},
        "handler": "runc",
    }
    with applied(tmp_path_factory.mktemp("api") / "server") as site:
        objects = [*_neighbour(FENCED, "restricted"), *_neighbour(OPEN, "privileged")]
        try:
            site.apply(parameters, runtime, *objects)
            _wait_for_policies(site)
            yield site
        finally:
            site.kubectl("delete", "namespace", FENCED, OPEN, "--wait=false")
            site.kubectl("delete", "validatingadmissionpolicybinding", FENCED, OPEN)
            site.kubectl("delete", "configmap", "canfar-rules", "--namespace", "canfar-hub")
            site.kubectl("delete", "runtimeclass", "nvidia")


def _wait_for_policies(site: Site) -> None:
    ready = golden("many-projects")
    user("ben")(wrong := golden("flexible"))
    until(lambda: site.pod(ready, FENCED), "the larger site's pod is not admitted")
    for namespace in (SESSIONS, FENCED, OPEN):
        until(lambda name=namespace: not site.pod(wrong, name), f"nothing guards {namespace}")
    endless = _job(put("spec/activeDeadlineSeconds", 9999))
    until(lambda: not site.job(endless), f"nothing guards {STORAGE}")


# What may run.


@pytest.mark.parametrize("name", PODS)
def test_a_golden_pod_is_admitted_under_restricted_pod_security(site: Site, name: str) -> None:
    namespace = FENCED if name in OF_A_SITE else SESSIONS
    answer = site.pod(golden(name), namespace)
    assert answer.accepted, answer.text
    warnings = site.kubectl("get", "namespace", SESSIONS, "--output", "json").object()
    assert warnings["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


KINDS = {
    "notebook": {"container": "astroml"},
    "headless": {"container": "astroml", "kind": "headless", "cmd": "python3"},
    "carta": {"container": "carta"},
    "desktop": {"container": "desktop"},
    "firefly": {"container": "firefly"},
    "contributed": {"container": "pluto"},
}
MODES: dict[str, dict[str, Any]] = {
    "flexible": {},
    "fixed": {"mode": "fixed", "cores": 2, "memory": 8},
    "partly-fixed": {"cores": 2},
}


ALWAYS_FLEXIBLE = {"desktop", "firefly"}


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        (kind, mode)
        for kind in KINDS
        for mode in MODES
        if mode == "flexible" or kind not in ALWAYS_FLEXIBLE
    ],
)
def test_every_kind_and_mode_is_admitted(site: Site, kind: str, mode: str) -> None:
    policy = golden_site(resources={"default": {"gpus": [0, 1]}})
    for gpus in (0, 1) if mode == "fixed" else (0,):
        for projects in ({}, {"projects": []}):
            options = {**KINDS[kind], **MODES[mode], **projects, **({"gpus": 1} if gpus else {})}
            pod = golden_pod(options, policy=policy)
            assert pod["metadata"]["labels"]["hub.canfar.net/mode"] == mode
            assert pod["metadata"]["labels"]["hub.canfar.net/kind"] == kind
            made = site.pod(pod, SESSIONS).object()
            wanted = "Guaranteed" if mode == "fixed" else "Burstable"
            assert made["status"]["qosClass"] == wanted, options


@pytest.mark.parametrize("user", [HUB, MANAGER])
@pytest.mark.parametrize("name", ["secret", "gateway-secret", "registry-secret"])
def test_hub_and_manager_may_make_a_sessions_secret(site: Site, name: str, user: str) -> None:
    path = f"/api/v1/namespaces/{SESSIONS}/secrets?dryRun=All"
    answer = site.post(path, golden(name), user=user)
    assert answer.accepted, answer.text


def test_the_session_manager_may_make_a_job_and_the_rules_hold_for_it(site: Site) -> None:
    pod = golden("batch")
    answer = site.pod(pod, SESSIONS, user=MANAGER)
    assert answer.accepted, answer.text
    pod["spec"]["hostNetwork"] = True
    assert not site.pod(pod, SESSIONS, user=MANAGER)
    job = site.post(f"/apis/batch/v1/namespaces/{STORAGE}/jobs?dryRun=All", _job(), user=MANAGER)
    assert job.accepted, job.text


@pytest.mark.parametrize(
    "reference",
    [
        "images.canfar.net/skaha/astroml:26.11",
        "images.canfar.net/skaha/deep/er/astroml:26.11",
        "images.canfar.net/cadc/astroml@sha256:" + "0" * 64,
        "registry.example.org/canfar-hub/notebook:26.11",
        "private.example.org/anything/probe:1",
    ],
)
def test_images_of_the_sites_projects_are_admitted(site: Site, reference: str) -> None:
    pod = golden("flexible")
    put("spec/containers/0/image", reference)(pod)
    answer = site.pod(pod, SESSIONS)
    assert answer.accepted, answer.text


def test_limits_of_all_containers_do_as_well_as_the_pods(site: Site) -> None:
    pod = golden("flexible")
    del pod["spec"]["resources"]
    pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    answer = site.pod(pod, SESSIONS)
    assert answer.accepted, answer.text


def test_the_limits_of_the_namespace_keep_a_pods_own_class(site: Site) -> None:
    made = site.pod(golden("fixed"), SESSIONS).object()
    sizes = made["spec"]["resources"]
    assert sizes["requests"] == sizes["limits"] == {"cpu": "2", "memory": "8Gi"}
    assert "cpu" not in made["spec"]["containers"][0]["resources"]["limits"]
    assert made["status"]["qosClass"] == "Guaranteed"
    large = golden("fixed")
    for bound in ("requests", "limits"):
        large["spec"]["resources"][bound]["memory"] = "2Ti"
    assert "maximum memory usage per Pod" in site.pod(large, SESSIONS).text


# What may not.


def test_there_are_enough_mutants() -> None:
    assert len(MUTANTS) >= 40


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_denied_with_the_hubs_own_rights(site: Site, name: str) -> None:
    answer = site.pod(MUTANTS[name].pod(), SESSIONS)
    assert not answer.accepted
    by_level = 'violates PodSecurity "restricted' in answer.text
    by_size = "No limit is specified" in answer.text
    assert name in INVALID | NOT_THERE or by_level or by_size or POLICY in answer.text, answer.text


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - INVALID))
def test_the_policy_alone_denies_a_mutant_even_to_an_administrator(site: Site, name: str) -> None:
    answer = site.pod(MUTANTS[name].pod(), OPEN, user="")
    assert not answer.accepted
    assert POLICY in answer.text, answer.text
    assert MUTANTS[name].says in answer.text, answer.text


def test_the_parameters_missing_means_that_nothing_runs(site: Site) -> None:
    name = f"canfar-rules-nowhere-{_RUN}"
    binding, namespace = _neighbour(name, "restricted")[-1], _neighbour(name, "restricted")[0]
    binding["spec"]["paramRef"]["name"] = "not-there"
    site.apply(namespace, binding)
    try:
        until(
            lambda: "failed to configure" in site.pod(golden("flexible"), name, user="").text,
            "a pod runs where the policy has no parameters",
        )
    finally:
        site.kubectl("delete", "validatingadmissionpolicybinding", name)
        site.kubectl("delete", "namespace", name, "--wait=false")


# Later changes.


@pytest.fixture
def lasting(site: Site) -> Iterator[Manifest]:
    """Give a pod that is there, and that no scheduler takes."""
    pod = golden("carta")
    pod["metadata"]["namespace"] = SESSIONS
    pod["spec"]["schedulingGates"] = [{"name": "canfar.example/never"}]
    made = site.post(f"/api/v1/namespaces/{SESSIONS}/pods", pod).object()
    try:
        yield made
    finally:
        name = made["metadata"]["name"]
        where = ("--namespace", SESSIONS, "--force", "--grace-period=0")
        answer = site.kubectl("delete", "pod", name, *where)
        assert answer.accepted, answer.text


def _path(pod: Manifest, *more: str) -> str:
    return "/".join((f"/api/v1/namespaces/{SESSIONS}/pods/{pod['metadata']['name']}", *more))


CHANGES: dict[str, Change] = {
    "owner": put("metadata/labels", {}),
    "user": user("ben"),
    "image": put("spec/containers/0/image", "images.canfar.net/skaha/other:1"),
    "foreign image": put("spec/containers/0/image", "docker.io/library/debian:13"),
    "gateway": put("spec/initContainers/0/image", "registry.example.org/canfar-hub/gateway:2"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_session_is_does_not_change(site: Site, lasting: Manifest, name: str) -> None:
    CHANGES[name](lasting)
    answer = site.put(_path(lasting), lasting)
    assert not answer.accepted
    assert POLICY in answer.text


def test_an_owner_reference_may_be_added(site: Site, lasting: Manifest) -> None:
    lasting["metadata"]["annotations"]["example.org/note"] = "kept"
    answer = site.put(_path(lasting), lasting)
    assert answer.accepted, answer.text


def test_nobody_enters_a_session_by_a_container_added_later(site: Site, lasting: Manifest) -> None:
    lasting["spec"]["ephemeralContainers"] = [
        {
            "name": "debug",
            "image": "images.canfar.net/skaha/astroml:26.11",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ]
    answer = site.put(_path(lasting, "ephemeralcontainers"), lasting)
    assert not answer.accepted
    assert "Nobody enters a session" in answer.text


# The provisioner's jobs.


def _job(*changes: Change) -> Manifest:
    policy = policy_of(pods={"storage": {"image": "registry.example.org/canfar-hub/hub:1.0"}})
    directories = Directories(
        homes={"ada": (5001, 5001, 10)}, projects={"survey": (7006, None), "demo": (7004, None)}
    )
    job: Manifest = provision_job(directories, policy, name="arc-ada-0a1b2c3d")
    both(*changes)(job)
    return job


_SPEC = "spec/template/spec"
_ONE = f"{_SPEC}/containers/0"
JOBS: dict[str, Change] = {
    "foreign image": put(f"{_ONE}/image", "docker.io/library/debian:13"),
    "longer image": put(f"{_ONE}/image", "registry.example.org/canfar-hub/hub-evil:1"),
    "another program": put(f"{_ONE}/command", ["/bin/sh", "-c", "id"]),
    "program of the image": drop(f"{_ONE}/command"),
    "variables": put(f"{_ONE}/env", [{"name": "PYTHONPATH", "value": "/arc/home/eve"}]),
    "second container": put(f"{_SPEC}/containers/+", {"name": "x", "image": "x"}),
    "init container": put(f"{_SPEC}/initContainers", [{"name": "x", "image": "x"}]),
    "hook": put(f"{_ONE}/lifecycle", {"preStop": {"exec": {"command": ["id"]}}}),
    "probe": put(f"{_ONE}/livenessProbe", {"exec": {"command": ["id"]}}),
    "privileged": both(
        put(f"{_ONE}/securityContext/privileged", value=True),
        put(f"{_ONE}/securityContext/allowPrivilegeEscalation", value=True),
    ),
    "capability": put(f"{_ONE}/securityContext/capabilities/add", ["SYS_ADMIN"]),
    "capabilities": put(f"{_ONE}/securityContext/capabilities", {"add": ["CHOWN"]}),
    "host network": put(f"{_SPEC}/hostNetwork", value=True),
    "token": put(f"{_SPEC}/automountServiceAccountToken", value=True),
    "account": put(f"{_SPEC}/serviceAccountName", "other"),
    "hostPath": put(f"{_SPEC}/volumes", [{"name": "arc", "hostPath": {"path": "/"}}]),
    "another claim": put(
        f"{_SPEC}/volumes", [{"name": "arc", "persistentVolumeClaim": {"claimName": "db"}}]
    ),
    "elsewhere": put(f"{_ONE}/volumeMounts", [{"name": "arc", "mountPath": "/usr/lib"}]),
    "no limits": drop(f"{_ONE}/resources"),
    "no end": drop("spec/activeDeadlineSeconds"),
    "no label": put("metadata/labels", {"app": "arc"}),
    "many": put("spec/parallelism", 5),
}


def test_the_provisioners_job_is_admitted(site: Site) -> None:
    answer = site.job(_job())
    assert answer.accepted, answer.text


@pytest.mark.parametrize("name", JOBS)
def test_no_other_job_runs_where_the_provisioner_does(site: Site, name: str) -> None:
    answer = site.job(_job(JOBS[name]))
    assert not answer.accepted
    assert "ValidatingAdmissionPolicy 'canfar-storage'" in answer.text, answer.text
