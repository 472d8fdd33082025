# ruff: noqa: INP001, S101, S310 - a program that is run inside the image
"""A CARTA image does its work: its page is there, and its API for who shows the token.

Run inside, as any uid: ``python3 smoke.py``. It was not run where it was written, as CARTA's package
archive was out of reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

_SECONDS = 120
_PORT = 3002
_TOKEN = "smoke-test"  # noqa: S105 - of this very program
_OPTIONS = ("--no_browser", "--verbosity", "3", "--no_log", "--host", "127.0.0.1")


def ask(path: str, token: str = "") -> tuple[int, str]:
    """Give status and text of an answer; status 0 where there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{_PORT}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def main() -> None:
    """Start the server and ask it."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        # As the platform starts it.
        argv = ["carta_backend", *_OPTIONS, "--port", str(_PORT), "--top_level_folder", scratch]
        argv += ["--omp_threads", "1", "--enable_scripting", scratch]
        env = {**os.environ, "HOME": scratch, "CARTA_AUTH_TOKEN": _TOKEN}
        server = subprocess.Popen(argv, env=env, cwd=home, stdout=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + _SECONDS
            while ask("/")[0] != 200:
                assert server.poll() is None, f"ended with status {server.returncode}"
                assert time.monotonic() < deadline, "no page"
                time.sleep(0.2)
            assert "<title>CARTA</title>" in ask("/")[1]
            assert "apiAddress" in json.loads(ask("/config")[1])
            assert ask("/api/database/preferences")[0] == 403
            assert ask("/api/database/preferences", _TOKEN)[0] == 200
        finally:
            server.terminate()
            written = server.communicate(timeout=_SECONDS)[0]
        assert _TOKEN not in written, "the token is in the log"
    print("ok")  # noqa: T201 - what the program is for


if __name__ == "__main__":
    main()
