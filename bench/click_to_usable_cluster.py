"""From the click on Launch to a usable notebook on a cluster, beside stock KubeSpawner and the bare pod.

``make -s bench-cluster`` or ``python bench/click_to_usable_cluster.py [--rounds N]``: two real hubs
with the same image, sizes and storage, and pods that kubectl makes, take turns; a table of medians and
their ratios is printed. The test cluster is started where it does not run, and stays.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from typing_extensions import override

from tests.support.cluster import images, lifecycle, site
from tests.support.cluster.cluster import Cluster, run_directory
from tests.support.cluster.programs import ClusterError
from tests.support.cluster_hub import ClusterHub, proxy_on_path, running_cluster_hub
from tests.support.hub import ROOT, Visitor, free_port

NAMESPACE = "bench"
HOME = "/arc/home/bench"
UID = 10101
"""The user of the stock and the bare pod, who owns a home on the same storage."""
DEADLINE = 120.0
_LOOK_EVERY = 0.02
_SIZES: Any = site.PROBE_SIZES["flexible"]

_STOCK = """
c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allowed_users = {{"ada"}}
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://0.0.0.0:{hub_port}"
c.JupyterHub.hub_connect_url = "http://{bridge}:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{home}/cookie_secret"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = "{home}/proxy.pid"
c.KubeSpawner.namespace = {namespace!r}
c.KubeSpawner.image = {image!r}
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.cmd = ["jupyterhub-singleuser"]
c.KubeSpawner.default_url = "/lab"
c.KubeSpawner.cpu_guarantee = {cores_request}
c.KubeSpawner.cpu_limit = {cores_limit}
c.KubeSpawner.mem_guarantee = "{memory_request}G"
c.KubeSpawner.mem_limit = "{memory_limit}G"
c.KubeSpawner.uid = c.KubeSpawner.gid = {uid}
c.KubeSpawner.environment = {{"HOME": {user_home!r}}}
c.KubeSpawner.volumes = [
    {{"name": "arc", "persistentVolumeClaim": {{"claimName": "arc"}}}},
    {{"name": "scratch", "emptyDir": {{}}}},
]
c.KubeSpawner.volume_mounts = [
    {{"name": "arc", "mountPath": {user_home!r}, "subPath": "home/bench"}},
    {{"name": "scratch", "mountPath": "/scratch"}},
]
c.JupyterHub.load_roles = [
    {{"name": "bench", "scopes": ["admin:servers", "access:servers", "admin:users"], "services": ["bench"]}}
]
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait, looking more often than tests do, because the wait is what is measured."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited in vain for {what}")
        time.sleep(_LOOK_EVERY)


def prepare(cluster: Cluster) -> None:
    """Apply what our site applies, and a namespace with the same storage for the others."""
    site.prepare(cluster)
    home = cluster.arc / "home" / "bench"
    home.mkdir(parents=True, exist_ok=True)
    os.chown(home, UID, UID)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    content = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [namespace, *site.storage(NAMESPACE, cluster.arc)],
    }
    cluster.kubectl("apply", "--filename", "-", input=json.dumps(content))
    # Nobody may make a pod before its default account is there.
    cluster.kubectl(
        *("wait", "--for", "create", "serviceaccount/default"),
        *("--namespace", NAMESPACE, "--timeout", "60s"),
    )


def pods_are_gone(cluster: Cluster) -> bool:
    """Say whether no pod of any of them is left."""
    return not any(
        cluster.kubectl("get", "pods", "--namespace", namespace, "--output", "name").strip()
        for namespace in (NAMESPACE, site.SESSIONS)
    )


class Ours:
    """The hub of this project; launched by the API, as a script does it."""

    title = "canfar, KubernetesBackend"

    def __init__(self, hub: ClusterHub, ada: Visitor, client: httpx.Client) -> None:
        self._hub, self._ada, self._client = hub, ada, client

    def measure(self, session: str) -> float:
        """Give the seconds from the click to usable."""
        options: dict[str, object] = {"container": "notebook"}
        return launch(self._client, self._hub.url, self._ada.token, session, options)

    def stop(self, session: str) -> None:
        """End it."""
        self._ada.stop(session)


class Stock:
    """A JupyterHub as anybody would set it up on a cluster."""

    title = "KubeSpawner 7.1"

    def __init__(self, home: Path, cluster: Cluster, client: httpx.Client) -> None:
        self._client = client
        self._port, self.token = free_port(), secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self._port}"
        hub_port = free_port()
        self.api = f"http://{cluster.addresses.bridge}:{hub_port}/hub/api"
        config = home / "config.py"
        config.write_text(
            _STOCK.format(
                password=secrets.token_hex(8),
                port=self._port,
                hub_port=hub_port,
                proxy_port=free_port(),
                bridge=cluster.addresses.bridge,
                home=home,
                namespace=NAMESPACE,
                image=images.reference("notebook"),
                uid=UID,
                user_home=HOME,
                token=self.token,
                **_SIZES,
            )
        )
        path = f"{proxy_on_path(home / 'bin')}:{os.environ['PATH']}"
        with (home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", str(config)],
                cwd=home,
                env={**cluster.environ(), "PATH": path},
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "the stock hub")

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get(f"{self.url}/hub/health").status_code == 200
        return False

    def end(self) -> None:
        """End it; its proxy goes with it."""
        self.process.terminate()
        self.process.wait(timeout=60)

    def measure(self, session: str) -> float:
        """Give the seconds from the click to usable."""
        return launch(self._client, self.url, self.token, session, {})

    def stop(self, session: str) -> None:
        """End it."""
        self._client.request(
            "DELETE",
            f"{self.url}/hub/api/users/ada/servers/{session}",
            headers={"Authorization": f"Bearer {self.token}"},
            json={"remove": True},
        ).raise_for_status()


class Bare:
    """A pod that kubectl makes: a JupyterLab without a hub, which lets anybody in."""

    title = "bare pod, `jupyter lab`"

    def __init__(self, cluster: Cluster, client: httpx.Client) -> None:
        self._cluster, self._client = cluster, client

    def _program(self, _session: str) -> tuple[list[str], dict[str, str]]:
        command = ["jupyter", "lab", "--no-browser", "--ip=0.0.0.0", "--port=8888"]
        return [*command, "--IdentityProvider.token="], {}

    def _request(self, _session: str) -> tuple[str, dict[str, str]]:
        return "/api/status", {}

    def _pod(self, name: str) -> dict[str, Any]:
        sizes = {
            bound: {"cpu": str(_SIZES[f"cores_{word}"]), "memory": f"{_SIZES[f'memory_{word}']}Gi"}
            for bound, word in (("requests", "request"), ("limits", "limit"))
        }
        command, variables = self._program(name)
        variables = {"HOME": HOME, **variables}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsUser": UID, "runAsGroup": UID},
                "containers": [
                    {
                        "name": "notebook",
                        "image": images.reference("notebook"),
                        "imagePullPolicy": "IfNotPresent",
                        "command": command,
                        "env": [{"name": key, "value": text} for key, text in variables.items()],
                        "resources": sizes,
                        "volumeMounts": [
                            {"name": "arc", "mountPath": HOME, "subPath": "home/bench"},
                            {"name": "scratch", "mountPath": "/scratch"},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "arc", "persistentVolumeClaim": {"claimName": "arc"}},
                    {"name": "scratch", "emptyDir": {}},
                ],
            },
        }

    def measure(self, session: str) -> float:
        """Give the seconds from kubectl's start until the pod is Ready and has answered."""
        manifest = json.dumps(self._pod(session))
        path, headers = self._request(session)
        where = ("--namespace", NAMESPACE)
        started = time.perf_counter()
        self._cluster.kubectl("create", "--filename", "-", input=manifest)
        # Waiting and the address in one, so that kubectl starts twice and no more.
        address = self._cluster.kubectl(
            *("wait", "--for", "condition=Ready", f"pod/{session}", *where, "--timeout", "120s"),
            *("--output", "jsonpath={.status.podIP}"),
        ).strip()

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                url = f"http://{address}:8888{path}"
                return self._client.get(url, headers=headers).status_code == 200
            return False

        wait_for(answers, f"the pod {session} to answer")
        return time.perf_counter() - started

    def stop(self, session: str) -> None:
        """End it."""
        self._cluster.kubectl("delete", "pod", session, "--namespace", NAMESPACE, "--wait=false")


class BareSingleuser(Bare):
    """The same with the program that both hubs start, which asks the stock hub who somebody is."""

    title = "bare pod, `jupyterhub-singleuser`"

    def __init__(self, cluster: Cluster, client: httpx.Client, stock: Stock) -> None:
        super().__init__(cluster, client)
        self._stock = stock

    @override
    def _program(self, session: str) -> tuple[list[str], dict[str, str]]:
        prefix = f"/user/ada/{session}/"
        return ["jupyterhub-singleuser"], {
            "JUPYTERHUB_API_TOKEN": self._stock.token,
            "JUPYTERHUB_API_URL": self._stock.api,
            "JUPYTERHUB_ACTIVITY_URL": f"{self._stock.api}/users/ada/activity",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-ada-{session}",
            "JUPYTERHUB_DEFAULT_URL": "/lab",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([f"access:servers!server=ada/{session}"]),
            "JUPYTERHUB_SERVER_NAME": session,
            "JUPYTERHUB_SERVICE_PREFIX": prefix,
            "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:8888{prefix}",
            "JUPYTERHUB_USER": "ada",
        }

    @override
    def _request(self, session: str) -> tuple[str, dict[str, str]]:
        headers = {"Authorization": f"Bearer {self._stock.token}"}
        return f"/user/ada/{session}/api/status", headers


def launch(
    client: httpx.Client, url: str, token: str, session: str, options: dict[str, object]
) -> float:
    """Launch as the API's users do; gives the seconds until the session answers its user."""
    headers = {"Authorization": f"Bearer {token}"}
    started = time.perf_counter()
    answer = client.post(
        f"{url}/hub/api/users/ada/servers/{session}",
        json={"user_options": options},
        headers=headers,
    )
    answer.raise_for_status()

    def usable() -> bool:
        with contextlib.suppress(httpx.TransportError):
            found = client.get(f"{url}/user/ada/{session}/api/status", headers=headers)
            return found.status_code == 200
        return False

    wait_for(usable, f"{session} to be usable")
    return time.perf_counter() - started


@contextlib.contextmanager
def contenders(place: Path, cluster: Cluster) -> Iterator[tuple[Ours | Stock | Bare, ...]]:
    """Run both hubs for the length of a block."""
    home = place / "stock"
    home.mkdir()
    with (
        httpx.Client(timeout=DEADLINE, trust_env=False) as client,
        running_cluster_hub(place / "ours", cluster=cluster) as hub,
    ):
        stock = Stock(home, cluster, client)
        try:
            yield (
                Ours(hub, hub.sign_in("ada"), client),
                stock,
                Bare(cluster, client),
                BareSingleuser(cluster, client, stock),
            )
        finally:
            stock.end()
            cluster.kubectl(
                *("delete", "pods", "--all", "--namespace", NAMESPACE, "--grace-period", "1")
            )
            keep = os.environ.get("CANFAR_BENCH_LOGS")
            if keep:
                Path(keep).mkdir(parents=True, exist_ok=True)
                for name, log in (("ours", hub.log), ("stock", home / "log")):
                    (Path(keep) / f"{name}.log").write_bytes(log.read_bytes())


def run(rounds: int) -> int:
    """Run the comparison, inside of the cluster's network, and print its table."""
    cluster = Cluster.load()
    prepare(cluster)
    loads = []
    with (
        tempfile.TemporaryDirectory() as name,
        contenders(Path(name), cluster) as everybody,
    ):
        times: dict[str, list[float]] = {each.title: [] for each in everybody}
        for turn in range(rounds + 1):
            # Who begins changes, so that nobody always comes after the same one's end.
            first = turn % len(everybody)
            for each in (*everybody[first:], *everybody[:first]):
                session = f"bench{turn:03d}"
                took = each.measure(session)
                each.stop(session)
                wait_for(lambda: pods_are_gone(cluster), "all pods to be gone")
                # The first turn fetches images and makes directories, and does not count.
                if turn:
                    times[each.title].append(took)
                    loads.append(os.getloadavg()[0])
                print(f"  turn {turn}, {each.title}: {took:.2f} s", file=sys.stderr, flush=True)
    medians = [statistics.median(found) for found in times.values()]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - a developer's own
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    print(
        f"{datetime.now().astimezone():%Y-%m-%d %H:%M}, commit {commit}, {os.cpu_count()} cores,"
        f" load {min(loads):.1f} to {max(loads):.1f} with the benchmark's own; no seed is involved."
    )
    print(
        "\n| What | runs | median (s) | fastest | slowest | ours / it |\n|---|---|---|---|---|---|"
    )
    for (title, found), median in zip(times.items(), medians, strict=True):
        ratio = "" if title == Ours.title else f"{medians[0] / median:.2f}"
        cells = f"{len(found)} | {median:.2f} | {min(found):.2f} | {max(found):.2f}"
        print(f"| {title} | {cells} | {ratio} |")
    print("aims: at most 1.00 of KubeSpawner's median and 1.15 of the bare pod's")
    return 0


def main() -> int:
    """Start what is missing and run the comparison in the cluster's network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        if os.environ.get("CANFAR_CLUSTER"):
            return run(rounds)
        cluster = lifecycle.up(run_directory(), say)
        # Building needs the machine's own network.
        images.ensure(("hub", "notebook"), say)
        again = cluster.enter([sys.executable, __file__, "--rounds", str(rounds)])
        return subprocess.run(again, env=cluster.environ(), check=False).returncode
    except ClusterError as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
