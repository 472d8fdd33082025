"""The launch form with hundreds of images, beside stock KubeSpawner's form with as many profiles.

``make -s bench-pages`` or ``python bench/pages.py [--images N] [--rounds N]``: two real hubs, one
browser, in turns. A page is interactive once everything of it has loaded, its scripts have run and
the last choice can be ticked; bytes and requests are those of a browser that has nothing yet, and of
one that comes back.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml
from counted import counted
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from canfar_spawner.local import environments
from tests.support.hub import ROOT, Hub, free_port, running_hub, wait_for

KINDS = ("notebook", "desktop", "carta", "firefly", "contributed")
WORDS = [
    "radio",
    "optical",
    "infrared",
    "survey",
    "cube",
    "spectrum",
    "photometry",
    "calibration",
    "pulsar",
    "galaxy",
]

_STOCK = """
import os
c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allowed_users = {{"ada"}}
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{home}/cookie_secret"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = "{home}/proxy.pid"
c.KubeSpawner.profile_list = {profiles!r}
"""

_CLUSTER = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""
"""The form asks no cluster; the spawner only wants to know of one."""

OURS = "document.querySelector('#choices[data-ready]') && document.querySelectorAll('#choices input').length"
STOCKS = "document.querySelectorAll('input[name=profile]').length"


def images(number: int) -> list[dict[str, str]]:
    """Make up images with names, titles and descriptions of ordinary length."""
    return [
        {
            "name": f"{WORDS[i % len(WORDS)]}-{i:03d}",
            "title": f"{WORDS[i % len(WORDS)].capitalize()} tools {i}",
            "description": f"Programs for {WORDS[(i + 3) % len(WORDS)]} and {WORDS[(i + 7) % len(WORDS)]}"
            " work, with notebooks that show how they are used.",
            "kind": KINDS[i % len(KINDS)],
        }
        for i in range(number)
    ]


def catalogue(path: Path, number: int) -> Path:
    """Write a site's file with that many containers."""
    content = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    content["catalogue"]["containers"] = [
        {
            "name": image["name"],
            "title": image["title"],
            "description": image["description"],
            "icon": image["kind"],
            "kinds": ["notebook"],
            "image": f"canfar-hub/{image['name']}",
            "versions": [
                {"name": "26.11", "recommended": True},
                {"name": "26.05", "deprecated": True, "successor": "26.11"},
            ],
            "entry": "direct",
            "local": {"command": ["python3", "-c", "", "{port}"]},
        }
        for image in images(number)
    ]
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def profiles(number: int) -> list[dict[str, Any]]:
    """Give the same choices as KubeSpawner takes them."""
    return [
        {
            "display_name": image["title"],
            "slug": image["name"],
            "description": image["description"],
            "default": i == 0,
            "profile_options": {
                "version": {
                    "display_name": "Version",
                    "choices": {
                        name: {
                            "display_name": name,
                            "kubespawner_override": {"image": f"x/{image['name']}:{name}"},
                        }
                        for name in ("26.11", "26.05")
                    },
                }
            },
        }
        for i, image in enumerate(images(number))
    ]


@contextmanager
def stock_hub(home: Path, number: int) -> Iterator[tuple[str, str]]:
    """Run a JupyterHub with KubeSpawner; gives its address and the password."""
    port, password = free_port(), secrets.token_hex(8)
    config, cluster = home / "config.py", home / "cluster.yaml"
    cluster.write_text(_CLUSTER)
    config.write_text(
        _STOCK.format(
            password=password,
            port=port,
            hub_port=free_port(),
            proxy_port=free_port(),
            home=home,
            proxy=environments.proxy_command(),
            profiles=profiles(number),
        )
    )
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "--config", str(config)],
            cwd=home,
            env={**os.environ, "KUBECONFIG": str(cluster)},
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/hub/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, "the stock hub")
        yield url, password
    finally:
        process.terminate()
        process.wait(timeout=60)


Traffic = tuple[int, int]
"""Bytes that came, and requests that were answered over the network."""


@dataclass
class Figures:
    """What was measured of a page."""

    title: str
    seconds: list[float] = field(default_factory=list)
    cold: Traffic = (0, 0)
    """Bytes and requests of a browser that has nothing yet."""
    warm: Traffic = (0, 0)

    def row(self) -> str:
        """Write a line of the table."""
        cold, warm = (f"{size / 1024:.0f} kB, {asked}" for size, asked in (self.cold, self.warm))
        return (
            f"| {self.title} | {statistics.median(self.seconds):.2f} | {max(self.seconds):.2f}"
            f" | {cold} | {warm} |"
        )


HEAD = "| page | median (s) | slowest | first visit | later visit |\n|---|---|---|---|---|"


_USED = """() => new Promise(done => {
  const look = () => document.readyState === 'complete' && (READY)
    // A page that is drawn but still busy answers nobody: the next frame comes when it is free.
    ? requestAnimationFrame(() => setTimeout(() => done(performance.now())))
    : requestAnimationFrame(look);
  look();
})"""


def interactive(page: Page, url: str, ready: str) -> float:
    """Open a page and give the seconds until `ready` holds and everything has loaded."""
    page.goto(url, wait_until="commit")
    # Not `wait_for_function`: our pages let nobody evaluate texts, not even who measures them.
    return float(page.evaluate(_USED.replace("READY", ready))) / 1000


def traffic(context: BrowserContext, url: str, ready: str) -> tuple[Traffic, Traffic]:
    """Give the bytes and requests of a page for a browser that has nothing, and when it comes back.

    The browser is another one, that begins with the cookies of `context` and no files.
    """
    parts = urlsplit(url)
    assert context.browser  # noqa: S101 - for the type checker
    assert parts.port  # noqa: S101 - the same
    fresh = context.browser.new_context(viewport={"width": 1280, "height": 900})
    fresh.add_cookies(context.cookies())  # type: ignore[arg-type]
    found = []
    with counted(parts.port) as relay:
        for _ in range(2):
            page = fresh.new_page()
            asked: set[str] = set()
            kept: set[str] = set()
            session = fresh.new_cdp_session(page)
            session.send("Network.enable")
            for event in ("Network.requestServedFromCache", "Network.responseReceived"):
                session.on(event, partial(_sort, asked=asked, kept=kept))
            before = relay.bytes
            interactive(page, f"{relay.url}{parts.path}", ready)
            page.wait_for_load_state("networkidle")
            found.append((relay.bytes - before, len(asked - kept)))
            page.close()
    fresh.close()
    return found[0], found[1]


def _sort(event: dict[str, Any], *, asked: set[str], kept: set[str]) -> None:
    # An event without an answer is that of a request that needed none.
    from_cache = event.get("response", {"fromDiskCache": True}).get("fromDiskCache")
    (kept if from_cache else asked).add(event["requestId"])


def signed_in(browser: Browser, url: str, password: str) -> BrowserContext:
    """Give a browser of ada's, signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/hub/login")
    page.fill("#username_input", "ada")
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_load_state()
    page.close()
    return context


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give the machine's Chromium."""
    found = shutil.which("chromium")
    if found is None:
        raise SystemExit("There is no Chromium; on Debian: apt-get install chromium")
    os.environ["PLAYWRIGHT_NODEJS_PATH"] = environments.node()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def forms(browser: Browser, hub: Hub, number: int, rounds: int, base: Path) -> list[Figures]:
    """Measure the two forms in turns."""
    ours, stock = (
        Figures(f"launch form, {number} images"),
        Figures(f"stock KubeSpawner, {number} profiles"),
    )
    with stock_hub(base, number) as (url, password):
        asked = (
            (ours, f"{hub.url}/hub/spawn", f"({OURS}) >= {number}", hub.url, hub.password),
            (stock, f"{url}/hub/spawn", f"({STOCKS}) === {number}", url, password),
        )
        for turn in range(rounds + 1):
            for figures, page_url, ready, root, secret in asked:
                with signed_in(browser, root, secret) as context:
                    if turn == 0:
                        # The first turn warms the hubs and counts the bytes.
                        figures.cold, figures.warm = traffic(context, page_url, ready)
                    else:
                        figures.seconds.append(interactive(context.new_page(), page_url, ready))
    return [ours, stock]


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        base = Path(name)
        base.chmod(0o755)
        (base / "stock").mkdir()
        environ = {"CANFAR_HUB_CATALOGUE": str(catalogue(base / "catalogue.yaml", given.images))}
        with running_hub(base / "data", environ=environ) as hub:
            found = forms(browser, hub, given.images, given.rounds, base / "stock")
    print(f"{given.rounds} visits each, in turns, {os.cpu_count()} cores")
    print(HEAD)
    for figures in found:
        print(figures.row())
    ours, stock = (statistics.median(each.seconds) for each in found)
    print(f"form: {ours:.2f} s (aim: at most 1 s), {ours / stock:.2f} of stock (aim: at most 1)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
