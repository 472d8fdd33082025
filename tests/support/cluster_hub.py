"""A real hub whose sessions are pods of the test cluster; runs in the cluster's network."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canfar_spawner.kubernetes.manifests import INSTANCE, LAUNCH, SESSION
from canfar_spawner.local import environments
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.site import SESSIONS, hub_kubeconfig, write_catalogue
from tests.support.hub import ROOT, Hub, free_port

CONFIG = ROOT / "hub_config" / "kubernetes.py"


def proxy_on_path(directory: Path) -> Path:
    """Give a directory with the proxy's command, for a hub that finds it by name."""
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / "configurable-http-proxy"
    node, proxy = environments.proxy_command()
    script.write_text(f'#!/bin/sh\nexec "{node}" "{proxy}" "$@"\n')
    script.chmod(0o755)
    return directory


@dataclass
class ClusterHub(Hub):
    """One hub on a cluster: its directory, its address, its process."""

    cluster: Cluster = field(default_factory=Cluster.load)
    catalogue: dict[str, Any] = field(default_factory=dict)
    """Sections that replace those of the tests' catalogue."""
    server: str | None = None
    """Another address of the API server, such as a fault proxy's."""
    config: Path = CONFIG
    api_port: int = field(default_factory=free_port)
    proxy_port: int = field(default_factory=free_port)

    def start(self) -> None:
        """Start it and wait until it answers."""
        private = self.data / "hub"
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        kubeconfig = private / "kubeconfig"
        if not kubeconfig.exists():
            hub_kubeconfig(self.cluster, kubeconfig, server=self.server)
            write_catalogue(self.data / "catalogue.yaml", **self.catalogue)
        commands = proxy_on_path(self.data / "bin")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CANFAR_HUB_") or name == "CANFAR_HUB_CACHE"
        }
        environ = {
            **kept,
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubeconfig),
            "CANFAR_HUB_DATA": str(private),
            "CANFAR_HUB_PORT": str(self.port),
            "CANFAR_HUB_URL": self.public,
            "CANFAR_HUB_API": f"http://0.0.0.0:{self.api_port}",
            "CANFAR_HUB_CONNECT": f"http://{self.cluster.addresses.bridge}:{self.api_port}",
            "CANFAR_HUB_PROXY_API": f"http://127.0.0.1:{self.proxy_port}",
            "CANFAR_HUB_CATALOGUE": str(self.data / "catalogue.yaml"),
            "CANFAR_HUB_PASSWORD": self.password,
            **self.environ,
        }
        command = [sys.executable, "-m", "jupyterhub", "--config", str(self.config)]
        self.begin(command, environ, cwd=private)

    def pid(self) -> int:
        """Give the process id of JupyterHub itself."""
        assert self.process is not None
        return self.process.pid

    def pods(self, *selectors: str) -> list[dict[str, Any]]:
        """Give the pods of the sessions."""
        chosen = ",".join((INSTANCE, *selectors))
        text = self.cluster.kubectl(
            "get", "pods", "--namespace", SESSIONS, "--selector", chosen, "--output", "json"
        )
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found

    def pod(self, session: str) -> dict[str, Any]:
        """Give the pod of a session."""
        (found,) = self.pods(f"{SESSION}={session}")
        return found

    def launches(self) -> dict[str, Path]:
        """Give the sessions that have a pod, by id; where they lie in the file system, nobody knows."""
        return {pod["metadata"]["labels"][SESSION]: Path() for pod in self.pods()}

    def run_in(self, session: str, *command: str) -> str:
        """Run a command in a session's container and give what it wrote."""
        name = self.pod(session)["metadata"]["name"]
        return self.cluster.kubectl("exec", "--namespace", SESSIONS, name, "--", *command)

    def destroy(self, session: str) -> None:
        """End a session behind the hub's back."""
        name = self.pod(session)["metadata"]["name"]
        now = ("--grace-period", "0", "--force")
        self.cluster.kubectl("delete", "pod", "--namespace", SESSIONS, name, *now)

    def end(self) -> None:
        """End hub and proxy."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.data / "hub" / "proxy.pid").read_text()), signal.SIGTERM)

    def clear(self) -> None:
        """End everything."""
        self.end()
        for kind in ("pods", "secrets"):
            self.cluster.kubectl(
                "delete", kind, "--namespace", SESSIONS, "--selector", LAUNCH, "--grace-period", "1"
            )

    # For the canary.

    def tokens(self) -> set[str]:
        """Give the tokens of sessions: in their Secrets, and nowhere else."""
        text = self.cluster.kubectl(
            "get", "secrets", "--namespace", SESSIONS, "--selector", LAUNCH, "--output", "json"
        )
        found = set()
        for secret in json.loads(text)["items"]:
            for key in ("env.JUPYTERHUB_API_TOKEN", "env.JPY_API_TOKEN"):
                if key in secret["data"]:
                    found.add(base64.b64decode(secret["data"][key]).decode())
        return found

    def evidence(self) -> Iterator[tuple[str, bytes]]:
        """Give everything that may hold no secret, by where it is."""
        yield str(self.log), self.log.read_bytes()
        for path in (self.data / "hub").rglob("*"):
            if path.is_file() and path.name != "kubeconfig":
                with contextlib.suppress(FileNotFoundError):
                    yield str(path), path.read_bytes()
        for kind in ("pods", "events"):
            text = self.cluster.kubectl(
                "get", kind, "--all-namespaces", "--output", "json", "--show-managed-fields"
            )
            yield f"the {kind} of the cluster", text.encode()

    def left_open(self) -> Iterator[str]:
        """Give the files with secrets that others may read."""
        path = self.data / "hub" / "kubeconfig"
        if path.exists() and stat.S_IMODE(path.stat().st_mode) != 0o600:
            yield str(path)


@contextlib.contextmanager
def running_cluster_hub(data: Path, **settings: Any) -> Iterator[ClusterHub]:
    """Run a hub for the length of a block; nothing of it stays."""
    hub = ClusterHub(data, **settings)
    try:
        hub.start()
        yield hub
    finally:
        hub.clear()
