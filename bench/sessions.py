"""The session manager under load: lists, creates, memory.

``make -s bench-sessions`` or ``python bench/sessions.py``: one real hub with its manager. The jobs
of the lists are real: one user asks for them, a few run and the others wait for their turn. Creates
are interactive sessions, by the manager and by the hub's own REST in turns.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import yaml

from canfar_spawner.local import environments
from tests.conftest import write_probe_catalogue
from tests.support.client import Client
from tests.support.hub import Hub, Visitor, running_hub, wait_for
from tests.support.v1 import OVER, V1

SIZES = (10, 100, 1000)
LIST_WITHIN = 300.0
"""Milliseconds for a list of a thousand."""
LISTS = 40
AT_ONCE = 8


def memory(pid: int) -> float:
    """Give the share of memory of a process, in MB: what it shares counts in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(pid)


def timed(call: Callable[[], httpx.Response], count: int) -> list[float]:
    """Give the milliseconds of some calls; two that do not count warm everything up."""
    found = []
    for turn in range(count + 2):
        started = time.perf_counter()
        answer = call()
        took = 1000 * (time.perf_counter() - started)
        answer.raise_for_status()
        if turn > 1:
            found.append(took)
    return found


def fill(v1: V1, count: int) -> float:
    """Have as many jobs as that; gives how many were created per second."""
    missing = count - len(v1.rows())
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(
            pool.map(
                lambda number: v1.created(name=f"job-{number}", cmd="sleep", args="100000"),
                range(missing),
            )
        )
    return missing / (time.perf_counter() - started)


def lists(hub: Hub, ben: Visitor, client: Client | None) -> tuple[list[str], list[float]]:
    """Measure lists of growing length."""
    v1, direct = V1.of(ben), V1.of(ben, direct=True)
    pid = hub.manager_pid() or 0
    rows, medians, idle = [], [], memory(pid)
    for size in SIZES:
        rate = fill(v1, size)
        straight = timed(lambda: direct.call("GET", "/v1/session"), LISTS)
        proxied = timed(lambda: v1.call("GET", "/v1/session"), LISTS)
        one = v1.rows()[0]["id"]
        single = timed(lambda one=one: direct.call("GET", f"/v1/session/{one}"), LISTS)
        took = "-"
        if client is not None:
            started = time.perf_counter()
            listed = len(client.sessions("--all"))
            if listed != size:
                raise SystemExit(f"canfar ps lists {listed} of {size} sessions")
            took = f"{time.perf_counter() - started:.1f}"
        medians.append(statistics.median(straight))
        rows.append(
            f"| {size} | {medians[-1]:.1f} | {max(straight):.1f} | {statistics.median(proxied):.1f} |"
            f" {statistics.median(single):.1f} | {took} | {rate:.1f} | {memory(pid):.0f} |"
        )
        print(rows[-1], flush=True)
    title = [
        f"Memory of the idle manager: {idle:.0f} MB (PSS).",
        "",
        (
            "| sessions | list, median (ms) | slowest | through the proxy | one session |"
            " `canfar ps -a` (s) | jobs created per s | memory (MB) |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    return [*title, *rows], medians


def creates(hub: Hub, ada: Visitor, rounds: int) -> list[str]:
    """Measure creates of sessions by the manager and by the hub, in turns."""
    v1 = V1.of(ada)
    plain = httpx.Client(
        verify=False,  # noqa: S501 - plain http on this machine
        trust_env=False,
        timeout=120,
        headers={"Authorization": f"Bearer {ada.token}"},
    )

    def by_manager() -> None:
        v1.created(type="notebook", name="bench")

    def by_hub() -> None:
        answer = plain.post(
            f"{hub.url}/hub/api/users/ada/servers/b{secrets.token_hex(4)[:7]}",
            json={"user_options": {"container": "probe"}},
        )
        answer.raise_for_status()

    rates: dict[str, list[float]] = {"session manager": [], "hub REST": []}
    usable: dict[str, list[float]] = {"session manager": [], "hub REST": []}
    for turn in range(rounds + 1):
        ways = [("session manager", by_manager), ("hub REST", by_hub)]
        for title, way in ways if turn % 2 else ways[::-1]:
            started = time.perf_counter()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for done in [pool.submit(way) for _ in range(AT_ONCE)]:
                    done.result()
            answered = time.perf_counter() - started
            wait_for(lambda: ready(plain, hub) == AT_ONCE, "all to be ready")
            if turn:
                rates[title].append(AT_ONCE / answered)
                usable[title].append(AT_ONCE / (time.perf_counter() - started))
            for row in v1.rows(type="notebook"):
                if row["status"] not in OVER:
                    v1.call("DELETE", f"/v1/session/{row['id']}")
            wait_for(lambda: servers(plain, hub) == [], "all to end")
    found = [
        f"| {AT_ONCE} at once, {rounds} times | creates per s | slowest | fastest | ready per s |",
        "|---|---|---|---|---|",
    ]
    for title, values in rates.items():
        found.append(
            f"| {title} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |"
            f" {statistics.median(usable[title]):.1f} |"
        )
    ratio = statistics.median(rates["session manager"]) / statistics.median(rates["hub REST"])
    return [*found, "", f"Ratio of the medians, manager to hub: {ratio:.2f}."]


def servers(plain: httpx.Client, hub: Hub) -> list[dict[str, object]]:
    """Give what the hub has of ada's."""
    model = plain.get(f"{hub.url}/hub/api/users/ada").json()
    return list(model["servers"].values())


def ready(plain: httpx.Client, hub: Hub) -> int:
    """Count what is ready."""
    return sum(bool(server["ready"]) for server in servers(plain, hub))


def catalogue(place: Path) -> Path:
    """Write a catalogue whose limits leave room."""
    path = write_probe_catalogue(place / "catalogue.yaml")
    content = yaml.safe_load(path.read_text())
    content["limits"] = {"interactive": 100, "batch": 2 * SIZES[-1]}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def main() -> int:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    began = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        environ = {"CANFAR_HUB_CATALOGUE": str(catalogue(place))}
        with running_hub(place / "data", environ=environ) as hub:
            ada = hub.sign_in("ada")
            made = creates(hub, ada, rounds)
            # The ended sessions of the one are not in the lists of the other.
            ben = hub.sign_in("ben")
            client = Client.of(ben, place / "home") if environments.is_ready("client") else None
            listed, medians = lists(hub, ben, client)
    ended = os.getloadavg()
    print(
        f"{os.cpu_count()} cores; load {began[0]:.1f} before, {ended[0]:.1f} at the end,"
        " the benchmark's own included"
    )
    print("\n".join([*listed, "", *made]))
    growth = medians[-1] / medians[0]
    print(
        f"A list of {SIZES[-1]} takes {growth:.1f} times one of {SIZES[0]}"
        f" (aim: at most {SIZES[-1] // SIZES[0]}, and {LIST_WITHIN:.0f} ms)"
    )
    return int(medians[-1] > LIST_WITHIN or growth > SIZES[-1] / SIZES[0])


if __name__ == "__main__":
    sys.exit(main())
