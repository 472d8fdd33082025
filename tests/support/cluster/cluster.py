"""What tests and commands know of a running test cluster: its addresses, and the way into it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as kept
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from canfar_spawner.local.environments import cache
from tests.support.cluster.api import Api
from tests.support.cluster.programs import ClusterError, directory, program

NODE = "canfar-test"
"""The name of the one node."""
_NOT_RUNNING = "The test cluster is not running; start it with: make cluster"


def default_run_directory() -> Path:
    """Give the run directory of the cluster that `make cluster` starts."""
    return cache() / "cluster" / "run"


def tests_run_directory() -> Path:
    """Give the run directory of the cluster that `make test` starts and ends for itself."""
    return cache() / "cluster" / "test"


def second_run_directory() -> Path:
    """Give that of the other one, which `make test` runs beside it."""
    return cache() / "cluster" / "test-2"


def run_directory() -> Path:
    """Give the run directory that the environment names, else the default one."""
    for name in ("CANFAR_CLUSTER", "CANFAR_CLUSTER_DIR"):
        if os.environ.get(name):
            return Path(os.environ[name]).resolve()
    return default_run_directory()


def short_name(run: Path) -> str:
    """Give a word that is this run directory's own: for locks and control groups."""
    return f"canfar-{hashlib.sha256(str(run).encode()).hexdigest()[:8]}"


def _network(process: int | str) -> str:
    try:
        return str(Path(f"/proc/{process}/ns/net").readlink())
    except OSError:
        return ""


@dataclass(frozen=True)
class Addresses:
    """Where things are, as seen inside the cluster's network."""

    node: str
    """Host processes (the hub, the API server) at an address that pods reach."""
    bridge: str
    """The gateway of the pods; reaches the same processes."""
    registry: str
    """Takes pushes from anybody; holds what `registry.example.org` and the like give."""
    private_registry: str
    """The same images for those who sign in; `private.example.org` to pods."""
    private_user: str
    private_secret: str


@dataclass(frozen=True)
class Cluster:
    """A test cluster that was started, by its run directory."""

    run: Path

    @classmethod
    def load(cls, run: Path | None = None) -> Cluster:
        """Give the cluster of a run directory, by default the environment's.

        Raises
        ------
        ClusterError
            None is running there.
        """
        cluster = cls(run or run_directory())
        if not (cluster.run / "ready").exists() or not _network(cluster.pid):
            raise ClusterError(_NOT_RUNNING)
        return cluster

    @property
    def pid(self) -> int:
        """The first process of its namespaces, as the machine numbers it; 0 without one."""
        try:
            return int((self.run / "pid").read_text())
        except (OSError, ValueError):
            return 0

    @property
    def kubeconfig(self) -> Path:
        """The credentials that may do everything."""
        return self.run / "super-admin.conf"

    @property
    def arc(self) -> Path:
        """The directory behind hostPath volumes that stand for shared storage."""
        return self.run / "arc"

    @property
    def containerd(self) -> Path:
        """The socket of the container runtime."""
        return self.run / "containerd.sock"

    @property
    def addresses(self) -> Addresses:
        """Where things are, as seen inside the cluster's network."""
        return Addresses(**json.loads((self.run / "addresses.json").read_text()))

    def log(self, name: str) -> Path:
        """Give the log of one process of the cluster, such as ``kubelet``."""
        return self.run / "log" / f"{name}.log"

    def inside(self) -> bool:
        """Tell whether this process is in the cluster's network already."""
        return _network("self") == _network(self.pid)

    def enter(self, argv: Sequence[str | Path]) -> list[str]:
        """Give the command that runs another one in the cluster's network."""
        words = [str(word) for word in argv]
        if self.inside():
            return words
        return ["nsenter", "--target", str(self.pid), "--net", "--", *words]

    def environ(self) -> dict[str, str]:
        """Give the environment of a command that runs in the cluster's network."""
        # What leads to a proxy of the machine leads nowhere from there.
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and name != "KUBECONFIG"
        }
        tools = f"{directory('kubernetes')}:{directory('containerd')}:{directory('helm')}"
        environ["PATH"] = f"{tools}:{environ.get('PATH', os.defpath)}"
        return environ | {
            "KUBECONFIG": str(self.kubeconfig),
            # Kept in the home directory otherwise, where the next cluster would find it.
            "KUBECACHEDIR": str(self.run / "kubectl"),
            "CANFAR_CLUSTER": str(self.run),
        }

    def command(self, *argv: str | Path, given: str | None = None, seconds: float = 120) -> str:
        """Run a command in the cluster's network and give what it wrote.

        Raises
        ------
        ClusterError
            It failed; the message is what it said.
        """
        done = subprocess.run(
            self.enter(argv),
            env=self.environ(),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode != 0:
            words = " ".join(str(word) for word in argv)
            raise ClusterError(f"{words}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl(self, *args: str, input: str | None = None, seconds: float = 120) -> str:  # noqa: A002 - as subprocess calls it
        """Run kubectl with all rights and give what it wrote.

        Raises
        ------
        ClusterError
            It failed; the message is what it said.
        """
        return self.command(program("kubectl"), *args, given=input, seconds=seconds)

    def listed(self, kind: str, namespace: str, *selectors: str) -> list[dict[str, Any]]:
        """Give the objects of a kind such as ``pods`` with all rights, from within its network.

        Tests look again and again; a process of kubectl's for each look took a core.

        Raises
        ------
        ClusterError
            They cannot be had.
        """
        chosen = urlencode({"labelSelector": ",".join(selectors)})
        path = f"/api/v1/namespaces/{namespace}/{kind}?{chosen}"
        status, text = _api(self.kubeconfig, self.pid).request("GET", path)
        if status != 200:
            raise ClusterError(f"{path}: {status} {text}")
        return list(json.loads(text)["items"])

    def import_image(self, archive: Path) -> None:
        """Put the images of an archive straight onto the node, without a registry."""
        self.command(*ctr(self.containerd), "images", "import", archive)

    def forget_stale_images(self) -> None:
        """Let the node pull anew what the registry has under the same name with other content."""
        listing = self.command(*ctr(self.containerd), "images", "ls")
        stale = stale_images(listing, cache() / "cluster" / "registry")
        if stale:
            self.command(*ctr(self.containerd), "images", "rm", "--sync", *stale)

    def process(self, name: str) -> int:
        """Give the number of one process of the cluster, such as ``kube-apiserver``, to signal it."""
        wanted = json.loads((self.run / "processes.json").read_text())[name]
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for child in children:
            for line in Path(f"/proc/{child}/status").read_text().splitlines():
                if line.startswith("NSpid:") and int(line.split()[-1]) == wanted:
                    return int(child)
        raise ClusterError(f"{name} of the test cluster is gone")


@kept
def _api(kubeconfig: Path, _pid: int) -> Api:
    # For one start of the cluster: the next has other certificates.
    return Api(kubeconfig)


def ctr(socket: Path) -> list[str | Path]:
    """Give the start of a command of containerd's own client, on the images of pods."""
    return [program("ctr"), "--address", socket, "--namespace", "k8s.io"]


def stale_images(listing: str, registry: Path) -> list[str]:
    """Give the images of a node, as containerd lists them, that the registry has renewed."""
    images = [line.split() for line in listing.splitlines()[1:]]
    renewed = set()
    for name, _type, digest, *_ in images:
        repository, _, tag = name.partition("/")[2].rpartition(":")
        link = f"docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link"
        try:
            current = (registry / link).read_text().strip()
        except OSError:
            continue
        if current != digest:
            renewed.add(digest)
    # Also the names by content alone, which would keep it on the disk.
    return [name for name, _type, digest, *_ in images if digest in renewed]
