"""The test cluster itself: what runs in it is real, and what ends it ends all of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import NODE, Cluster, ClusterError, lifecycle
from tests.support.cluster.archive import write_image
from tests.support.cluster.cluster import ctr
from tests.support.cluster.configuration import PAUSE_IMAGE
from tests.support.cluster.programs import program
from tests.support.hub import ROOT, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not os.environ.get("CANFAR_CLUSTER"),
        reason="CANFAR_CLUSTER is unset: these run in the cluster of `make cluster`",
    ),
]

IMAGE = "registry.example.org/canfar-hub/harness:1"
STARTS_WITHIN = 30.0
"""The aim is 10 s; a machine that does other things takes longer."""
COVERED = (
    "/run",
    "/var/lib",
    "/var/log",
    "/proc/sys/kernel/panic",
    "/proc/sys/vm/overcommit_memory",
)
SETTINGS = tuple(
    Path("/proc/sys") / name
    for name in ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory")
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Give the cluster these tests run in, with an image that holds kubectl and nothing else."""
    cluster = Cluster.load()
    archive = tmp_path_factory.mktemp("image") / "harness.tar"
    write_image(archive, IMAGE, {"kubectl": program("kubectl")}, ["/kubectl"])
    cluster.import_image(archive)
    return cluster


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"harness-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    wait_for(
        lambda: "default" in cluster.kubectl("-n", name, "get", "serviceaccounts", "-o", "name"),
        "the default service account",
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def _pod(name: str, image: str, *args: str) -> str:
    amounts = {"cpu": "200m", "memory": "200Mi"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "resources": {"requests": amounts, "limits": amounts},
            "securityContext": {
                "runAsUser": 20001,
                "runAsGroup": 20002,
                "runAsNonRoot": True,
                "supplementalGroups": [30001, 30002],
                "supplementalGroupsPolicy": "Strict",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "args": list(args),
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    return json.dumps(pod)


def _process_with(argument: str) -> dict[str, str]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if argument.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                lines = (entry / "status").read_text().splitlines()
                return {
                    key: value.strip() for key, _, value in (line.partition(":") for line in lines)
                }
        except OSError:
            continue
    raise AssertionError(f"no process has {argument}")


def test_a_guaranteed_pod_runs_with_the_ids_asked_for(cluster: Cluster, namespace: str) -> None:
    port = "--port=8001"
    cluster.kubectl("-n", namespace, "create", "-f", "-", input=_pod("main", IMAGE, "proxy", port))
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/main", "--timeout=60s")

    got = json.loads(cluster.kubectl("-n", namespace, "get", "pod", "main", "-o", "json"))
    assert got["status"]["qosClass"] == "Guaranteed"
    assert got["spec"]["nodeName"] == NODE
    status = _process_with(port)
    assert status["Uid"].split() == ["20001"] * 4
    assert status["Gid"].split() == ["20002"] * 4
    # Under policy Strict the kernel's list has the main group too.
    assert {"30001", "30002"} <= set(status["Groups"].split()) <= {"20002", "30001", "30002"}
    assert status["CapEff"] == "0" * 16
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")

    wait_for(
        lambda: "Starting to serve" in cluster.kubectl("-n", namespace, "logs", "main"),
        "the first line of its log",
    )
    said = cluster.kubectl("-n", namespace, "exec", "main", "--", "/kubectl", "version", "--client")
    assert "Client Version: v1" in said


def test_it_measures_what_pods_take(cluster: Cluster) -> None:
    def measured() -> bool:
        try:
            return NODE in cluster.kubectl("top", "nodes")
        except ClusterError:
            return False

    wait_for(measured, "the first measurement")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("registry.example.org/canfar-hub/absent:1", "not found"),
        ("private.example.org/canfar-hub/absent:1", "authorization failed"),
    ],
)
def test_a_pull_that_cannot_be_is_refused(
    cluster: Cluster, namespace: str, image: str, said: str
) -> None:
    name = f"refused-{image.partition('.')[0]}"
    cluster.kubectl("-n", namespace, "create", "-f", "-", input=_pod(name, image))
    about = ("-n", namespace, "get", "events", "--field-selector", f"involvedObject.name={name}")
    wait_for(lambda: said in cluster.kubectl(*about), f"an event that says {said}", seconds=60)
    cluster.kubectl("-n", namespace, "delete", "pod", name, "--wait=false")


def _push(cluster: Cluster, image: str, name: str) -> None:
    pushed = f"{cluster.addresses.registry}/{name}"
    client = ctr(cluster.containerd)
    cluster.command(*client, "images", "tag", "--force", image, pushed)
    cluster.command(*client, "images", "push", "--plain-http", pushed)
    cluster.command(*client, "images", "rm", pushed)


def test_an_image_that_the_registry_renewed_is_taken_from_the_node(
    cluster: Cluster, tmp_path: Path
) -> None:
    name = "canfar-hub/harness-renewed:1"
    archive = tmp_path / "image.tar"
    write_image(archive, f"registry.example.org/{name}", {"old": program("pause")}, ["/old"])
    cluster.import_image(archive)
    listing = (
        *ctr(cluster.containerd),
        "images",
        "ls",
        "--quiet",
        f"name==registry.example.org/{name}",
    )
    assert cluster.command(*listing).strip()
    _push(cluster, f"registry.example.org/{name}", name)
    cluster.forget_stale_images()
    assert cluster.command(*listing).strip(), "it is the same"

    _push(cluster, PAUSE_IMAGE, name)
    cluster.forget_stale_images()

    assert not cluster.command(*listing).strip()


def test_the_private_registry_gives_images_to_those_who_sign_in(
    cluster: Cluster, namespace: str
) -> None:
    at = cluster.addresses
    _push(cluster, PAUSE_IMAGE, "canfar-hub/harness-private:1")
    cluster.kubectl(
        *("-n", namespace, "create", "secret", "docker-registry", "puller"),
        "--docker-server=private.example.org",
        f"--docker-username={at.private_user}",
        f"--docker-password={at.private_secret}",
    )
    pod = json.loads(_pod("allowed", "private.example.org/canfar-hub/harness-private:1"))
    pod["spec"]["imagePullSecrets"] = [{"name": "puller"}]

    cluster.kubectl("-n", namespace, "create", "-f", "-", input=json.dumps(pod))

    cluster.kubectl(
        "-n", namespace, "wait", "--for=condition=Ready", "pod/allowed", "--timeout=60s"
    )


def _command(run: Path, *words: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if name != "CANFAR_CLUSTER"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.cluster", *words],
        cwd=ROOT,
        env=environ | {"CANFAR_CLUSTER_DIR": str(run)},
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str], status: int = 0) -> str:
    _, said = process.communicate(timeout=180)
    assert process.returncode == status, said
    return said


def _below(top: int) -> dict[tuple[int, str], str]:
    """Give a process and all its descendants: number and time of start, and name."""
    everyone: dict[int, tuple[int, str, str]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (entry / "stat").read_text().rpartition(") ")
        except OSError:
            continue
        fields = rest.split()
        everyone[int(entry.name)] = (int(fields[1]), fields[19], name.partition("(")[2])
    found: dict[tuple[int, str], str] = {}
    looked, wanted = set(), {top}
    while wanted:
        looked |= wanted
        found |= {(pid, everyone[pid][1]): everyone[pid][2] for pid in wanted & set(everyone)}
        wanted = {pid for pid, (parent, _, _) in everyone.items() if parent in wanted} - looked
    return found


def _alive(processes: dict[tuple[int, str], str]) -> list[str]:
    return [name for (pid, start), name in processes.items() if (pid, start) in _below(pid)]


def _in_network(network: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "ns" / "net").readlink()) == network:
                found.append(entry.name)
        except OSError:
            continue
    return found


def _of_the_machine(run: Path) -> tuple[object, ...]:
    """Give what a cluster could change of the machine and must not."""
    links = json.loads(subprocess.check_output(["ip", "-json", "link"], text=True))
    # What else is mounted (by whoever builds an image just now) is nobody's concern here.
    mounts = [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if str(run) in line or line.split()[4] in COVERED
    ]
    return (
        # Pods of the cluster in which this runs come and go.
        [link["ifname"] for link in links if not link["ifname"].startswith("veth")],
        mounts,
        [setting.read_text() for setting in SETTINGS],
        [Path(place).exists() for place in ("/var/lib/cni", "/var/lib/kubelet", "/run/netns")],
    )


@pytest.fixture
def own_run() -> Iterator[Path]:
    """Give the run directory of a cluster of this test's own."""
    run = Path(tempfile.mkdtemp(prefix="canfar-cluster-"))
    yield run
    lifecycle.down(run, print)
    shutil.rmtree(run)


def _kill_the_first(cluster: Cluster) -> None:
    os.kill(cluster.pid, signal.SIGKILL)


def _kill_unshare(cluster: Cluster) -> None:
    status = Path(f"/proc/{cluster.pid}/status").read_text()
    parent = next(line for line in status.splitlines() if line.startswith("PPid:"))
    os.kill(int(parent.split()[1]), signal.SIGKILL)


def _kill_a_part(cluster: Cluster) -> None:
    os.kill(cluster.process("etcd"), signal.SIGKILL)


@pytest.mark.long
def test_a_kill_in_the_middle_of_the_start_leaves_nothing(own_run: Path) -> None:
    before = _of_the_machine(own_run)
    cluster = Cluster(own_run)
    starting = _command(own_run, "up")
    wait_for(lambda: cluster.pid and cluster.log("kube-apiserver").exists(), "the API server")
    network = str(Path(f"/proc/{cluster.pid}/ns/net").readlink())
    processes = _below(cluster.pid)
    assert {"etcd", "containerd", "kube-apiserver"} <= set(processes.values())

    _kill_the_first(cluster)

    wait_for(lambda: not _alive(processes), "the end of its processes", seconds=10)
    assert not _in_network(network)
    assert "did not start" in _finish(starting, 1)
    assert _of_the_machine(own_run) == before
    assert not [group for group in lifecycle._cgroups(own_run) if group.exists()]


@pytest.mark.parametrize(
    "kill",
    [
        _kill_the_first,
        pytest.param(_kill_unshare, marks=pytest.mark.long),
        pytest.param(_kill_a_part, marks=pytest.mark.long),
    ],
)
def test_a_kill_of_what_runs_leaves_nothing(own_run: Path, kill: Callable[[Cluster], None]) -> None:
    before = _of_the_machine(own_run)
    _finish(_command(own_run, "up"))
    cluster = Cluster.load(own_run)
    assert float((own_run / "ready").read_text()) < STARTS_WITHIN
    cluster.kubectl("create", "-f", "-", input=_pod("main", PAUSE_IMAGE))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/main", "--timeout=60s")
    network = str(Path(f"/proc/{cluster.pid}/ns/net").readlink())
    processes = _below(cluster.pid)
    assert {"kubelet", "containerd-shim", "pause"} <= set(processes.values())

    kill(cluster)

    wait_for(lambda: not _alive(processes), "the end of its processes", seconds=10)
    assert not _in_network(network)
    assert _of_the_machine(own_run) == before
    with pytest.raises(ClusterError, match="make cluster"):
        Cluster.load(own_run)
    _finish(_command(own_run, "down"))
    assert not [group for group in lifecycle._cgroups(own_run) if group.exists()]


@pytest.mark.long
def test_two_starts_give_one_cluster_and_one_that_hangs_is_replaced(own_run: Path) -> None:
    both = [_command(own_run, "up") for _ in range(2)]
    said = sorted(_finish(each) for each in both)
    assert sum("is ready after" in each for each in said) == 1
    cluster = Cluster.load(own_run)
    first = cluster.pid

    os.kill(cluster.process("kube-apiserver"), signal.SIGSTOP)

    assert "replacing it" in _finish(_command(own_run, "up"))
    assert Cluster.load(own_run).pid != first
    assert cluster.kubectl("get", "nodes", "-o", "name").strip() == f"node/{NODE}"
