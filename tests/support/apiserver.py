"""A real API server with its etcd on loopback: no kubelet, no scheduler, no rights needed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.cluster.programs import program

ADMIN = "the-administrator-of-this-test-cluster"
PROGRAMS = ("etcd", "kubernetes")
_READY = 60.0
_WITH_ITS_PARENT = 'exec 3<&0; { read -r _ <&3; kill -9 -$$; } & exec "$@" 3<&- </dev/null'
"""Runs a program that ends when the other end of its input is closed, however that comes about."""


def free_ports(count: int) -> list[int]:
    """Give ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


@dataclass
class ApiServer:
    """The two programs, which can be stopped, continued and started anew on the same data."""

    directory: Path
    etcd: int
    """The port of etcd's clients."""
    peers: int
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate that signs the server's."""
        return self.directory / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "admin.conf"

    def prepare(self) -> None:
        """Write keys, the token of the administrator and a kubeconfig."""
        (self.directory / "certs").mkdir(parents=True)
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        for name, text in (
            ("sa.key", key),
            ("tokens.csv", f"{ADMIN},admin,admin,system:masters\n".encode()),
        ):
            descriptor = os.open(self.directory / name, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
        write_kubeconfig(self.kubeconfig, self.url, token=ADMIN, authority=self.authority)

    def start(self, *names: str) -> None:
        """Start what does not run and wait for it.

        Parameters
        ----------
        *names : str
            ``etcd``, ``kube-apiserver`` or both.
        """
        commands = {
            "etcd": [
                f"--data-dir={self.directory / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{self.etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{self.etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{self.peers}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{self.peers}",
                f"--initial-cluster=default=http://127.0.0.1:{self.peers}",
                "--unsafe-no-fsync",
            ],
            "kube-apiserver": [
                f"--etcd-servers=http://127.0.0.1:{self.etcd}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                f"--secure-port={self.port}",
                f"--cert-dir={self.directory / 'certs'}",
                f"--token-auth-file={self.directory / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--allow-privileged=true",
                # Nothing here makes the service accounts of namespaces.
                "--disable-admission-plugins=ServiceAccount",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self.directory / 'sa.key'}",
                f"--service-account-signing-key-file={self.directory / 'sa.key'}",
                "--service-cluster-ip-range=10.255.0.0/24",
            ],
        }
        for name in names or tuple(commands):
            if name in self.running:
                continue
            with (self.directory / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    ["sh", "-c", _WITH_ITS_PARENT, "sh", program(name), *commands[name]],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        if "kube-apiserver" in self.running:
            self.wait()

    def wait(self) -> None:
        """Wait until the server says that it is ready."""
        end = time.monotonic() + _READY
        while not self.ready():
            for name, process in self.running.items():
                if process.poll() is not None:
                    log = (self.directory / f"{name}.log").read_text(errors="replace")
                    raise AssertionError(f"{name} has ended:\n{log[-3000:]}")
            assert time.monotonic() < end, "the API server was not ready in time"
            time.sleep(0.1)

    def ready(self) -> bool:
        """Say whether it is."""
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
            request = urllib.request.Request(  # noqa: S310 - https to loopback
                f"{self.url}/readyz", headers={"Authorization": f"Bearer {ADMIN}"}
            )
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            with opener.open(request, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def stop(self, *names: str) -> None:
        """End programs, the server before its store."""
        for name in names or ("kube-apiserver", "etcd"):
            process = self.running.pop(name, None)
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()


def write_kubeconfig(path: Path, url: str, *, token: str, authority: Path | None = None) -> Path:
    """Write how to reach a server.

    Parameters
    ----------
    path : Path
    url : str
    token : str
        Empty for none.
    authority : Path, optional
    """
    cluster = {"server": url}
    if authority is not None:
        cluster["certificate-authority"] = str(authority)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token} if token else {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(document, file)
    return path


@contextlib.contextmanager
def running_apiserver(directory: Path) -> Iterator[ApiServer]:
    """Run an API server of one's own.

    Parameters
    ----------
    directory : Path
    """
    etcd, peers, port = free_ports(3)
    server = ApiServer(directory, etcd, peers, port)
    server.prepare()
    try:
        server.start()
        yield server
    finally:
        server.stop()
