"""From taking a share away until a visitor is out: her terminal, her kernel and her requests.

``PYTHONPATH=. python bench/sharing.py`` with the Python of the tests starts a hub of one machine and a session of Notebook.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support import shares as calls
from tests.support.guest import Guest
from tests.support.hub import running_hub, wait_for
from tests.support.lab import launch_lab

SESSION = "benched1"


async def round_of(ada: Guest, ben: Guest, *, ends_by_itself: bool) -> dict[str, float]:
    """Let a visitor in, take her access away, and measure how long she stays."""
    until = datetime.now(UTC) + timedelta(seconds=8) if ends_by_itself else None
    wanted = {"user": "ben"} | ({"until": until.isoformat()} if until else {})
    await asyncio.to_thread(calls.share, ada.visitor, SESSION, **wanted)
    await asyncio.to_thread(wait_for, lambda: ben.status() == 200, "ben to get in")
    _, terminal = await ben.terminal()
    _, kernel = await ben.kernel()
    if until is None:
        begun = time.monotonic()
        await asyncio.to_thread(calls.revoke, ada.visitor, SESSION)
    else:
        begun = time.monotonic() + (until - datetime.now(UTC)).total_seconds()
    found = {"terminal": await terminal.closed() - begun, "kernel": await kernel.closed() - begun}
    await asyncio.to_thread(wait_for, lambda: ben.status() == 403, "ben to be refused")
    found["requests"] = time.monotonic() - begun
    return found


async def measure(ada: Guest, ben: Guest, rounds: int) -> None:
    """Measure both ways and print the table."""
    print("| Access ends | connection | rounds | median (s) | slowest (s) |")
    print("|---|---|---|---|---|")
    for word, ends in (("revoked", False), ("at its time", True)):
        times = [await round_of(ada, ben, ends_by_itself=ends) for _ in range(rounds)]
        for kind in times[0]:
            seconds = [each[kind] for each in times]
            middle = statistics.median(seconds)
            print(f"| {word} | {kind} | {rounds} | {middle:.1f} | {max(seconds):.1f} |")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        with running_hub(Path(place) / "data") as hub:
            ada, ben = hub.sign_in("ada"), hub.sign_in("ben")
            launch_lab(ada, SESSION, container="notebook")
            asyncio.run(measure(Guest(ada, "ada", SESSION), Guest(ben, "ada", SESSION), rounds))


if __name__ == "__main__":
    main()
