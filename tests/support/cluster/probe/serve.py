#!/usr/bin/python3
"""The probe as the first program of a container: on every address, and ended by a signal."""

from __future__ import annotations

import http.server
import os
import signal
import sys
from types import FrameType
from urllib.parse import urlsplit

from probe import Probe

_PORT = 5000
"""Where it listens when nobody says otherwise: behind the gateway the hub says nothing."""


def _end(_number: int, _frame: FrameType | None) -> None:
    # The first process of a container has no default for it: the kubelet would wait and kill.
    os._exit(0)


def _port() -> int:
    """Give the port: the first argument that is or has a number, else what the hub says."""
    for word in sys.argv[1:]:
        port = word.removeprefix("--").rpartition("port=")[2]
        if port.isdigit():
            return int(port)
    return urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", "")).port or _PORT


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    http.server.ThreadingHTTPServer(("0.0.0.0", _port()), Probe).serve_forever()  # noqa: S104
