"""From the click on Launch to a usable notebook, beside JupyterHub's own local spawner.

``make -s bench`` or ``python bench/click_to_usable.py [--rounds N]``: two real hubs with the same
software run side by side and take turns; a table of medians and their ratio is printed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from canfar_spawner.local import environments
from tests.support.hub import free_port, running_hub, wait_for

_STOCK = """
c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allowed_users = {{"ada"}}
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{home}/cookie_secret"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = "{home}/proxy.pid"
c.SimpleLocalProcessSpawner.home_dir_template = "{home}/homes/{{username}}"
c.Spawner.cmd = [{singleuser!r}]
c.Spawner.args = ["--allow-root"]
c.Spawner.default_url = "/lab"
c.JupyterHub.load_roles = [
    {{"name": "bench", "scopes": ["admin:servers", "access:servers", "admin:users"], "services": ["bench"]}}
]
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
"""


class Stock:
    """A JupyterHub as anybody would set it up for one machine."""

    def __init__(self, home: Path) -> None:
        self.port, self.token = free_port(), secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        (home / "homes").mkdir()
        config = home / "config.py"
        config.write_text(
            _STOCK.format(
                password=secrets.token_hex(8),
                port=self.port,
                hub_port=free_port(),
                proxy_port=free_port(),
                home=home,
                proxy=environments.proxy_command(),
                singleuser=str(environments.location("notebook") / "bin" / "jupyterhub-singleuser"),
                token=self.token,
            )
        )
        with (home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", str(config)],
                cwd=home,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "the stock hub")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/hub/health").status_code == 200
        except httpx.TransportError:
            return False

    def call(self, method: str, path: str, **arguments: object) -> httpx.Response:
        """Call its API."""
        return httpx.request(
            method,
            f"{self.url}/hub/api{path}",
            headers={"Authorization": f"token {self.token}"},
            timeout=120,
            **arguments,  # type: ignore[arg-type]
        )


def _usable(url: str, token: str, session: str) -> bool:
    try:
        answer = httpx.get(
            f"{url}/user/ada/{session}/api/status",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
    except httpx.TransportError:
        return False
    return answer.status_code == 200


def _measure(url: str, token: str, session: str, body: dict[str, object]) -> float:
    started = time.perf_counter()
    answer = httpx.post(
        f"{url}/hub/api/users/ada/servers/{session}",
        json={"user_options": body},
        headers={"Authorization": f"Bearer {token}"},
        timeout=120,
    )
    answer.raise_for_status()
    wait_for(lambda: _usable(url, token, session), f"{session} to be usable")
    return time.perf_counter() - started


def main() -> int:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    if not environments.is_ready("notebook"):
        print("The environment notebook is not built; run make environments.", file=sys.stderr)
        return 2
    ours: list[float] = []
    stock: list[float] = []
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name) / "data") as hub:
        Path(name).chmod(0o755)
        home = Path(name) / "stock"
        home.mkdir()
        other = Stock(home)
        try:
            ada = hub.sign_in("ada")
            for turn in range(rounds + 1):
                # The first turn warms the caches of both and does not count.
                session = f"bench{turn:03d}"
                took = _measure(hub.url, ada.token, session, {"container": "notebook"})
                ada.stop(session)
                took_stock = _measure(other.url, other.token, session, {})
                other.call("DELETE", f"/users/ada/servers/{session}", json={"remove": True})
                if turn:
                    ours.append(took)
                    stock.append(took_stock)
        finally:
            other.process.terminate()
            other.process.wait(timeout=60)
    ratio = statistics.median(ours) / statistics.median(stock)
    print(f"{rounds} launches each, in turns, {os.cpu_count()} cores")
    print("| spawner | median (s) | fastest | slowest |")
    print("|---|---|---|---|")
    for title, times in (("canfar-local", ours), ("SimpleLocalProcessSpawner", stock)):
        print(f"| {title} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} |")
    print(f"ratio of medians: {ratio:.2f} (aim: at most 1.15)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
