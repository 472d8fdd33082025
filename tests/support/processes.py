"""What the kernel says of processes: who is below whom, and what they listen on."""

from __future__ import annotations

import contextlib
from pathlib import Path

_LISTENING = "0A"


def below(pid: int) -> dict[int, str]:
    """Give the living processes that descend from one, with their names."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if state not in "ZX":
                parents[int(entry.name)] = int(parent), name
    found: dict[int, str] = {}
    wanted = {pid}
    while wanted:
        wanted = {each for each, (parent, _) in parents.items() if parent in wanted}
        found |= {each: parents[each][1] for each in wanted}
    return found


def listening_tcp(pid: int) -> list[str]:
    """Give the addresses at which a process takes TCP connections, as the kernel writes them."""
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(entry.readlink()))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTENING and f"socket:[{words[9]}]" in inodes:
                found.append(words[1])
    return found
