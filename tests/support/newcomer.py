"""A shell of somebody who has an empty environment of Python and nothing of this project."""

from __future__ import annotations

import subprocess
from pathlib import Path

from canfar_spawner.local import environments
from canfar_spawner.local.recipes import build_environ


class Newcomer:
    """Types what she is told into a shell, word by word.

    ``pip`` is uv's: quicker, and content with what the building of the project's own
    environments has fetched, so that the network is asked only for what is not there.

    Parameters
    ----------
    home : Path
        An empty directory.
    """

    def __init__(self, home: Path) -> None:
        uv = environments.location("tools") / "bin" / "uv"
        venv, programs = home / "venv", home / "programs"
        kept = {
            name: value
            for name, value in build_environ().items()
            if name.startswith(("UV_", "SSL_"))
        }
        self._environ = {
            **kept,
            "PATH": f"{programs}:{venv / 'bin'}:/usr/bin:/bin",
            "HOME": str(home),
            "VIRTUAL_ENV": str(venv),
            "COLUMNS": "200",
        }
        subprocess.run([uv, "venv", "--quiet", venv], env=self._environ, check=True)
        programs.mkdir()
        pip = programs / "pip"
        pip.write_text(f'#!/bin/sh\n"{uv}" pip "$@" --offline 2>/dev/null || "{uv}" pip "$@"\n')
        pip.chmod(0o755)

    def types(self, text: str) -> str:
        """Run a text in a new shell and give what it prints; it must succeed."""
        done = subprocess.run(
            ["bash", "-euc", text],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
