"""From the click on Launch until a session of each kind can be used, on one machine.

``PYTHONPATH=. python bench/kinds.py [--rounds N]`` with the Python of the tests: the containers of the
catalogue whose software is on this machine take turns on a real hub.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import yaml

from canfar_spawner.local import environments
from tests.support.carta_standin.install import CHOSEN, PAGE, install
from tests.support.hub import ONE_USE, ROOT, Visitor, running_hub, wait_for


def containers() -> dict[str, tuple[str, str]]:
    """Give kind and title of each container that can run here and has a page, by name."""
    content = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    found = {}
    for each in content["catalogue"]["containers"]:
        environment = (each.get("local") or {}).get("environment")
        chosen = os.environ.get(CHOSEN) or environments.is_ready(PAGE)
        stands_in = environment == "carta" and bool(chosen)
        if stands_in or (environment and environments.is_ready(environment)):
            title = each.get("title", each["name"])
            if stands_in:
                title += ", the tester's own" if os.environ.get(CHOSEN) else ", a stand-in"
            found[each["name"]] = (each["kinds"][0], title)
    return found


def usable(client: httpx.Client, address: str) -> bool:
    """Say whether the program answers, and its page is there."""
    try:
        # The gateway answers this with 503 until the application does, the hub, before there is any
        # session, with 424; and its own pages are not the session's.
        if client.get(f"{address}api").status_code in (302, 424, 502, 503):
            return False
        page = client.get(address)
        return page.status_code < 400 and "/hub/" not in page.headers.get("Location", "")
    except httpx.TransportError:
        return False


def measure(ada: Visitor, container: str, session: str) -> float:
    """Launch a session, wait until it can be used, and end it."""
    headers = {"Authorization": f"Bearer {ada.token}"}
    with httpx.Client(headers=headers, timeout=30, limits=ONE_USE) as client:
        started = time.perf_counter()
        # The hub answers the order when the session is ready, and not before.
        with ThreadPoolExecutor(1) as pool:
            ordered = pool.submit(ada.launch, session, container=container)
            address = f"{ada.hub.url}/user/ada/{session}/"
            wait_for(lambda: usable(client, address), f"{container} to be usable")
            took = time.perf_counter() - started
            ordered.result().raise_for_status()
    ada.stop(session)
    return took


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--container", action="append", help="only this one; may be repeated")
    arguments = parser.parse_args()
    rounds, only = arguments.rounds, arguments.container
    found = {name: each for name, each in containers().items() if not only or name in only}
    times: dict[str, list[float]] = {name: [] for name in found}
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        server = os.environ.get(CHOSEN, "")
        if not server and environments.is_ready(PAGE):
            server = str(install(Path(place)))
        with running_hub(Path(place) / "data", environ={CHOSEN: server}) as hub:
            ada = hub.sign_in("ada")
            # The first turn warms caches and does not count.
            for turn in range(rounds + 1):
                for name, seconds in times.items():
                    took = measure(ada, name, f"{name[:5]:x<5}{turn:03d}")
                    if turn:
                        seconds.append(took)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} after")
    print("| container | kind | runs | median (s) | fastest | slowest |")
    print("|---|---|---|---|---|---|")
    for name, seconds in times.items():
        kind, title = found[name]
        cells = f"{statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f}"
        print(f"| {title} | {kind} | {len(seconds)} | {cells} |")


if __name__ == "__main__":
    main()
