"""The configuration files of the cluster's programs.

Everything they would keep below /var or /etc lies in the run directory.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.cluster import NODE, Addresses
from tests.support.cluster.programs import KUBERNETES, ClusterError

NODE_ADDRESS = "10.77.0.1"
POD_GATEWAY = "10.244.0.1"
POD_SUBNET = "10.244.0.0/24"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
API_PORT = 6443
METRICS_PORT = 4443
REGISTRY_PORT = 5000
PRIVATE_PORT = 5001
PAUSE_IMAGE = "registry.example.org/canfar-hub/pause:1"
OPEN_REGISTRIES = ("registry.example.org", "images.canfar.net", "docker.io")
PRIVATE_REGISTRY = "private.example.org"
_CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


@dataclass(frozen=True)
class Layout:
    """Where the files of one cluster are."""

    run: Path
    containerd_root: Path
    registry_root: Path
    cgroup: str

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.run / "pki"

    @property
    def containerd_socket(self) -> Path:
        """The socket of the container runtime."""
        return self.run / "containerd.sock"

    def file(self, name: str) -> Path:
        """Give a configuration file by its name."""
        return self.run / "config" / name


def cni_directory() -> Path:
    """Give the directory of the CNI plugins."""
    for place in _CNI_DIRECTORIES:
        if (place / "bridge").exists():
            return place
    raise ClusterError("The CNI plugins are missing. Install the packages of packages-cluster.txt.")


def _kubeadm(layout: Layout) -> str:
    return f"""\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {NODE_ADDRESS}
  bindPort: {API_PORT}
nodeRegistration:
  name: {NODE}
  criSocket: unix://{layout.containerd_socket}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {KUBERNETES}
certificatesDir: {layout.pki}
# RSA keys take two seconds longer.
encryptionAlgorithm: ECDSA-P256
networking:
  podSubnet: {POD_NETWORK}
  serviceSubnet: {SERVICE_NETWORK}
"""


def _containerd(layout: Layout, snapshotter: str) -> str:
    # No CAP_SYS_RESOURCE in containers of development machines: hence restrict_oom_score_adj.
    return f"""\
version = 4
root = "{layout.containerd_root}"
state = "{layout.run}/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
imports = []

[plugins."io.containerd.server.v1.grpc"]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.server.v1.ttrpc"]
  address = "{layout.containerd_socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.run}/opt"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{layout.run}/config/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{cni_directory()}"]
    conf_dir = "{layout.run}/config/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
[plugins."io.containerd.transfer.v1.local"]
  config_path = "{layout.run}/config/certs.d"
"""


def _cni(layout: Layout) -> str:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.run / "cni"),
            "ranges": [[{"subnet": POD_SUBNET, "gateway": POD_GATEWAY}]],
        },
    }
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}, indent=2)


def _kubelet(layout: Layout) -> str:
    # Thresholds that a nearly full disk of a development machine does not reach by itself; sizes
    # of volumes are looked at often, as tests wait for what overflows.
    return f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: {layout.pki}/ca.crt
authorization:
  mode: Webhook
address: {NODE_ADDRESS}
healthzPort: 0
clusterDNS: [{NODE_ADDRESS}]
clusterDomain: cluster.local
resolvConf: {layout.file("resolv.conf")}
containerRuntimeEndpoint: unix://{layout.containerd_socket}
cgroupDriver: cgroupfs
cgroupRoot: /{layout.cgroup}
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
featureGates:
  KubeletInUserNamespace: true
podLogsDir: {layout.run}/pods
volumePluginDir: {layout.run}/volume-plugins
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
volumeStatsAggPeriod: 10s
evictionHard:
  memory.available: 100Mi
  nodefs.available: 1Gi
  nodefs.inodesFree: 1%
  imagefs.available: 1Gi
evictionPressureTransitionPeriod: 10s
"""


def _registry(layout: Layout, port: int, *, private: bool) -> str:
    text = f"""\
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: {layout.registry_root}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
"""
    if private:
        text += f"""\
auth:
  htpasswd:
    realm: private
    path: {layout.file("htpasswd")}
"""
    return text


def _hosts(port: int) -> str:
    # Named as the server itself: what is not here is not looked for anywhere else.
    return f"""\
server = "http://127.0.0.1:{port}"

[host."http://127.0.0.1:{port}"]
  capabilities = ["pull", "resolve"]
"""


def _bcrypt(secret: str) -> str:
    """Give the form in which a registry's password file has a secret."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    # The 22nd letter carries two bits only.
    salt = "".join(secrets.choice(letters) for _ in range(21)) + secrets.choice(".Oeu")
    hashed: bytes | None = library.crypt(secret.encode(), f"$2b$05${salt}".encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        raise ClusterError("The C library of this machine has no bcrypt.")
    return hashed.decode()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def write_all(layout: Layout, snapshotter: str) -> None:
    """Write every configuration file, and the addresses for those who use the cluster."""
    addresses = Addresses(
        node=NODE_ADDRESS,
        bridge=POD_GATEWAY,
        registry=f"127.0.0.1:{REGISTRY_PORT}",
        private_registry=f"127.0.0.1:{PRIVATE_PORT}",
        private_user="canfar-puller",
        private_secret=secrets.token_urlsafe(18),
    )
    files: Mapping[str, str] = {
        "kubeadm.yaml": _kubeadm(layout),
        "containerd.toml": _containerd(layout, snapshotter),
        "cni/10-pods.conflist": _cni(layout),
        "kubelet.yaml": _kubelet(layout),
        "resolv.conf": f"nameserver {NODE_ADDRESS}\n",
        "registry.yaml": _registry(layout, REGISTRY_PORT, private=False),
        "private-registry.yaml": _registry(layout, PRIVATE_PORT, private=True),
        "htpasswd": f"{addresses.private_user}:{_bcrypt(addresses.private_secret)}\n",
        **{f"certs.d/{name}/hosts.toml": _hosts(REGISTRY_PORT) for name in OPEN_REGISTRIES},
        f"certs.d/{PRIVATE_REGISTRY}/hosts.toml": _hosts(PRIVATE_PORT),
    }
    for name, text in files.items():
        _write(layout.file(name), text)
    _write(layout.run / "addresses.json", json.dumps(vars(addresses), indent=2))
