# ruff: noqa: INP001 - put among the installed packages, and run from there
"""marimo on a port of this machine or on a unix socket, for the gateway in front of it.

``python3 -m canfar_marimo PORT-OR-SOCKET [FILE-OR-DIRECTORY]``. marimo's own command listens on
ports only, which anybody on the machine may speak to; the server that it uses can do both.
"""

from __future__ import annotations

import functools
import os
import sys

import uvicorn
from marimo._cli.cli import main

# Whoever comes has been let in by the gateway.
OPTIONS = ("--headless", "--no-token", "--skip-update-check")


def run(where: str, opened: str) -> None:
    """Serve notebooks until told to end."""
    if where.isdigit():
        address = ("--host", "127.0.0.1", "--port", where)
    else:
        uvicorn.Config = functools.partial(uvicorn.Config, uds=where)  # type: ignore[misc,assignment]
        # It is not listened on, and marimo looks for no other where it is told one.
        address = ("--host", "127.0.0.1", "--port", "5000")
    main(["edit", *OPTIONS, *address, opened])


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.environ.get("HOME", "/"))
