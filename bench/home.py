"""The home page with one session and with two hundred: how soon it can be used, what it transfers.

``make -s bench-home`` or ``python bench/home.py [--sessions N] [--rounds N] [--picture FILE]``: a real
hub, real sessions of a program of a few lines, one browser. The page can be used once everything of it
has loaded, its scripts have run and all cards are there; bytes and requests are those of a browser that
has nothing yet, and of one that comes back.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from pages import HEAD, Figures, chromium, interactive, signed_in, traffic
from playwright.sync_api import Browser, expect

from tests.conftest import write_probe_catalogue
from tests.support.hub import Hub, Visitor, running_hub, wait_for

AIM = 1.0
"""Seconds until the page with all its cards can be used."""
CARDS = "document.querySelectorAll('.card-session').length"
_AT_ONCE = 4


def site(path: Path, sessions: int) -> Path:
    """Write a site's file on which a user may have so many sessions."""
    content = yaml.safe_load(write_probe_catalogue(path).read_text())
    content["limits"] = {"interactive": sessions}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def fill(hub: Hub, ada: Visitor, sessions: int) -> None:
    """Have as many sessions as that, all of them running."""
    names = [f"card{number:04d}" for number in range(sessions)]
    missing = [name for name in names if name not in hub.launches()]

    def launch(name: str) -> None:
        answer = ada.launch(name, container="probe", name=f"Session {name}", projects=["survey"])
        if answer.status_code not in (201, 202):
            raise RuntimeError(f"{name}: {answer.status_code} {answer.text}")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(launch, missing))

    def ready() -> bool:
        servers = ada.api("GET", "/users/ada").json()["servers"].values()
        return sum(bool(server["ready"]) for server in servers) >= sessions

    wait_for(ready, f"{sessions} sessions to run", seconds=1800)


def measure(browser: Browser, hub: Hub, sessions: int, rounds: int) -> Figures:
    """Open the page again and again."""
    url, ready = f"{hub.url}/hub/home", f"({CARDS}) === {sessions}"
    found = Figures(f"home, {sessions} session{'' if sessions == 1 else 's'}")
    with signed_in(browser, hub.url, hub.password) as context:
        found.cold, found.warm = traffic(context, url, ready)
    for _ in range(rounds):
        with signed_in(browser, hub.url, hub.password) as context:
            found.seconds.append(interactive(context.new_page(), url, ready))
    return found


def picture(browser: Browser, hub: Hub, path: Path) -> None:
    """Take a picture of what is at the top of the page."""
    with signed_in(browser, hub.url, hub.password) as context:
        page = context.new_page()
        page.goto(f"{hub.url}/hub/home")
        for part in ("place", "load=cores"):
            expect(page.locator(f"[data-{part}] [data-amount]").first).not_to_have_text("…")
        page.screenshot(path=path)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        base = Path(name)
        base.chmod(0o755)
        environ = {"CANFAR_HUB_CATALOGUE": str(site(base / "catalogue.yaml", given.sessions))}
        with running_hub(base / "data", environ=environ) as hub:
            ada = hub.sign_in("ada")
            for sessions in (1, given.sessions):
                fill(hub, ada, sessions)
                rows.append(measure(browser, hub, sessions, given.rounds))
            if given.picture:
                picture(browser, hub, given.picture)
    print(f"{given.rounds} visits each, {os.cpu_count()} cores")
    print(HEAD)
    for figures in rows:
        print(figures.row())
    print(f"{statistics.median(rows[-1].seconds):.2f} s (aim: at most {AIM:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
