"""The first process of a cluster's namespaces: starts its programs and stays with them.

``unshare … python3 -m tests.support.cluster.inside RUN CONTAINERD_ROOT REGISTRY_ROOT CGROUP``;
started by `lifecycle` only. When this process ends, for whatever reason, the kernel ends all of
the cluster with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.cluster import configuration as at
from tests.support.cluster.api import Api
from tests.support.cluster.archive import write_image
from tests.support.cluster.cluster import NODE, ctr, stale_images
from tests.support.cluster.configuration import Layout
from tests.support.cluster.programs import ClusterError, directory, program

_LOOK_EVERY = 0.05
_PATIENCE = 90.0
_STATE = Path("/var/lib")
_KUBELET_SETS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


def _until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {_PATIENCE:.0f} s in vain for {what}")
        time.sleep(_LOOK_EVERY)


class Start:
    """The start of one cluster."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        # What leads to a proxy of the machine leads nowhere from here.
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and name != "KUBECONFIG"
        }
        tools = f"{directory('containerd')}:/usr/sbin:/sbin"
        self.environ["PATH"] = f"{tools}:{os.environ.get('PATH', os.defpath)}"
        # The registry would look for a collector of traces.
        self.environ["OTEL_TRACES_EXPORTER"] = "none"

    def run(self, *argv: str | Path) -> str:
        """Run a command to its end and give what it wrote."""
        done = subprocess.run(
            [str(word) for word in argv],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = " ".join(Path(word).name for word in argv[:4])
            raise ClusterError(f"{words}: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout

    def keep(self, name: str, *argv: str | Path) -> None:
        """Start a process that the cluster lives by."""
        with (self.layout.run / "log" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in argv],
                cwd=self.layout.run,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for something, unless a process on which it depends has ended."""

        def look() -> Any:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise ClusterError(f"{name} ended at its start: {self._tail(name)}")
            return condition()

        return _until(look, what)

    def _tail(self, name: str) -> str:
        text = (self.layout.run / "log" / f"{name}.log").read_text(errors="replace")
        return "\n  ".join(text.splitlines()[-8:])

    def mounts(self) -> None:
        """Cover what the programs would change on the machine."""
        self.run("mount", "--make-rprivate", "/")
        # Sockets of shims, network namespaces, links to logs: gone with the namespace.
        for place in ("/run", "/var/log"):
            self.run("mount", "-t", "tmpfs", "-o", "mode=0755", "cluster", place)
        for place in ("/run/netns", "/run/lock", "/var/log/containers"):
            Path(place).mkdir(parents=True, exist_ok=True)
        # Some of what they write has a fixed place below this.
        if not str(self.layout.run).startswith(f"{_STATE}/"):
            with contextlib.suppress(ClusterError):
                self._overlay(_STATE, self.layout.run / "var-lib", _STATE)
        # The kubelet sets these for the whole machine: here it sets copies.
        for name in _KUBELET_SETS:
            setting, copy = Path("/proc/sys") / name, Path("/run/sysctl") / name
            if setting.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(setting.read_text())
                self.run("mount", "--bind", copy, setting)

    def network(self) -> None:
        """Give the node its address, and the pods their bridge."""
        self.run("ip", "link", "set", "lo", "up")
        # A pod's end of a link would get an address of its own after a second or two, and Chromium
        # drops all that it has asked for when an address comes or goes.
        setting = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
        if setting.exists():
            setting.write_text("1")
        for bridge, address in (
            ("kube0", f"{at.NODE_ADDRESS}/32"),
            ("cni0", f"{at.POD_GATEWAY}/{at.POD_SUBNET.partition('/')[2]}"),
        ):
            self.run("ip", "link", "add", bridge, "type", "bridge")
            self.run("ip", "address", "add", address, "dev", bridge)
            self.run("ip", "link", "set", bridge, "up")

    def snapshotter(self) -> str:
        """Find out whether layers can be laid over each other where images are kept."""
        trial = self.layout.containerd_root / ".trial"
        lower, merged = trial / "lower", trial / "merged"
        lower.mkdir(parents=True, exist_ok=True)
        merged.mkdir(exist_ok=True)
        try:
            self._overlay(lower, trial, merged)
        except ClusterError:
            return "native"
        self.run("umount", merged)
        return "overlayfs"

    def _overlay(self, lower: Path, writable: Path, target: Path) -> None:
        """Lay a writable layer over a directory."""
        upper, work = writable / "upper", writable / "work"
        for part in (upper, work):
            part.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        self.run("mount", "-t", "overlay", "overlay", "-o", options, target)

    def early(self) -> None:
        """Start what needs no certificates."""
        self.keep(
            "etcd",
            program("etcd"),
            *("--data-dir", self.layout.run / "etcd", "--unsafe-no-fsync"),
            "--log-level=warn",
            *("--listen-client-urls", "http://127.0.0.1:2379"),
            *("--advertise-client-urls", "http://127.0.0.1:2379"),
            *("--listen-peer-urls", "http://127.0.0.1:2380"),
        )
        self.keep("containerd", program("containerd"), "-c", self.layout.file("containerd.toml"))
        for name in ("registry", "private-registry"):
            self.keep(name, program("registry"), "serve", self.layout.file(f"{name}.yaml"))

    def certificates(self) -> None:
        """Make the certificates and the kubeconfigs."""
        config = ("--config", self.layout.file("kubeadm.yaml"))
        kubeadm = (program("kubeadm"), "init", "phase")
        self.run(*kubeadm, "certs", "all", *config)
        self.run(*kubeadm, "kubeconfig", "all", *config, "--kubeconfig-dir", self.layout.run)

    def api_server(self) -> None:
        """Start the API server."""
        pki = self.layout.pki
        self._keep_with(
            "kube-apiserver",
            {
                "advertise-address": at.NODE_ADDRESS,
                "secure-port": at.API_PORT,
                "etcd-servers": "http://127.0.0.1:2379",
                "authorization-mode": "Node,RBAC",
                "enable-admission-plugins": "NodeRestriction",
                "allow-privileged": "true",
                "service-cluster-ip-range": at.SERVICE_NETWORK,
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-key-file": pki / "sa.pub",
                "service-account-signing-key-file": pki / "sa.key",
                "client-ca-file": pki / "ca.crt",
                "tls-cert-file": pki / "apiserver.crt",
                "tls-private-key-file": pki / "apiserver.key",
                "kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
                "kubelet-client-key": pki / "apiserver-kubelet-client.key",
                "kubelet-preferred-address-types": "InternalIP",
                "enable-aggregator-routing": "true",
                "proxy-client-cert-file": pki / "front-proxy-client.crt",
                "proxy-client-key-file": pki / "front-proxy-client.key",
                "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
                "requestheader-allowed-names": "front-proxy-client",
                "requestheader-extra-headers-prefix": "X-Remote-Extra-",
                "requestheader-group-headers": "X-Remote-Group",
                "requestheader-username-headers": "X-Remote-User",
            },
        )

    def controllers(self) -> None:
        """Start the scheduler and the controllers; they end where the API server is not ready."""
        pki, run = self.layout.pki, self.layout.run
        manager, scheduler = run / "controller-manager.conf", run / "scheduler.conf"
        self._keep_with(
            "kube-controller-manager",
            {
                "kubeconfig": manager,
                "authentication-kubeconfig": manager,
                "authorization-kubeconfig": manager,
                "leader-elect": "false",
                "secure-port": 0,
                "flex-volume-plugin-dir": run / "volume-plugins",
                # Its controllers ask for an account each when they start.
                "kube-api-qps": 500,
                "kube-api-burst": 1000,
                # How soon a new node is taken for one: the start of the cluster waits for it.
                "node-monitor-period": "1s",
                "use-service-account-credentials": "true",
                "service-account-private-key-file": pki / "sa.key",
                "root-ca-file": pki / "ca.crt",
                "cluster-signing-cert-file": pki / "ca.crt",
                "cluster-signing-key-file": pki / "ca.key",
                # Pretended nodes of scale tests get ranges of their own by it.
                "allocate-node-cidrs": "true",
                "cluster-cidr": at.POD_NETWORK,
                "service-cluster-ip-range": at.SERVICE_NETWORK,
            },
        )
        self._keep_with(
            "kube-scheduler",
            {
                "kubeconfig": scheduler,
                "authentication-kubeconfig": scheduler,
                "authorization-kubeconfig": scheduler,
                "leader-elect": "false",
                "secure-port": 0,
            },
        )

    def _keep_with(self, name: str, flags: Mapping[str, object]) -> None:
        self.keep(name, program(name), *(f"--{flag}={value}" for flag, value in flags.items()))

    def node_images(self) -> None:
        """Give the node the image that holds the namespaces of pods, and take stale ones from it."""
        archive = self.layout.run / "pause.tar"
        write_image(archive, at.PAUSE_IMAGE, {"pause": program("pause")}, ["/pause"])
        self.wait(self.layout.containerd_socket.exists, "containerd")
        client = ctr(self.layout.containerd_socket)
        self.run(*client, "images", "import", archive)
        stale = stale_images(self.run(*client, "images", "ls"), self.layout.registry_root)
        if stale:
            self.run(*client, "images", "rm", "--sync", *stale)

    def kubelet(self) -> None:
        """Start the node."""
        run = self.layout.run
        self._keep_with(
            "kubelet",
            {
                "config": self.layout.file("kubelet.yaml"),
                "kubeconfig": run / "kubelet.conf",
                "root-dir": run / "kubelet",
                "cert-dir": run / "kubelet-pki",
                "hostname-override": NODE,
                "node-ip": at.NODE_ADDRESS,
            },
        )

    def metrics_server(self, api: Api) -> None:
        """Start what `kubectl top` asks, and tell the API server where it is."""
        kubeconfig = self.layout.run / "super-admin.conf"
        self._keep_with(
            "metrics-server",
            {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
                "secure-port": at.METRICS_PORT,
                "cert-dir": self.layout.run / "metrics-pki",
                "kubelet-insecure-tls": "true",
                "kubelet-preferred-address-types": "InternalIP",
                "kubelet-request-timeout": "5s",
                "metric-resolution": "10s",
            },
        )
        system = {"name": "metrics-server", "namespace": "kube-system"}
        port = {"name": "https", "port": 443, "protocol": "TCP"}
        _create(
            api,
            "/api/v1/namespaces/kube-system/services",
            {"metadata": system, "spec": {"ports": [port | {"targetPort": at.METRICS_PORT}]}},
        )
        _create(
            api,
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
            {
                "metadata": system | {"labels": {"kubernetes.io/service-name": system["name"]}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [at.NODE_ADDRESS], "conditions": {"ready": True}}],
                "ports": [port | {"port": at.METRICS_PORT}],
            },
        )
        _create(
            api,
            "/apis/apiregistration.k8s.io/v1/apiservices",
            {
                "metadata": {"name": "v1beta1.metrics.k8s.io"},
                "spec": {
                    "group": "metrics.k8s.io",
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "insecureSkipTLSVerify": True,
                    "service": system,
                },
            },
        )

    def all(self) -> None:
        """Start everything, and wait until pods can be created."""
        self.mounts()
        self.network()
        at.write_all(self.layout, self.snapshotter())
        self.early()
        self.certificates()
        self.api_server()
        self.node_images()
        api = Api(self.layout.run / "super-admin.conf")
        self.wait(lambda: api.request("GET", "/readyz")[0] == 200, "the API server")
        self.controllers()
        self.kubelet()
        # Without it the API server may not ask for logs; a refusal would be remembered for 30 s.
        _create(
            api,
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"name": "kubelet-api-admin"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "system:kubelet-api-admin",
                },
                "subjects": [
                    {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "User",
                        "name": "kube-apiserver-kubelet-client",
                    }
                ],
            },
        )
        self.metrics_server(api)
        for namespace in ("default", "kube-system"):
            account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
            self.wait(partial(api.get, account), "the default service accounts")
        self.wait(lambda: _is_ready(api.get(f"/api/v1/nodes/{NODE}")), "the node")

    def stay(self) -> str:
        """Stay until a process that the cluster lives by has ended, and name it."""
        names = {process.pid: name for name, process in self.processes.items()}
        while True:
            # Pods whose shims are gone leave their processes to the first of the namespace.
            ended, _status = os.waitpid(-1, 0)
            if ended in names:
                return names[ended]


def _create(api: Api, path: str, body: Mapping[str, Any]) -> None:
    def created() -> bool:
        status, text = api.request("POST", path, body)
        if status in {201, 409}:
            return True
        if status and status < 500 and status not in {403, 404, 429}:
            raise ClusterError(f"{path}: {text}")
        # Roles and groups of the API appear a moment after the server answers.
        return False

    _until(created, path)


def _is_ready(node: Any) -> bool:
    if node is None or node["spec"].get("taints"):
        return False
    conditions = node["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def main(arguments: list[str]) -> int:
    """Start a cluster and stay with it."""
    run, containerd_root, registry_root, cgroup = arguments
    layout = Layout(Path(run), Path(containerd_root), Path(registry_root), cgroup)
    began = time.monotonic()
    start = Start(layout)
    try:
        start.all()
    except (ClusterError, OSError) as error:
        (layout.run / "failed").write_text(str(error))
        return 1
    numbers = {name: process.pid for name, process in start.processes.items()}
    (layout.run / "processes.json").write_text(json.dumps(numbers, indent=2))
    unseen = layout.run / ".ready"
    unseen.write_text(f"{time.monotonic() - began:.1f}\n")
    unseen.replace(layout.run / "ready")
    ended = start.stay()
    with contextlib.suppress(OSError):
        (layout.run / "failed").write_text(
            f"{ended} ended; its log is {layout.run}/log/{ended}.log"
        )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
