# ruff: noqa: INP001, S101 - a program that is run inside the image
"""A Firefly image does its work: it is at the address that it was told, on 127.0.0.1 alone.

Run inside, as any uid, where it was started with ``baseURL=/user/smoke/test/``: ``python3 smoke.py``.
It was not run where it was written, as Firefly's image was out of reach.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from pathlib import Path

_SECONDS = 300
_PORT = 8080
_LISTENS = "0A"
_HERE = {"0100007F", "0000000000000000FFFF00000100007F"}


def status(path: str) -> int:
    """Give the status of an answer; 0 where there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def listening() -> set[str]:
    """Give the addresses at which the port is open, as the kernel writes them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, port = local.partition(":")
            if state == _LISTENS and int(port, 16) == _PORT:
                found.add(address)
    return found


def main() -> None:
    """Wait for the server, and look where it is."""
    prefix = os.environ.get("baseURL", "/").rstrip("/")  # noqa: SIM112 - what the image calls it
    deadline = time.monotonic() + _SECONDS
    while status(f"{prefix}/firefly/healthz") != 200:
        assert time.monotonic() < deadline, "no server"
        time.sleep(1)
    assert status(f"{prefix}/firefly/") == 200
    assert listening() <= _HERE
    print("ok")  # noqa: T201 - what the program is for


if __name__ == "__main__":
    main()
