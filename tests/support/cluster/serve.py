"""``make run-cluster``: the hub of `hub_config/kubernetes.py` on the test cluster, for a person."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.local.environments import ROOT
from canfar_spawner.local.sample_project import provide
from canfar_spawner.local.settings import (
    LocalSettings,
    demo_password,
    port_is_free,
)
from canfar_spawner.site.files import SettingError, load
from canfar_spawner.site.users_file import Users
from tests.support.cluster import images, lifecycle, site
from tests.support.cluster.cluster import Cluster, run_directory
from tests.support.cluster.programs import ClusterError
from tests.support.cluster_hub import CONFIG, proxy_on_path

IMAGES = ("hub", "notebook", "astroml")
_SMALL = {"cores_request": 0.25, "cores_limit": 2, "memory_request": 1, "memory_limit": 8}


def _say(line: str) -> None:
    print(line, flush=True)


def _write_catalogue(path: Path) -> None:
    content = site.catalogue()
    # CASA has no image yet; what comes with a later release says so itself.
    ours = {"astroml", "notebook", "carta", "desktop", "firefly", "marimo"}
    containers = content["catalogue"]["containers"]
    content["catalogue"]["containers"] = [each for each in containers if each["name"] in ours]
    content["resources"] = {
        "default": {"cores": [0.5, 1, 2], "memory": [1, 2, 4, 8], "flexible": _SMALL}
    }
    content["limits"] = {"interactive": 3}
    site.write_content(path, content)


def _sessions(cluster: Cluster, settings: LocalSettings, private: Path) -> dict[str, str]:
    """Give the variables of the session manager, whose data lie beside the hub's."""
    data = settings.data / "sessions-cluster"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    site.account_kubeconfig(cluster, data / "kubeconfig", account="sessions")
    token = private / "sessions_token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(secrets.token_urlsafe(32))
    return {
        "CANFAR_SESSIONS_ADDRESS": f"http://{cluster.addresses.bridge}:10101",
        "CANFAR_SESSIONS_TOKEN_FILE": str(token),
        "CANFAR_SESSIONS_DATA": str(data),
        "CANFAR_SESSIONS_HUB_API": "http://127.0.0.1:8081/hub/api",
    }


@contextlib.contextmanager
def _running(*commands: tuple[list[str], dict[str, str]]) -> Iterator[None]:
    # In sessions of their own: Ctrl-C is for the hub, and they end after it.
    started = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, start_new_session=True)
        for command, environ in commands
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def run() -> int:
    """Start what is missing and run the hub until Ctrl-C."""
    settings = LocalSettings.read(os.environ)
    if not port_is_free(settings.port):
        raise SettingError(f"Port {settings.port} is in use; choose another with CANFAR_HUB_PORT.")
    images.ensure(IMAGES, _say)
    cluster: Cluster = lifecycle.up(run_directory(), _say)
    site.prepare(cluster)
    private = settings.data / "hub-cluster"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.hub.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = demo_password(settings)
    _write_catalogue(private / "catalogue.yaml")
    kubeconfig = site.account_kubeconfig(cluster, private / "kubeconfig")
    users_path = ROOT / "hub_config" / "users.yaml"
    users = load(users_path, Users)
    provide(cluster.run, load(private / "catalogue.yaml", SitePolicy), users, say=_say)
    socket = cluster.run / "hub.socket"
    inside = f"tcp:127.0.0.1:{settings.port}"
    relay = [sys.executable, "-m", "tests.support.cluster.relay"]
    environ = {
        **cluster.environ(),
        "PATH": f"{proxy_on_path(private / 'bin')}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(kubeconfig),
        "CANFAR_HUB_DATA": str(private),
        "CANFAR_HUB_PORT": str(settings.port),
        "CANFAR_HUB_URL": settings.url,
        "CANFAR_HUB_CONNECT": f"http://{cluster.addresses.bridge}:8081",
        "CANFAR_HUB_CATALOGUE": str(private / "catalogue.yaml"),
        "CANFAR_HUB_USERS": str(users_path),
        "CANFAR_HUB_PASSWORD": password,
        **_sessions(cluster, settings, private),
    }
    command = [sys.executable, "-m", "jupyterhub", "--config", str(CONFIG)]
    manager = [sys.executable, "-m", "canfar_spawner.cli.main", "sessions", "--cluster"]
    account = {"KUBECONFIG": f"{environ['CANFAR_SESSIONS_DATA']}/kubeconfig"}
    with _running(
        (cluster.enter([*relay, f"unix:{socket}", inside]), {}),
        ([*relay, inside, f"unix:{socket}"], {}),
        (cluster.enter(manager), environ | account),
    ):
        hub = subprocess.Popen(
            cluster.enter(command), cwd=private, env=environ, start_new_session=True
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: hub.send_signal(signal.SIGTERM))
        _say(f"CANFAR Hub on Kubernetes: {settings.url}")
        _say(f"Sign in as {', '.join(users.users)}; the password is {password}")
        _say('Look at the pods with: make -s kubectl ARGS="get pods -A"')
        _say("Ctrl-C ends the hub; `make cluster-down` ends the cluster with all sessions.")
        status = hub.wait()
    return 0 if status in (0, -signal.SIGTERM, 128 + signal.SIGTERM) else status % 256


if __name__ == "__main__":
    try:
        sys.exit(run())
    except (ClusterError, SettingError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
