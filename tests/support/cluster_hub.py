"""A real hub whose sessions are pods of the test cluster; runs in the cluster's network."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canfar_spawner.kubernetes.manifests import INSTANCE, LAUNCH, SESSION
from canfar_spawner.local import environments
from tests.support.cluster.cluster import Cluster, ctr
from tests.support.cluster.site import SESSIONS, account_kubeconfig, write_catalogue
from tests.support.hub import ROOT, Hub, free_port

_MAY_HOLD = ("kubeconfig", "sessions_token")
_SECRETS = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "CANFAR_GATEWAY_SECRET")
CONFIG = ROOT / "hub_config" / "kubernetes.py"


def proxy_on_path(directory: Path) -> Path:
    """Give a directory with the proxy's command, for a hub that finds it by name."""
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / "configurable-http-proxy"
    words = " ".join(f'"{word}"' for word in environments.proxy_command())
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    return directory


@dataclass
class ClusterHub(Hub):
    """One hub on a cluster: its directory, its address, its process."""

    cluster: Cluster = field(default_factory=Cluster.load)
    catalogue: dict[str, Any] = field(default_factory=dict)
    """Sections that replace those of the tests' catalogue."""
    server: str | None = None
    """Another address of the API server for the hub, such as a fault proxy's."""
    config: Path = CONFIG
    api_port: int = field(default_factory=free_port)
    proxy_port: int = field(default_factory=free_port)
    sessions_port: int = field(default_factory=free_port)
    manager: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start hub and session manager, those that do not run, and wait until they answer."""
        private, kept = self.data / "hub", self.data / "sessions"
        for path in (private, kept):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (private / "kubeconfig").exists():
            account_kubeconfig(self.cluster, private / "kubeconfig", server=self.server)
            account_kubeconfig(self.cluster, kept / "kubeconfig", account="sessions")
            write_catalogue(self.data / "catalogue.yaml", **self.catalogue)
            token = private / "sessions_token"
            token.touch(mode=0o600)
            token.write_text(secrets.token_urlsafe(32))
        self.start_manager()
        command = [sys.executable, "-m", "jupyterhub", "--config", str(self.config)]
        self.begin(command, self._environ(private), cwd=private)

    def start_manager(self) -> None:
        """Start the session manager unless it runs."""
        if self.manager is not None and self.manager.poll() is None:
            return
        data = self.data / "sessions"
        command = [sys.executable, "-m", "canfar_spawner.cli.main", "sessions", "--cluster"]
        with self.log.open("ab") as log:
            self.manager = subprocess.Popen(
                command,
                cwd=data,
                env=self._environ(data),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environ(self, data: Path) -> dict[str, str]:
        """Give the environment of hub or session manager."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CANFAR_HUB_", "CANFAR_SESSIONS_"))
            or name == "CANFAR_HUB_CACHE"
        }
        commands, bridge = proxy_on_path(self.data / "bin"), self.cluster.addresses.bridge
        return {
            **kept,
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(data / "kubeconfig"),
            "CANFAR_HUB_DATA": str(data),
            "CANFAR_HUB_PORT": str(self.port),
            "CANFAR_HUB_URL": self.public,
            "CANFAR_HUB_API": f"http://0.0.0.0:{self.api_port}",
            "CANFAR_HUB_CONNECT": f"http://{bridge}:{self.api_port}",
            "CANFAR_HUB_PROXY_API": f"http://127.0.0.1:{self.proxy_port}",
            "CANFAR_HUB_CATALOGUE": str(self.data / "catalogue.yaml"),
            "CANFAR_HUB_PASSWORD": self.password,
            "CANFAR_SESSIONS_ADDRESS": f"http://{bridge}:{self.sessions_port}",
            "CANFAR_SESSIONS_TOKEN_FILE": str(self.data / "hub" / "sessions_token"),
            "CANFAR_SESSIONS_DATA": str(self.data / "sessions"),
            "CANFAR_SESSIONS_LISTEN": f"http://0.0.0.0:{self.sessions_port}",
            "CANFAR_SESSIONS_HUB_API": f"http://127.0.0.1:{self.api_port}/hub/api",
            **self.environ,
        }

    def pid(self) -> int:
        """Give the process id of JupyterHub itself."""
        assert self.process is not None
        return self.process.pid

    def sessions_url(self) -> str:
        """Give the address at which the session manager itself listens."""
        return f"http://127.0.0.1:{self.sessions_port}/services/sessions"

    def manager_pid(self) -> int | None:
        """Give the process id of the session manager, None where none runs."""
        running = self.manager is not None and self.manager.poll() is None
        return self.manager.pid if self.manager is not None and running else None

    def kill_manager(self) -> None:
        """Kill the session manager without notice."""
        assert self.manager is not None
        self.manager.kill()
        self.manager.wait(timeout=60)

    def pods(self, *selectors: str) -> list[dict[str, Any]]:
        """Give the pods of the sessions."""
        return self.cluster.listed("pods", SESSIONS, INSTANCE, *selectors)

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

    def kill_in(self, session: str, container: str, signal_name: str = "SIGKILL") -> str:
        """Kill the first process of a container as its machine could; gives the container's id."""
        found = self.runs_as(session, container)
        number = found.partition("://")[2]
        words = ("tasks", "kill", "--signal", signal_name, number)
        self.cluster.command(*ctr(self.cluster.containerd), *words)
        return found

    def runs_as(self, session: str, container: str) -> str:
        """Give the id of a container that runs; empty while it does not."""
        pod = self.pod(session)["status"]
        statuses = (*pod["containerStatuses"], *pod.get("initContainerStatuses", ()))
        (status,) = (each for each in statuses if each["name"] == container)
        return str(status["containerID"]) if "running" in status["state"] else ""

    def destroy(self, session: str) -> None:
        """End a session behind the hub's back."""
        name = self.pod(session)["metadata"]["name"]
        now = ("--grace-period", "0", "--force")
        self.cluster.kubectl("delete", "pod", "--namespace", SESSIONS, name, *now)

    def end(self) -> None:
        """End hub, proxy and session manager."""
        if self.manager is not None and self.manager.poll() is None:
            self.manager.terminate()
            self.manager.wait(timeout=60)
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
        found = set()
        for secret in self.cluster.listed("secrets", SESSIONS, LAUNCH):
            for key in secret["data"]:
                if key.partition(".")[2] in _SECRETS:
                    found.add(base64.b64decode(secret["data"][key]).decode())
        return found

    def evidence(self) -> Iterator[tuple[str, bytes]]:
        """Give everything that may hold no secret, by where it is."""
        yield str(self.log), self.log.read_bytes()
        files = [*(self.data / "hub").rglob("*"), *(self.data / "sessions").rglob("*")]
        for path in files:
            # The log of a job is its user's own.
            if path.is_file() and path.name not in _MAY_HOLD and path.suffix != ".log":
                with contextlib.suppress(FileNotFoundError):
                    yield str(path), path.read_bytes()
        for kind in ("pods", "events"):
            text = self.cluster.kubectl(
                "get", kind, "--all-namespaces", "--output", "json", "--show-managed-fields"
            )
            yield f"the {kind} of the cluster", text.encode()

    def left_open(self) -> Iterator[str]:
        """Give the files with secrets that others may read."""
        for path in (*self.data.glob("*/kubeconfig"), self.data / "hub" / "sessions_token"):
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
